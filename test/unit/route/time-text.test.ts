// Points in time as strftime writes them, with Envoy's fractions (absl::FormatTime).
import t from 'tap'
import { timeText } from '../../../lib/route/time-text.ts'

/** The 326th day of its year, a Sunday, and the first one of another. */
const LATE = Date.UTC(2026, 10, 22, 13, 38, 31, 95)
const EARLY = Date.UTC(2005, 0, 3, 0, 4, 5, 0)

t.test('formats', async (t) => {
  const rows: readonly (readonly [format: string, late: string, early: string])[] = [
    ['', '2026-11-22T13:38:31.095Z', '2005-01-03T00:04:05.000Z'],
    ['%Y-%m-%dT%H:%M:%S', '2026-11-22T13:38:31', '2005-01-03T00:04:05'],
    ['%y %C %e|%j', '26 20 22|326', '05 20  3|003'],
    ['%I:%M %p', '01:38 PM', '12:04 AM'],
    ['%a %A %b %h %B', 'Sun Sunday Nov Nov November', 'Mon Monday Jan Jan January'],
    ['%u %w', '7 0', '1 1'],
    ['%F %T %R %D', '2026-11-22 13:38:31 13:38 11/22/26', '2005-01-03 00:04:05 00:04 01/03/05'],
    ['%s', '1795354711', '1104710645'],
    ['%z %Z', '+0000 UTC', '+0000 UTC'],
    ['%3f %6f %9f %f %1f', '095 095000 095000000 095000000 0', '000 000000 000000000 000000000 0'],
    ['%E3S %E0S %E*S %E*f', '31.095 31 31.095 095', '05.000 05 05.0 0'],
    ['100%% %Q', '100% %Q', '100% %Q'],
  ]
  for (const [format, late, early] of rows) t.same([timeText(LATE, format), timeText(EARLY, format)], [late, early], format)
})

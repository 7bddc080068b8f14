import t from 'tap'
import { formatDuration, parseDuration } from '../../../lib/base/duration.ts'

t.test('Go durations', async (t) => {
  const cases: [text: string, ms: number | null][] = [
    ['0', 0],
    ['0s', 0],
    ['5s', 5000],
    ['250ms', 250],
    ['1m30s', 90_000],
    ['1h2m3.5s', 3_723_500],
    ['1.5h', 5_400_000],
    ['.5s', 500],
    ['100us', 0.1],
    ['100µs', 0.1],
    ['-5s', -5000],
    ['', null],
    ['5', null],
    ['s', null],
    ['5 s', null],
    ['5s ', null],
    ['5d', null],
    ['1e3s', null],
    ['-', null],
    ['.s', null],
  ]
  for (const [text, ms] of cases) t.equal(parseDuration(text), ms, JSON.stringify(text))
})

t.test('written as Go writes them', async (t) => {
  const cases: [ms: number, text: string][] = [
    [0, '0s'],
    [250, '250ms'],
    [5000, '5s'],
    [90_000, '1m30s'],
    [3_600_000, '1h'],
    [3_723_500, '1h2m3s500ms'],
    [-1000, '-1s'],
  ]
  for (const [ms, text] of cases) {
    t.equal(formatDuration(ms), text)
    t.equal(parseDuration(text), ms)
  }
})

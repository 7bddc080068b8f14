// traceparent as W3C Trace Context §3.2 has it.
import t from 'tap'
import { Rng } from '../../../lib/base/rng.ts'
import { traceIdOf, traceparentOf } from '../../../lib/hbone/trace-context.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'

t.test('read', async (t) => {
  const rows: readonly (readonly [string | null, string])[] = [
    [`00-${TRACE}-${SPAN}-01`, TRACE],
    [`00-${TRACE}-${SPAN}-00`, TRACE],
    // A version of the future may go on behind a dash.
    [`cc-${TRACE}-${SPAN}-01-what`, TRACE],
    [null, ''],
    ['', ''],
    [`ff-${TRACE}-${SPAN}-01`, ''],
    [`00-${'0'.repeat(32)}-${SPAN}-01`, ''],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, ''],
    [`00-${TRACE.toUpperCase()}-${SPAN}-01`, ''],
    [`00-${TRACE}-${SPAN}`, ''],
    [`00-${TRACE}-${SPAN}-01x`, ''],
  ]
  for (const [text, expected] of rows) t.equal(traceIdOf(text), expected, String(text))
})

t.test('written', async (t) => {
  const text = traceparentOf(TRACE, new Rng(1))
  t.match(text, new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`))
  t.equal(traceIdOf(text), TRACE)
  t.not(traceparentOf(TRACE, new Rng(2)), text, 'each has a span of its own')
})

// HTTP/2 on both sides: who is asked, and how many at once. The tests are those of HTTP/1; where a version differs they say so (support/versions.ts).
import t from 'tap'

process.env['HEDDLE_TEST_DOWNSTREAM'] = 'http2'
process.env['HEDDLE_TEST_UPSTREAM'] = 'http2'
await import('../balancing.test.ts')
await import('../breakers.test.ts')
await import('../shared-limits.test.ts')
// Of all files together, whatever each of them said.
t.setTimeout(170_000)

// HTTP/2 on both sides: what a message is, what is said of it, and what it may cost. The tests are those of HTTP/1; where a version differs they say so (support/versions.ts).
import t from 'tap'

process.env['HEDDLE_TEST_DOWNSTREAM'] = 'http2'
process.env['HEDDLE_TEST_UPSTREAM'] = 'http2'
await import('../forwarding.test.ts')
await import('../messages.test.ts')
await import('../back-pressure.test.ts')
await import('../access-log.test.ts')
await import('../metrics.test.ts')
await import('../inbound.test.ts')
await import('../limits.test.ts')
// Of all files together, whatever each of them said.
t.setTimeout(170_000)

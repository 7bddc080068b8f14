// Clients of HTTP/1, upstreams of HTTP/2. The tests are those of HTTP/1; where a version differs they say so (support/versions.ts).
import t from 'tap'

process.env['HEDDLE_TEST_UPSTREAM'] = 'http2'
await import('../forwarding.test.ts')
await import('../messages.test.ts')
await import('../owned-headers.test.ts')
await import('../local-replies.test.ts')
await import('../retries.test.ts')
await import('../retry-limits.test.ts')
await import('../back-pressure.test.ts')
// Of all files together, whatever each of them said.
t.setTimeout(170_000)

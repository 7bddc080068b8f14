// HTTP/2 on both sides: what routes and filters do. The tests are those of HTTP/1; where a version differs they say so (support/versions.ts).
import t from 'tap'

process.env['HEDDLE_TEST_DOWNSTREAM'] = 'http2'
process.env['HEDDLE_TEST_UPSTREAM'] = 'http2'
await import('../cors.test.ts')
await import('../faults.test.ts')
await import('../route-replies.test.ts')
await import('../owned-headers.test.ts')
await import('../timeouts.test.ts')
await import('../sentences.test.ts')
await import('../claim-routes.test.ts')
// Of all files together, whatever each of them said.
t.setTimeout(170_000)

// HTTP/2 on both sides: what is tried again, and what is copied. The tests are those of HTTP/1; where a version differs they say so (support/versions.ts).
import t from 'tap'

process.env['HEDDLE_TEST_DOWNSTREAM'] = 'http2'
process.env['HEDDLE_TEST_UPSTREAM'] = 'http2'
await import('../retries.test.ts')
await import('../retry-limits.test.ts')
await import('../unsafe-retries.test.ts')
await import('../sentences-retries.test.ts')
await import('../mirrors.test.ts')
await import('../mirror-limits.test.ts')
// Of all files together, whatever each of them said.
t.setTimeout(170_000)

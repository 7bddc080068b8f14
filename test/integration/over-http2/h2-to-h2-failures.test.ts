// HTTP/2 on both sides: endpoints that fail. The tests are those of HTTP/1; where a version differs they say so (support/versions.ts).
import t from 'tap'

process.env['HEDDLE_TEST_DOWNSTREAM'] = 'http2'
process.env['HEDDLE_TEST_UPSTREAM'] = 'http2'
await import('../outlier-detection.test.ts')
await import('../outlier-results.test.ts')
await import('../sentences-outlier.test.ts')
// Of all files together, whatever each of them said.
t.setTimeout(170_000)

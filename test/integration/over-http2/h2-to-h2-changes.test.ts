// HTTP/2 on both sides: reloads, dying workers, the end. The tests are those of HTTP/1; where a version differs they say so (support/versions.ts).
import t from 'tap'

process.env['HEDDLE_TEST_DOWNSTREAM'] = 'http2'
process.env['HEDDLE_TEST_UPSTREAM'] = 'http2'
await import('../reload.test.ts')
await import('../reload-under-load.test.ts')
await import('../worker-crash.test.ts')
await import('../drain.test.ts')
// Of all files together, whatever each of them said.
t.setTimeout(170_000)

// Several test files in one process, one after the other: what they load is loaded once. test/run.mjs tells by the comments whose the assertions are.
import { pathToFileURL } from 'node:url'
import t from 'tap'

for (const file of (process.env['HEDDLE_TEST_FILES'] ?? '').split(':')) {
  t.comment(`file: ${file}`)
  await import(pathToFileURL(file).href)
}

// Several test files in one process, one after the other: what they load is loaded once. test/run.mjs tells by the comments whose the assertions are.
import { pathToFileURL } from 'node:url'
import t from 'tap'

// With the first teardown tap begins to take a moment without tests for the end, and between two files there may be one.
const root = t as { teardown: (fn: () => unknown) => unknown }
const { teardown } = root
const ends: (() => unknown)[] = []
root.teardown = (fn) => ends.push(fn)

for (const file of (process.env['HEDDLE_TEST_FILES'] ?? '').split(':')) {
  t.comment(`file: ${file}`)
  await import(pathToFileURL(file).href)
}
root.teardown = teardown
for (const fn of ends) root.teardown(fn)

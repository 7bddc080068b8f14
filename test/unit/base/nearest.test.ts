import t from 'tap'
import { didYouMean, nearest } from '../../../lib/base/nearest.ts'

t.test('the nearest known name', async (t) => {
  const known = ['listeners', 'limits', 'admin', 'health']
  const cases: [name: string, expected: string | null][] = [
    ['listners', 'listeners'],
    ['lsiteners', 'listeners'],
    ['LISTENERS', 'listeners'],
    ['limit', 'limits'],
    ['amdin', 'admin'],
    ['xyz', null],
    ['', null],
  ]
  for (const [name, expected] of cases) t.equal(nearest(name, known), expected, name)
  t.equal(didYouMean('helth', known), '; did you mean `health`?')
  t.equal(didYouMean('xyz', known), '')
})

import t from 'tap'
import { ArenaOwners } from '../../../lib/server/arena-owners.ts'

t.test('whose nouns are in small arenas', async (t) => {
  const owners = new ArenaOwners()
  owners.note(1, null, 'a')
  owners.note(1, '80', 'v')
  owners.note(2, '80', 'w')
  owners.note(2, null, 'a')
  owners.note(3, '81', 'v')
  const both = owners.of([1, 2])
  t.same([...(both?.clusters ?? [])], ['a'])
  t.same([...(both?.hosts.get('80') ?? [])], ['v', 'w'])
  t.equal(both?.hosts.has('81'), false)
  owners.forget([1])
  t.equal(owners.of([1, 2]), null, 'nothing is known of one: it may be anybody')
  for (let i = 0; i < 1000; i++) owners.note(4, null, `c${i}`)
  t.equal(owners.of([3, 4]), null, 'too many to be remembered')
})

import t from 'tap'
import { DnsPlaces } from '../../../lib/cluster/dns-places.ts'
import { aCluster } from '../../support/nouns.ts'

t.test('clusters that are looked up, in lists that follow one another', async (t) => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => aCluster({ name }))
  const d = aCluster({ name: 'd', type: 'DNS' })
  const places = new DnsPlaces()
  const rows: [what: string, clusters: readonly (typeof a)[], expected: number[]][] = [
    ['first', [a, d, b], [1]],
    ['another one in place of one', [a, d, c], [1]],
    ['one more', [a, b, d, c], [2]],
    ['moved', [d, a, b, c], [0]],
    ['one that is looked up in place of one that is not', [d, d, b, c], [0, 1]],
    ['the other way round', [a, d, b, c], [1]],
    ['gone', [a, b, c], []],
  ]
  for (const [what, clusters, expected] of rows) t.same(places.of(clusters as never), expected, what)
  const known = [a, d, b] as never
  t.equal(places.of(known), places.of(known))
})

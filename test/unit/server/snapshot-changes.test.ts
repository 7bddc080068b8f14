import fc from 'fast-check'
import t from 'tap'
import { sameValue } from '../../../lib/base/same-value.ts'
import { applyListChanges, listChanges, namedChanges } from '../../../lib/server/list-changes.ts'
import { shareSnapshot } from '../../../lib/server/share-snapshot.ts'
import { applySnapshotChanges, EMPTY_SNAPSHOT, snapshotChanges } from '../../../lib/server/snapshot-changes.ts'
import { someSnapshot } from '../../support/changing-snapshots.ts'
import { aCluster, anEndpoint, aRouteTable, aSnapshot, aVirtualHost } from '../../support/nouns.ts'

t.test('lists', async (t) => {
  const rows: [before: string, after: string, runs: number[], items: string][] = [
    ['abc', 'abd', [0, 2, -1, 1], 'd'],
    ['abc', 'xabc', [-1, 1, 0, 3], 'x'],
    ['abc', 'ac', [0, 1, 2, 1], ''],
    ['abcdef', 'axcdyf', [0, 1, -1, 1, 2, 2, -1, 1, 5, 1], 'xy'],
    ['abc', 'cba', [2, 1, 1, 1, 0, 1], ''],
    ['', 'ab', [-1, 2], 'ab'],
    ['ab', '', [], ''],
    ['aab', 'ab', [0, 1, 2, 1], ''],
  ]
  for (const [before, after, runs, items] of rows) {
    const changes = listChanges([...before], [...after])
    t.same(changes, { runs, items: [...items] }, `${before} to ${after}`)
    t.same(applyListChanges([...before], changes).join(''), after)
  }
  t.equal(listChanges(['a', 'b'], ['a', 'b']), null)
})

t.test('who is gone, new and another', async (t) => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => ({ name, n: 1 })) as [
    { name: string; n: number },
    { name: string; n: number },
    { name: string; n: number },
  ]
  const [a2, d] = [
    { name: 'a', n: 2 },
    { name: 'd', n: 1 },
  ]
  t.same(namedChanges([a, b, c], [d, a2, c]), {
    gone: [b],
    put: [
      { before: null, after: d },
      { before: a, after: a2 },
    ],
  })
  t.same(namedChanges([a, b], [b, a]), { gone: [], put: [] })
})

t.test('of a large configuration only what differs is told', async (t) => {
  const endpoints = Array.from({ length: 5000 }, (_, i) => anEndpoint({ address: `10.0.${i >> 8}.${i & 255}` }))
  const virtualHosts = Array.from({ length: 100 }, (_, i) => aVirtualHost({ name: `v${i}`, domains: [`v${i}`] }))
  const before = aSnapshot({
    clusters: [aCluster({ name: 'a', endpoints }), aCluster({ name: 'b' })],
    routeTables: [aRouteTable({ name: '80', virtualHosts })],
  })
  const other = anEndpoint({ address: '10.1.0.0' })
  const otherHost = aVirtualHost({ name: 'v50', domains: ['w'] })
  const [a, b] = before.clusters as [(typeof before.clusters)[0], (typeof before.clusters)[0]]
  const after = {
    ...before,
    // Its maker has made all of them anew.
    clusters: [{ ...a, endpoints: [...endpoints.slice(0, 7).map((e) => ({ ...e })), other, ...endpoints.slice(8)] }, { ...b }],
    routeTables: [aRouteTable({ name: '80', virtualHosts: virtualHosts.with(50, otherHost) })],
  }
  const changes = snapshotChanges(before, after)
  t.same(
    changes.clusters.map((c) => [c.cluster.name, c.endpoints?.endpoints]),
    [['a', { runs: [0, 7, -1, 1, 8, 4992], items: [other] }]],
  )
  t.same(
    changes.tables.map((x) => [x.config.name, x.virtualHosts]),
    [['80', { runs: [0, 50, -1, 1, 51, 49], items: [otherHost] }]],
  )
  t.same([changes.listeners, changes.tableNames, changes.clusterNames, changes.gone, changes.world], [null, null, null, [], null])
})

t.test('a cluster with other settings is told whole', async (t) => {
  const before = aSnapshot({ clusters: [aCluster({ name: 'a', endpoints: [anEndpoint()] })] })
  const after = aSnapshot({ clusters: [aCluster({ name: 'a', endpoints: [anEndpoint()], limits: { maxRequests: 1 } })] })
  t.same(snapshotChanges(before, after).clusters, [{ cluster: after.clusters[0], endpoints: null }])
})

t.test('what differs, put to what was, is what is', async () => {
  fc.assert(
    fc.property(someSnapshot, someSnapshot, (a, b) => sameValue(applySnapshotChanges(a, snapshotChanges(a, b)), b)),
    { numRuns: 1000 },
  )
  fc.assert(
    fc.property(someSnapshot, (a) => sameValue(applySnapshotChanges(EMPTY_SNAPSHOT, snapshotChanges(EMPTY_SNAPSHOT, a)), a)),
  )
})

t.test('a snapshot that was read anew shares what did not change', async (t) => {
  fc.assert(
    fc.property(someSnapshot, someSnapshot, (a, b) => {
      const read = structuredClone(b)
      const shared = shareSnapshot(a, read)
      const changes = snapshotChanges(a, shared)
      return sameValue(shared, b) && sameValue({ ...changes, world: null }, { ...snapshotChanges(a, b), world: null })
    }),
    { numRuns: 500 },
  )
  const before = aSnapshot({
    clusters: [aCluster({ endpoints: [anEndpoint()] })],
    routeTables: [aRouteTable({ virtualHosts: [aVirtualHost()] })],
  })
  const again = shareSnapshot(before, { ...structuredClone(before), version: 2 })
  for (const part of ['listeners', 'routeTables', 'clusters', 'defaultPorts', 'world'] as const)
    t.equal(again[part], before[part], part)
  const weighted = shareSnapshot(before, { ...before, clusters: [aCluster({ port: 1, endpoints: [anEndpoint()] })] })
  t.equal(weighted.clusters[0]?.endpoints, before.clusters[0]?.endpoints, 'its endpoints too')
})

// Who has an address and which service has a name, when several could; and which endpoint of a service is taken.
import fc from 'fast-check'
import t from 'tap'
import { pickerOf, rankOf } from '../../../../lib/decide/tunnel/load-balance.ts'
import { MeshIndex } from '../../../../lib/decide/tunnel/mesh-index.ts'
import type { LoadBalancing, LoadBalancingScope, MeshService } from '../../../../lib/state/mesh-service.ts'
import type { Workload } from '../../../../lib/state/workload.ts'
import { memberOf, ports, prefixes, service, vips, workload } from '../../../support/mesh-nouns.ts'

const indexOf = (services: MeshService[], workloads: Workload[] = []) => new MeshIndex({ workloads, services, policies: [] })
const inside = (text: string, network = '') => ({ network, prefix: prefixes(text)[0]! })

t.test('a service by its address', async (t) => {
  const at = (namespace: string, over: Partial<MeshService> = {}) =>
    service('a.mesh', { namespace, vips: vips('/10.9.0.1'), ...over })
  const cidr = (namespace: string, prefix: string, over: Partial<MeshService> = {}) =>
    service('a.mesh', { namespace, prefixVips: [inside(prefix)], ...over })
  const hidden = { visibility: 'NAMESPACE' } as const
  const rows: [what: string, services: MeshService[], client: string | null, found: string | null][] = [
    ['nobody', [], 'ns', null],
    ['the only one', [at('a')], 'ns', 'a'],
    ["the client's own", [at('a'), at('b', { canonical: true }), at('ns')], 'ns', 'ns'],
    ['the canonical one', [at('a'), at('b', { canonical: true }), at('c')], 'ns', 'b'],
    ['the first', [at('a'), at('b')], 'ns', 'a'],
    ['not seen', [at('a', hidden)], 'ns', null],
    ['seen by its own', [at('a', hidden)], 'a', 'a'],
    ['seen when nobody in particular asks', [at('a', hidden)], null, 'a'],
    ['not seen, though canonical', [at('a', { ...hidden, canonical: true }), at('b')], 'ns', 'b'],
    ['another network', [at('a', { vips: vips('west/10.9.0.1') })], 'ns', null],
    ['a prefix', [cidr('a', '10.9.0.0/16')], 'ns', 'a'],
    ['not in the prefix', [cidr('a', '10.8.0.0/16')], 'ns', null],
    ['an address before a prefix of the own namespace', [cidr('ns', '10.9.0.0/16'), at('b')], 'ns', 'b'],
    ['one that is not seen does not hide a prefix', [at('a', hidden), cidr('b', '10.9.0.0/16')], 'ns', 'b'],
    ['the longest prefix', [cidr('a', '10.9.0.0/16'), cidr('b', '10.9.0.0/24'), cidr('c', '10.0.0.0/8')], 'ns', 'b'],
    ['the own namespace before a longer one', [cidr('a', '10.9.0.0/24'), cidr('ns', '10.0.0.0/8')], 'ns', 'ns'],
    ['of equals the canonical one', [cidr('a', '10.9.0.0/16'), cidr('b', '10.9.0.0/16', { canonical: true })], 'ns', 'b'],
    ['of equals the first', [cidr('a', '10.9.0.0/16'), cidr('b', '10.9.0.0/16')], 'ns', 'a'],
    ['a prefix of another network', [service('a.mesh', { prefixVips: [inside('10.9.0.0/16', 'west')] })], 'ns', null],
  ]
  for (const [what, services, client, found] of rows)
    t.equal(indexOf(services).serviceByVip('', '10.9.0.1', client)?.found.service.namespace ?? null, found, what)
})

t.test('a service by its name', async (t) => {
  const index = indexOf([
    service('a.mesh', { namespace: 'a' }),
    service('a.mesh', { namespace: 'b', canonical: true }),
    service('h.mesh', { namespace: 'a', visibility: 'NAMESPACE' }),
  ])
  t.equal(index.serviceByHost('a.mesh', 'a')?.service.namespace, 'a')
  t.equal(index.serviceByHost('a.mesh', 'x')?.service.namespace, 'b')
  t.equal(index.serviceByHost('h.mesh', 'x'), null)
  t.equal(index.serviceByHost('h.mesh', 'a')?.service.namespace, 'a')
  t.equal(index.serviceByKey('b/a.mesh')?.service.namespace, 'b')
  t.equal(index.serviceByKey('c/a.mesh'), null)
})

t.test('a workload by its address', async (t) => {
  const a = { addresses: ['10.0.0.1'] }
  const rows: [what: string, workloads: Workload[], found: string | null][] = [
    ['the only one', [workload('a', a)], 'a'],
    ['another network', [workload('a', { ...a, network: 'west' })], null],
    ["the host's network", [workload('a', { ...a, networkMode: 'HOST_NETWORK' })], null],
    [
      'a pod before what somebody wrote',
      [workload('pod', { ...a, protocol: 'TCP' }), workload('entry', { ...a, uid: 'x/entry' })],
      'pod',
    ],
    [
      'in the mesh before what is not',
      [workload('in', { ...a, uid: '1' }), workload('out', { ...a, uid: '2', protocol: 'TCP' })],
      'in',
    ],
  ]
  for (const [what, workloads, found] of rows)
    for (const order of [workloads, workloads.toReversed()])
      t.equal(indexOf([], order).workloadByAddress('', '10.0.0.1')?.name ?? null, found, what)
  const index = indexOf([], [workload('a', { serviceAccount: 'sa', hostname: 'a.example' })])
  t.equal(index.workloadByInfo({ name: 'a', namespace: 'ns', serviceAccount: 'sa' })?.name, 'a')
  t.equal(index.workloadByInfo({ name: 'a', namespace: 'ns', serviceAccount: 'other' }), null)
  const same = { serviceAccount: 'sa', name: 'a' }
  const [east, west] = [
    workload('a', { ...same, uid: 'east', clusterId: 'east' }),
    workload('a', { ...same, uid: 'west', clusterId: 'west' }),
  ]
  for (const own of ['east', 'west'])
    for (const workloads of [
      [east, west],
      [west, east],
    ])
      t.equal(
        new MeshIndex({ workloads, services: [], policies: [] }, own).workloadByInfo({ ...same, namespace: 'ns' })?.uid,
        own,
      )
  t.equal(index.workloadByUid('cluster1//Pod/ns/a')?.name, 'a')
  t.equal((index.gateway({ kind: 'hostname', namespace: 'ns', hostname: 'a.example' }, null) as Workload).name, 'a')
})

t.test('endpoints', async (t) => {
  const uid = 'cluster1//Pod/ns/a'
  const index = indexOf(
    [
      service('a.mesh', {
        endpoints: [
          { workloadUid: uid, ports: ports({ 80: 1 }), healthy: true },
          { workloadUid: 'nobody', ports: [], healthy: true },
        ],
      }),
    ],
    [workload('b', { services: [memberOf('ns/a.mesh', { 80: 2 }), memberOf('ns/later.mesh')] }), workload('a')],
  )
  t.same(
    index.serviceByKey('ns/a.mesh')?.endpoints.map((e) => [e.workload.name, [...e.ports]]),
    [
      ['a', [[80, 1]]],
      ['b', [[80, 2]]],
    ],
    'those that it lists and that are known, and those that say so themselves',
  )
  t.same(
    index.servicesOf(index.workloadByUid('cluster1//Pod/ns/b')!).map((s) => s.service.hostname),
    ['a.mesh'],
  )
})

const at = (region: string, zone: string, over: Partial<Workload> = {}) =>
  workload(`${region}-${zone}-${over.network ?? ''}${over.node ?? ''}`, {
    locality: { region, zone, subzone: '' },
    addresses: ['10.0.0.9'],
    services: [memberOf('ns/a.mesh')],
    ...over,
  })
const CLIENT = at('r1', 'z1', { network: 'n1', node: 'node1', services: [] })

t.test('ranks', async (t) => {
  const rows: [scopes: LoadBalancingScope[], target: Workload, rank: number][] = [
    [[], at('r2', 'z2'), 0],
    [['REGION', 'ZONE'], at('r1', 'z1'), 2],
    [['REGION', 'ZONE'], at('r1', 'z2'), 1],
    [['REGION', 'ZONE'], at('r2', 'z1'), 0],
    [['NODE'], at('r1', 'z1', { node: 'node1' }), 1],
    [['CLUSTER', 'SUBZONE'], at('r9', 'z9'), 2],
    // The network leads: everything in it is nearer than anything outside, and outside the other scopes still count.
    [['NETWORK', 'REGION', 'ZONE'], at('r1', 'z1', { network: 'n1' }), 5],
    [['NETWORK', 'REGION', 'ZONE'], at('r1', 'z2', { network: 'n1' }), 4],
    [['NETWORK', 'REGION', 'ZONE'], at('r2', 'z2', { network: 'n1' }), 3],
    [['NETWORK', 'REGION', 'ZONE'], at('r1', 'z1', { network: 'n2' }), 2],
    [['NETWORK', 'REGION', 'ZONE'], at('r1', 'z2', { network: 'n2' }), 1],
    [['NETWORK', 'REGION', 'ZONE'], at('r2', 'z1', { network: 'n2' }), 0],
    [['REGION', 'NETWORK', 'ZONE'], at('r1', 'z1', { network: 'n2' }), 1],
  ]
  for (const [scopes, target, rank] of rows) t.equal(rankOf(scopes, CLIENT, target), rank, `${scopes} ${target.name}`)
})

t.test('who may be picked', async (t) => {
  const near = at('r1', 'z1', { network: 'n1' })
  const zone2 = at('r1', 'z2', { network: 'n1' })
  const far = at('r2', 'z1', { network: 'n1' })
  const sick = at('r1', 'z1', { network: 'n1', node: 'sick', healthy: false })
  const without = at('r1', 'z1', { network: 'n1', node: 'without', addresses: [] })
  const gated = at('r1', 'z9', {
    network: 'n2',
    addresses: [],
    networkGateway: { destination: { kind: 'address', network: '', address: '10.0.0.1' }, hboneMtlsPort: 15008 },
  })
  const home = { ...gated, uid: 'home', name: 'home', network: 'n1' }
  const all = [near, zone2, far, sick, without, gated, home]
  const lb = (
    mode: LoadBalancing['mode'],
    scopes: LoadBalancingScope[] = ['REGION', 'ZONE'],
    healthPolicy: LoadBalancing['healthPolicy'] = 'ONLY_HEALTHY',
  ) => ({ mode, scopes, healthPolicy })
  const rows: [what: string, loadBalancing: LoadBalancing | null, workloads: Workload[], picked: string[]][] = [
    ['no policy', null, all, ['r1-z1-n1', 'r1-z2-n1', 'r2-z1-n1', 'r1-z9-n2']],
    ['STANDARD', lb('STANDARD'), all, ['r1-z1-n1', 'r1-z2-n1', 'r2-z1-n1', 'r1-z9-n2']],
    ['all that are not well', lb('STANDARD', [], 'ALLOW_ALL'), [sick], ['r1-z1-n1sick']],
    ['FAILOVER', lb('FAILOVER'), all, ['r1-z1-n1']],
    ['FAILOVER, the nearest is gone', lb('FAILOVER'), [zone2, far, gated], ['r1-z2-n1', 'r1-z9-n2']],
    ['FAILOVER, only far ones', lb('FAILOVER'), [far, sick], ['r2-z1-n1']],
    ['STRICT', lb('STRICT'), all, ['r1-z1-n1']],
    ['STRICT, none shares all', lb('STRICT'), [zone2, far], []],
    ['STRICT without scopes', lb('STRICT', []), [zone2, far], ['r1-z2-n1', 'r2-z1-n1']],
    [
      'the own network, though farther',
      lb('FAILOVER', ['NETWORK', 'REGION', 'ZONE']),
      [far, { ...gated, locality: near.locality }],
      ['r2-z1-n1'],
    ],
    ['STRICT with a network that leads', lb('STRICT', ['NETWORK', 'REGION']), [gated, far], []],
    ['nobody', null, [], []],
  ]
  for (const [what, loadBalancing, workloads, expected] of rows) {
    const index = indexOf([service('a.mesh', { loadBalancing })], workloads)
    const picker = pickerOf(index.serviceByKey('ns/a.mesh')!, 80, CLIENT, 'standard')
    const seen = new Set<string>()
    for (let i = 0; i < 100; i++) seen.add(picker.pick(Math.floor((i / 100) * 2 ** 32))?.workload.name ?? '')
    t.same(
      [...seen].filter((n) => n !== ''),
      expected,
      what,
    )
    t.equal(picker.outcome.candidates, expected.length, what)
  }
})

t.test('ports', async (t) => {
  const tunnel = { protocol: 'PROXY', port: 15088 } as const
  const w = (name: string, own: Record<number, number>, over: Partial<Workload> = {}) =>
    workload(name, { addresses: ['10.0.0.1'], services: [memberOf('ns/a.mesh', own)], ...over })
  const rows: [
    what: string,
    of: Record<number, number>,
    w: Workload,
    mode: 'standard' | 'waypoint',
    port: number,
    some: boolean,
  ][] = [
    ['of the service', { 80: 8080 }, w('a', {}), 'standard', 80, true],
    ['of nobody', { 80: 8080 }, w('a', {}), 'standard', 81, false],
    ['of the endpoint alone', { 80: 8080 }, w('a', { 81: 1 }), 'standard', 81, false],
    ['named, and the endpoint has it', { 80: 0 }, w('a', { 80: 9 }), 'standard', 80, true],
    ['named, and the endpoint does not', { 80: 0 }, w('a', {}), 'standard', 80, false],
    ['of nobody, for a waypoint', { 80: 8080 }, w('a', {}), 'waypoint', 15008, false],
    [
      'of nobody, for a waypoint with an application tunnel',
      { 80: 8080 },
      w('a', {}, { applicationTunnel: tunnel }),
      'waypoint',
      15008,
      true,
    ],
    ['the same for a client', { 80: 8080 }, w('a', {}, { applicationTunnel: tunnel }), 'standard', 15008, false],
  ]
  for (const [what, of, target, mode, port, some] of rows) {
    const index = indexOf([service('a.mesh', { ports: ports(of) })], [target])
    t.equal(pickerOf(index.serviceByKey('ns/a.mesh')!, port, CLIENT, mode).pick(0) !== null, some, what)
  }
  const indexed = indexOf([service('a.mesh')], [w('a', {})]).serviceByKey('ns/a.mesh')!
  t.equal(
    pickerOf(indexed, 1000, CLIENT, 'standard'),
    pickerOf(indexed, 1001, CLIENT, 'standard'),
    'strange ports take no memory',
  )
})

t.test('weights', async () => {
  const capacity = fc.nat(5)
  fc.assert(
    fc.property(fc.array(capacity, { minLength: 1, maxLength: 6 }), (weights) => {
      const workloads = weights.map((c, i) =>
        workload(`w${i}`, { addresses: ['10.0.0.1'], capacity: c, services: [memberOf('ns/a.mesh')] }),
      )
      const picker = pickerOf(indexOf([service('a.mesh')], workloads).serviceByKey('ns/a.mesh')!, 80, CLIENT, 'standard')
      const total = weights.reduce((sum, c) => sum + c, 0)
      if (total === 0) return picker.pick(0) === null
      // A draw in the middle of each of `total` equal shares: each workload gets as many as its weight.
      const counts = new Map<string, number>()
      for (let i = 0; i < total; i++) {
        const name = picker.pick(Math.floor(((i + 0.5) / total) * 2 ** 32))?.workload.name ?? ''
        counts.set(name, (counts.get(name) ?? 0) + 1)
      }
      return weights.every((c, i) => (counts.get(`w${i}`) ?? 0) === c) && picker.pick(2 ** 32 - 1) !== null
    }),
  )
})

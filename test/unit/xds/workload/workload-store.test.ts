// The store of the workload feed: what responses change, what is refused, and that the order of arrival does not matter.
import fc from 'fast-check'
import t from 'tap'
import { MeshIndex } from '../../../../lib/decide/tunnel/mesh-index.ts'
import { serviceKey } from '../../../../lib/state/mesh-service.ts'
import { isEmptyChange } from '../../../../lib/state/workload-world.ts'
import { Authorization, Match } from '../../../../lib/xds/proto/authorization.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import { Address, Service, Workload } from '../../../../lib/xds/proto/workload.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, type FedResource, WorkloadStore } from '../../../../lib/xds/workload/workload-store.ts'

const ip = (text: string) => Uint8Array.from(text.split('.').map(Number))

function workload(uid: string, over: Partial<Workload> = {}): FedResource {
  return { name: uid, bytes: encode(Address, { workload: { ...Workload.empty, uid, name: uid, namespace: 'ns', ...over } }) }
}

function service(hostname: string, over: Partial<Service> = {}): FedResource {
  const { namespace = 'ns' } = over
  return {
    name: `${namespace}/${hostname}`,
    bytes: encode(Address, { service: { ...Service.empty, name: hostname, hostname, namespace, ...over } }),
  }
}

function policy(name: string, over: Partial<Authorization> = {}): FedResource {
  return { name: `ns/${name}`, bytes: encode(Authorization, { name, namespace: 'ns', ...over }) }
}

const member = (host: string, servicePort = 80, targetPort = 8080): Workload['services'] =>
  new Map([[`ns/${host}`, { ports: [{ service_port: servicePort, target_port: targetPort, app_protocol: 'TCP' }] }]])

const TEXT = { exact: null, prefix: null, suffix: null, presence: null }
const EMPTY_MATCH = Match.empty

t.test('what a response changes', async (t) => {
  const store = new WorkloadStore()
  const first = store.apply(ADDRESS_TYPE, [workload('a', { addresses: [ip('10.0.0.1')] }), service('web')], [])
  t.same(first.faults, [])
  t.same(
    first.change.put.workloads.map((w) => [w.uid, w.addresses, w.serviceAccount, w.trustDomain]),
    [['a', ['10.0.0.1'], 'default', 'cluster.local']],
  )
  t.same(first.change.put.services.map(serviceKey), ['ns/web'])
  const [before] = store.world.workloads
  const second = store.apply(ADDRESS_TYPE, [workload('b')], ['ns/web', 'nobody'])
  t.same(second.change.removed, { workloads: [], services: ['ns/web'], policies: [] })
  t.equal(store.world.workloads[0], before, 'what nothing was said of is the same object')
  t.ok(isEmptyChange(store.apply(ADDRESS_TYPE, [], ['nobody']).change))
})

t.test('a name that comes to mean something else', async (t) => {
  const store = new WorkloadStore()
  store.apply(ADDRESS_TYPE, [workload('x')], [])
  const { change } = store.apply(ADDRESS_TYPE, [{ ...service('web'), name: 'x' }], [])
  t.same([change.removed.workloads, change.put.services.length], [['x'], 1])
})

t.test('one thing by two names stays until both are gone', async (t) => {
  const store = new WorkloadStore()
  const index = new MeshIndex(store.world)
  const apply = (changed: readonly FedResource[], removed: readonly string[]): string => {
    index.apply(store.apply(ADDRESS_TYPE, changed, removed).change)
    return index.workloadByUid('u')?.name ?? ''
  }
  const by = (name: string): FedResource => ({ ...workload('u', { name }), name })
  const rows: readonly (readonly [changed: readonly FedResource[], removed: readonly string[], has: string])[] = [
    [[by('a')], [], 'a'],
    [[by('b')], [], 'b'],
    [[], ['b'], 'a'],
    [[by('u'), by('b')], [], 'b'],
    [[], ['a', 'b'], 'u'],
    [[by('a')], ['u'], 'a'],
    [[{ ...workload('other'), name: 'a' }, by('b')], [], 'b'],
    [[{ ...workload('third'), name: 'b' }], [], ''],
    [[by('a'), by('b')], [], 'b'],
    [[{ ...workload('third'), name: 'b' }], [], 'a'],
    [[], ['a'], ''],
  ]
  for (const [i, [changed, removed, has]] of rows.entries()) t.equal(apply(changed, removed), has, `step ${i}`)
  t.same(
    store.world.workloads.map(({ uid }) => uid),
    ['third'],
  )
})

t.test('one bad resource is refused alone', async (t) => {
  const rows: readonly (readonly [name: string, resource: FedResource, reason: string])[] = [
    [
      'no address',
      workload('w', { addresses: [Uint8Array.of(1, 2, 3)] }),
      'addresses[0]: an IP address has 4 bytes or 16, not 3',
    ],
    [
      'another tunnel',
      workload('w', { tunnel_protocol: 'LEGACY_ISTIO_MTLS' }),
      'tunnel_protocol: LEGACY_ISTIO_MTLS is not spoken here',
    ],
    [
      'a waypoint nowhere',
      workload('w', { waypoint: { hostname: null, address: null, hbone_mtls_port: 15008 } }),
      'waypoint: neither `hostname` nor `address` is set',
    ],
    [
      'no service',
      workload('w', { services: new Map([['web', { ports: [] }]]) }),
      'services: expected `namespace/hostname`, found "web"',
    ],
    ['neither', { name: 'w', bytes: new Uint8Array(0) }, 'it is neither a workload nor a service'],
    ['no bytes of a message', { name: 'w', bytes: Uint8Array.of(0xff) }, 'its bytes are no istio.workload.Address'],
  ]
  for (const [name, bad, reason] of rows) {
    const store = new WorkloadStore()
    store.apply(ADDRESS_TYPE, [workload('w', { node: 'before' })], [])
    const { faults, change } = store.apply(ADDRESS_TYPE, [bad, workload('good')], [])
    t.equal(faults.length, 1, name)
    t.equal(faults[0]?.name, 'w')
    t.ok(faults[0]?.reason.startsWith(reason), `${faults[0]?.reason}`)
    t.same(
      change.put.workloads.map((w) => w.uid),
      ['good'],
    )
    t.equal(store.world.workloads.find((w) => w.uid === 'w')?.node, 'before', 'the last good one stays')
  }
})

t.test('a policy that cannot be read', async (t) => {
  const bad = policy('p', { scope: 'GLOBAL', rules: [{ clauses: [{ matches: [{ ...EMPTY_MATCH, principals: [TEXT] }] }] }] })
  const store = new WorkloadStore()
  const { faults, change } = store.apply(AUTHORIZATION_TYPE, [bad], [])
  t.equal(faults[0]?.reason, 'rules[0].clauses[0].matches[0].principals[0]: it says nothing of the text')
  const [standIn] = change.put.policies
  t.same([standIn?.action, standIn?.scope, standIn?.rules.length], ['DENY', 'GLOBAL', 1], 'denies as widely as it would')
  store.apply(AUTHORIZATION_TYPE, [policy('p')], [])
  store.apply(AUTHORIZATION_TYPE, [bad], [])
  t.equal(store.world.policies[0]?.action, 'ALLOW', 'with a last good one that one stays')
})

t.test('extensions of policies that nobody knows', async (t) => {
  const extensions = [{ name: 'x', config: null }]
  const of = (action: 'ALLOW' | 'DENY', over: object) =>
    new WorkloadStore().apply(
      AUTHORIZATION_TYPE,
      [policy('p', { action, rules: [{ clauses: [{ matches: [{ ...EMPTY_MATCH, extensions, ...over }] }] }] })],
      [],
    ).change.put.policies[0]?.rules[0]?.clauses[0]?.matches[0]
  t.same(of('ALLOW', { destination_ports: [80] })?.destinationPorts, [], 'what allows by it never fits')
  t.same(of('DENY', { destination_ports: [80] })?.destinationPorts, [80], 'what denies fits by the rest')
  t.same(of('DENY', {})?.notDestinationPorts, [0], 'or always')
})

t.test('the order of arrival does not matter', async (t) => {
  const resources = [
    workload('Kubernetes//Pod/ns/a', { addresses: [ip('10.0.0.1')], services: member('web') }),
    workload('b', { addresses: [ip('10.0.0.1')], services: member('web', 80, 81), tunnel_protocol: 'HBONE' }),
    workload('c', { addresses: [ip('10.0.0.1'), ip('10.0.0.2')], services: member('other') }),
    workload('d', { name: 'same', addresses: [ip('10.0.0.2')], hostname: 'd.example', services: member('web') }),
    workload('e', { name: 'same', addresses: [ip('10.0.0.3')], hostname: 'd.example', network_mode: 'HOST_NETWORK' }),
    ...['web', 'other', 'third'].map((host) =>
      service(host, { addresses: [{ network: '', address: ip('10.1.0.1'), length: null }], canonical: host === 'third' }),
    ),
    service('web', { namespace: 'far', addresses: [{ network: '', address: ip('10.1.0.1'), length: null }] }),
    ...['far', 'near'].map((namespace) =>
      service('cidr', { namespace, addresses: [{ network: '', address: ip('10.2.0.0'), length: 16 }] }),
    ),
  ]
  const names = resources.map((r) => r.name)
  const answers = (index: MeshIndex): unknown => ({
    addresses: ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((a) => index.workloadByAddress('', a)?.uid),
    vips: ['ns', 'far', 'none'].map((ns) => ['10.1.0.1', '10.2.3.4'].map((a) => keyOf(index.serviceByVip('', a, ns)?.found))),
    hosts: ['ns', 'far', 'none'].map((ns) => ['web', 'cidr'].map((h) => keyOf(index.serviceByHost(h, ns)))),
    info: index.workloadByInfo({ name: 'same', namespace: 'ns', serviceAccount: 'default' })?.uid,
    hostname: (index.gateway({ kind: 'hostname', namespace: 'ns', hostname: 'd.example' }, null) as { uid?: string })?.uid,
    endpoints: ['ns/web', 'ns/other', 'ns/third', 'far/web'].map((k) =>
      (index.serviceByKey(k)?.endpoints ?? []).map((e) => `${e.workload.uid} ${[...e.ports]}`).sort(),
    ),
  })
  const keyOf = (found: { service: Parameters<typeof serviceKey>[0] } | null | undefined) =>
    found == null ? null : serviceKey(found.service)
  const expected = (held: readonly string[]): unknown => {
    const store = new WorkloadStore()
    store.apply(
      ADDRESS_TYPE,
      resources.filter((r) => held.includes(r.name)),
      [],
    )
    return answers(new MeshIndex(store.world))
  }
  t.same((expected(names) as { addresses: unknown }).addresses, ['Kubernetes//Pod/ns/a', 'c', undefined])
  const steps = fc.array(
    fc.record({ puts: fc.subarray(names), removed: fc.subarray(names), batch: fc.integer({ min: 1, max: 4 }) }),
    { maxLength: 6 },
  )
  const last = fc.shuffledSubarray(names)
  fc.assert(
    fc.property(steps, last, (history, end) => {
      const store = new WorkloadStore()
      const index = new MeshIndex(store.world)
      const apply = (puts: readonly string[], removed: readonly string[], batch: number): void => {
        index.apply(store.apply(ADDRESS_TYPE, [], removed).change)
        for (let i = 0; i < puts.length; i += batch) {
          const part = puts.slice(i, i + batch)
          index.apply(
            store.apply(
              ADDRESS_TYPE,
              part.map((n) => resources[names.indexOf(n)]!),
              [],
            ).change,
          )
        }
        answers(index)
      }
      for (const { puts, removed, batch } of history) apply(puts, removed, batch)
      apply(
        end,
        names.filter((n) => !end.includes(n)),
        2,
      )
      t.strictSame(JSON.stringify(answers(index)), JSON.stringify(expected(end)))
    }),
    { numRuns: 60 },
  )
})

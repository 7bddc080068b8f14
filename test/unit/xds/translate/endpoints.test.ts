// Endpoints: what an LbEndpoint becomes, which of a cluster's sockets it gets, and that what has not changed stays the same object.
import fc from 'fast-check'
import t from 'tap'
import { sameValue } from '../../../../lib/base/same-value.ts'
import { type AssembledCluster, assembleCluster } from '../../../../lib/xds/translate/assemble-cluster.ts'
import { type LoadAssignment, translateLoadAssignment } from '../../../../lib/xds/translate/load-assignment.ts'
import {
  assembled,
  assignmentFrom,
  bytesOf,
  clusterFrom,
  endpointAt,
  endpointsOf,
  endpointTerms,
  found,
  type Json,
} from './kit.ts'

const TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets'
const RAW: Json = { name: 'raw', typed_config: { '@type': `${TYPE}.raw_buffer.v3.RawBuffer` } }
const sds = (name: string): Json => ({ name, sds_config: { ads: {} } })
const MESH: Json = {
  name: 'tls',
  typed_config: {
    '@type': `${TYPE}.tls.v3.UpstreamTlsContext`,
    sni: 'outbound_.80_._.a',
    common_tls_context: {
      alpn_protocols: ['istio-peer-exchange', 'istio'],
      tls_certificate_sds_secret_configs: [sds('default')],
      combined_validation_context: {
        default_validation_context: { match_subject_alt_names: [{ exact: 'spiffe://td/ns/n/sa/a' }] },
        validation_context_sds_secret_config: sds('ROOTCA'),
      },
    },
  },
}
const EDS: Json = { name: 'outbound|80||a', type: 'EDS', lb_policy: 'LEAST_REQUEST' }
const AUTOMATIC: Json = {
  ...EDS,
  transport_socket_matches: [
    { name: 'tlsMode-istio', match: { tlsMode: 'istio' }, transport_socket: MESH },
    { name: 'tlsMode-disabled', match: {}, transport_socket: RAW },
  ],
}
const metadata = (filters: Json): Json => ({ metadata: { filter_metadata: filters } })
const mtls = metadata({ 'envoy.transport_socket_match': { tlsMode: 'istio' } })
const world = (...lb_endpoints: Json[]): Json => ({ cluster_name: 'outbound|80||a', endpoints: [{ lb_endpoints }] })

t.test('one endpoint', async (t) => {
  const of = (endpoint: Json, cluster: Json = EDS) => assembled(cluster, world(endpoint)).cluster.endpoints[0]
  t.match(of(endpointAt('10.0.0.1', 8080)), {
    address: '10.0.0.1',
    port: 8080,
    weight: 1,
    priority: 0,
    healthy: true,
    tls: false,
    tlsReason: null,
    tunnel: null,
  })
  t.match(of(endpointAt('10.0.0.1', 80, { load_balancing_weight: 7 })), { weight: 7 })
  for (const [status, healthy] of [
    ['HEALTHY', true],
    ['DEGRADED', true],
    ['UNHEALTHY', false],
    ['DRAINING', false],
    ['TIMEOUT', false],
  ] as const)
    t.match(of(endpointAt('10.0.0.1', 80, { health_status: status })), { healthy }, status)
  t.match(of(endpointAt('10.0.0.1', 80, metadata({ istio: { workload: 'a-1;shop;a;v2;Kubernetes' } }))), {
    workload: { workload: 'a-1', namespace: 'shop', canonicalService: 'a', canonicalRevision: 'v2', version: 'v2' },
  })
  t.match(of(endpointAt('10.0.0.1', 80, metadata({ istio: { workload: 'a-1;shop;a;;Kubernetes' } }))), {
    workload: { canonicalRevision: 'latest', version: '' },
  })
})

t.test('which socket', async (t) => {
  const of = (cluster: Json, endpoint: Json) => {
    const { endpoints, tls, tlsReason } = assembled(cluster, world(endpoint)).cluster
    return [tls === null ? 'none' : tls.sni, tlsReason.why, endpoints[0]?.tls, endpoints[0]?.tlsReason?.why]
  }
  t.same(of(AUTOMATIC, endpointAt('10.0.0.1', 80, mtls)), ['outbound_.80_._.a', 'automatic', true, 'automatic'])
  t.same(of(AUTOMATIC, endpointAt('10.0.0.1', 80)), ['outbound_.80_._.a', 'automatic', false, 'no-sidecar'])
  t.same(of({ ...EDS, transport_socket: MESH }, endpointAt('10.0.0.1', 80)), ['outbound_.80_._.a', 'rule', true, undefined])
  t.same(of(EDS, endpointAt('10.0.0.1', 80, mtls)), ['none', 'off', false, undefined])
  t.match(assembled(AUTOMATIC, world(endpointAt('10.0.0.1'))).cluster.tls, {
    certificate: 'default',
    trust: 'ROOTCA',
    subjectAltNames: ['spiffe://td/ns/n/sa/a'],
    alpn: [],
    autoSni: false,
  })
})

t.test('through a tunnel', async (t) => {
  const internal = (server_listener_name: string, endpoint_id: string, more: Json = {}): Json => ({
    endpoint: { address: { envoy_internal_address: { server_listener_name, endpoint_id } } },
    ...more,
  })
  const of = (endpoint: Json) => {
    const { result, faults } = assignmentFrom(world(endpoint), null, 'baggage: x\r\n')
    return faults === '' ? endpointsOf(result)[0] : faults
  }
  const dialled = { address: '10.0.0.1', port: 80 }
  const tunnel = { port: 15_008, identities: [], authority: '', fields: 'baggage: x\r\n' }
  t.match(of(internal('connect_originate', '10.0.0.1:80')), { ...dialled, tunnel: { ...tunnel, address: '10.0.0.1' } })
  t.match(of(internal('connect_originate', '[2001:db8::1]:80')), { address: '2001:db8::1', tunnel: { address: '2001:db8::1' } })
  const original = (known: Json): Json => metadata({ 'envoy.filters.listener.original_dst': known })
  t.match(of(internal('connect_originate', '10.0.0.1:80', original({ local: '10.0.0.1:80', waypoint: '10.0.9.9:15009' }))), {
    ...dialled,
    tunnel: { address: '10.0.9.9', port: 15_009 },
  })
  // As istiod writes it for a gateway, of a service that opts in: the endpoint is the waypoint's, and the service is asked for.
  const service = original({ local: '10.96.0.1:80', waypoint: '10.0.9.9:15008' })
  t.match(of(internal('connect_originate', '10.0.9.9:15008', service)), {
    ...{ address: '10.0.9.9', port: 15_008 },
    tunnel: { address: '10.0.9.9', port: 15_008, authority: '10.96.0.1:80' },
  })
  // A gateway between networks hands on the tunnel that is inside of the one that it ends.
  t.match(of(internal('forward_inner_connect', '10.0.0.1:80', original({ local: '10.0.0.1:80' }))), {
    ...{ address: '10.0.0.1', port: 15_008, tunnel: null },
  })
  t.match(
    of(internal('forward_inner_connect', '10.0.9.9:15009', original({ local: '10.96.0.1:80', waypoint: '10.0.9.9:15009' }))),
    {
      ...{ address: '10.0.9.9', port: 15_009, tunnel: null },
    },
  )
  t.match(of(internal('connect_originate', '', original({ local: '10.0.0.1:80' }))), {
    ...dialled,
    tunnel: { address: '10.0.0.1' },
  })
  const fields = { outer: 'x-istio-source: waypoint\r\n', inner: 'x-forwarded-network: east\r\n' }
  const elsewhere = internal(
    'inner_connect_originate',
    '10.9.0.1:15008',
    metadata({ istio: { double_hbone: { hbone_target_address: 'a.n:80' } } }),
  )
  const bytes = bytesOf('envoy.config.endpoint.v3.ClusterLoadAssignment', world(elsewhere))
  const terms = endpointTerms('baggage: x\r\n', fields)
  t.match(endpointsOf(found((f) => translateLoadAssignment(bytes, null, terms, f)).result)[0], {
    address: '10.9.0.1',
    port: 15_008,
    tunnel: {
      address: '10.9.0.1',
      port: 15_008,
      authority: 'a.n:80',
      fields: 'baggage: x\r\nx-istio-source: waypoint\r\n',
      innerFields: 'baggage: x\r\nx-forwarded-network: east\r\n',
    },
  })
  const at = 'endpoints[0].lb_endpoints[0].endpoint.address.envoy_internal_address'
  t.equal(
    of(internal('mine', 'x')),
    `${at}.server_listener_name: the internal listener mine is not understood; connect_originate is`,
  )
  t.equal(of(internal('connect_originate', 'x')), `${at}.endpoint_id: "x" is no address with a port`)
})

t.test('priorities and localities', async (t) => {
  const group = (zone: string, more: Json, ...lb_endpoints: Json[]): Json => ({
    locality: { region: 'r', zone },
    lb_endpoints,
    ...more,
  })
  const endpoints = [
    group('a', { load_balancing_weight: 70 }, endpointAt('10.0.0.1')),
    group('b', {}, endpointAt('10.0.0.2')),
    group('c', { priority: 1, load_balancing_weight: 1 }, endpointAt('10.0.0.3')),
    group('d', { priority: 1, load_balancing_weight: 5 }),
  ]
  const assignment = { cluster_name: 'x', endpoints }
  const plain = assembled(EDS, assignment).cluster
  t.equal(plain.localityWeights, null)
  t.same(
    plain.endpoints.map((e) => [e.address, e.priority, e.locality.zone]),
    [
      ['10.0.0.1', 0, 'a'],
      ['10.0.0.2', 0, 'b'],
      ['10.0.0.3', 1, 'c'],
    ],
  )
  const locality = (zone: string) => ({ region: 'r', zone, subzone: '' })
  t.same(assembled({ ...EDS, common_lb_config: { locality_weighted_lb_config: {} } }, assignment).cluster.localityWeights, [
    { locality: locality('a'), priority: 0, weight: 70 },
    { locality: locality('b'), priority: 0, weight: 0 },
    { locality: locality('c'), priority: 1, weight: 1 },
  ])
})

t.test('further addresses', async (t) => {
  const socket = (address: string, port_value: number): Json => ({ address: { socket_address: { address, port_value } } })
  const of = (...additional_addresses: Json[]) =>
    assignmentFrom(world({ endpoint: { ...socket('10.0.0.1', 80), additional_addresses } }))
  const { result, notes } = of(socket('fd00::1', 80), socket('fd00::2', 81))
  t.same(endpointsOf(result)[0]?.otherAddresses, ['fd00::1'])
  t.equal(
    notes,
    'endpoints[0].lb_endpoints[0].endpoint.additional_addresses[1]: only further addresses with the same port are dialled',
  )
  t.same(endpointsOf(of().result)[0]?.otherAddresses, [])
})

t.test('refused', async (t) => {
  const at = 'endpoints[0].lb_endpoints[0].endpoint.address'
  const rows: [assignment: Json, faults: string][] = [
    [world({ endpoint: { address: { pipe: { path: 'app' } } } }), `${at}: the path of a socket is expected, not "app"`],
    [
      world({ endpoint: { address: { socket_address: { address: '10.0.0.1', protocol: 'UDP', port_value: 1 } } } }),
      `${at}.protocol: UDP is not carried out; TCP is`,
    ],
    [world({ endpoint: {} }), `${at}: an endpoint needs an address`],
    [world(endpointAt('a.example')), `${at}.address: an IP address is expected, not a.example`],
    [world(endpointAt('10.0.0.1', 65_536)), `${at}.port_value: 65536 is no port`],
    [
      world(endpointAt('10.0.0.1', 80, { load_balancing_weight: 0 })),
      'endpoints[0].lb_endpoints[0].load_balancing_weight: a weight is at least 1',
    ],
    [
      world({ endpoint: { ...(endpointAt('10.0.0.1')['endpoint'] as Json), health_check_config: { port_value: 70_000 } } }),
      'endpoints[0].lb_endpoints[0].endpoint.health_check_config.port_value: 70000 is no port',
    ],
    [
      { cluster_name: 'x', endpoints: [{ priority: 1, lb_endpoints: [endpointAt('10.0.0.1')] }] },
      'endpoints: priority 0 is left out, but there is one behind it',
    ],
    [
      { cluster_name: 'x', endpoints: [{ priority: 4000 }, {}] },
      'endpoints[0].priority: 4000 is more than 128; endpoints: priority 1 is left out, but there is one behind it',
    ],
  ]
  for (const [assignment, faults] of rows) t.equal(assignmentFrom(assignment).faults, faults, faults)
  t.equal(assignmentFrom({ cluster_name: 'x' }).faults, '', 'none at all is an answer')
  const inline = { ...EDS, type: 'STRICT_DNS', load_assignment: world(endpointAt('a.example')) }
  t.equal(clusterFrom(inline).faults, '', 'names are looked up where the cluster says so')
  t.match(clusterFrom({ ...inline, type: 'STATIC' }).faults, /an IP address is expected, not a\.example$/)
})

t.test('what has not changed stays the same object', async (t) => {
  const addresses = Array.from({ length: 5000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
  const all = (changed: number): Json =>
    world(
      ...addresses.map((a, i) =>
        endpointAt(a, 80, {
          load_balancing_weight: i === changed ? 9 : 1,
          ...metadata({ istio: { workload: `w-${i % 50};n;w;;c` } }),
        }),
      ),
    )
  const from = clusterFrom(AUTOMATIC).result!
  const before = assignmentFrom(all(-1)).result!
  const first = assembleCluster(from, before, null)
  const after = assignmentFrom(all(4711), before).result!
  const second = assembleCluster(from, after, first)
  const changed = second.cluster.endpoints.filter((e, i) => e !== first.cluster.endpoints[i])
  t.same(
    changed.map((e) => [e.address, e.weight]),
    [[addresses[4711], 9]],
  )
  t.equal(new Set(second.cluster.endpoints.map((e) => e.workload)).size, 50, 'workloads are interned')
  t.equal(new Set(second.cluster.endpoints.map((e) => e.locality)).size, 1)
  t.equal(assembleCluster(from, after, second), second, 'nothing new: the same')
  const limited = clusterFrom({ ...AUTOMATIC, connect_timeout: '1s' }).result!
  t.equal(
    assembleCluster(limited, after, second).cluster.endpoints[0],
    second.cluster.endpoints[0],
    'a change of the cluster alone',
  )
  const other = assembleCluster(clusterFrom(EDS).result!, after, second)
  t.equal(other.cluster.endpoints.length, 5000)
  t.not(other.cluster.endpoints[0], second.cluster.endpoints[0], 'another cluster configuration: other endpoints')
  const retold = assembleCluster(from, assignmentFrom(all(4711), after, 'baggage: x\r\n').result, second)
  t.not(retold.cluster.endpoints[0], second.cluster.endpoints[0], 'other tunnels: other endpoints')
})

t.test('whatever comes after what, read then or again: the endpoints are those that the last assignment has', async () => {
  const letters = (text: string) => fc.constantFrom(...text)
  const host = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 2 }))
  const group = fc.tuple(letters('ab'), fc.array(host, { maxLength: 8 }))
  const steps = fc.record({ groups: fc.array(group, { maxLength: 3 }), isAssembled: fc.boolean(), kept: fc.boolean() })
  const json = (groups: readonly (readonly [string, readonly (readonly [number, number])[]])[]): Json => ({
    cluster_name: 'x',
    endpoints: groups.map(([zone, hosts]) => ({
      locality: { zone },
      lb_endpoints: hosts.map(([n, load_balancing_weight]) => endpointAt(`10.0.0.${n}`, 80, { load_balancing_weight })),
    })),
  })
  const from = clusterFrom(EDS).result!
  fc.assert(
    fc.property(fc.array(steps, { minLength: 1, maxLength: 8 }), (all) => {
      let assignment: LoadAssignment | null = null
      let cluster: AssembledCluster | null = null
      for (const { groups, isAssembled, kept } of all) {
        assignment = assignmentFrom(json(groups), assignment).result
        if (kept) assignment?.letGo()
        if (!isAssembled) continue
        const before: AssembledCluster | null = cluster
        cluster = assembleCluster(from, assignment, before)
        const expected = assembleCluster(from, assignmentFrom(json(groups)).result, null).cluster
        if (!sameValue(cluster.cluster, expected)) return false
        const known = new Set(before?.cluster.endpoints)
        const texts = new Set(Array.from(known, (e) => JSON.stringify(e)))
        // What is there again in the same bytes and locality is the same object, wherever it stands, but where one stands several times.
        const addresses = [...(before?.cluster.endpoints ?? []), ...cluster.cluster.endpoints].map((e) => e.address)
        const isTwice = (address: string) => addresses.filter((a) => a === address).length > 2
        const lost = cluster.cluster.endpoints.filter((e) => texts.has(JSON.stringify(e)) && !known.has(e) && !isTwice(e.address))
        if (lost.length > 0) return false
      }
      return true
    }),
  )
})

t.test('the same endpoint twice', async (t) => {
  const endpoints = [
    { locality: { zone: 'a' }, lb_endpoints: [endpointAt('10.0.0.1')] },
    { locality: { zone: 'b' }, lb_endpoints: [endpointAt('10.0.0.1')] },
  ]
  t.same(
    assembled(EDS, { cluster_name: 'x', endpoints }).cluster.endpoints.map((e) => e.locality.zone),
    ['a', 'b'],
  )
})

// Where a node's tunnel sends a connection: who is dialled, with which authority, and who is expected there.
import t from 'tap'
import { explainOutbound, tunnelText } from '../../../../lib/decide/tunnel/explain-tunnel.ts'
import { MeshIndex } from '../../../../lib/decide/tunnel/mesh-index.ts'
import { decideOutbound } from '../../../../lib/decide/tunnel/outbound.ts'
import type { OutboundDecision, OutboundFacts } from '../../../../lib/decide/tunnel/outbound-decision.ts'
import type { Workload } from '../../../../lib/state/workload.ts'
import type { WorkloadWorld } from '../../../../lib/state/workload-world.ts'
import { gateway, memberOf, ports, prefixes, service, vips, workload } from '../../../support/mesh-nouns.ts'

const id = (sa: string, namespace = 'ns') => `spiffe://cluster.local/ns/${namespace}/sa/${sa}`
const client = workload('client', { addresses: ['10.0.0.1', 'fd00::1'] })

/** A pod with and without mesh, dual stack, with a waypoint, behind names; services with and without waypoints, in networks. */
const WORLD: WorkloadWorld = {
  workloads: [
    client,
    workload('echo', { addresses: ['10.0.0.2', 'fd00::2'], services: [memberOf('ns/echo.mesh'), memberOf('ns/wp-echo.mesh')] }),
    workload('two', { addresses: ['10.0.0.30', '10.0.0.31'] }),
    workload('plain', { addresses: ['10.0.0.3'], protocol: 'TCP', services: [memberOf('ns/plain.mesh')] }),
    workload('guarded', {
      addresses: ['10.0.0.4'],
      waypoint: gateway('ns/waypoint.mesh'),
      services: [memberOf('ns/guarded.mesh')],
    }),
    workload('by-ip', { addresses: ['10.0.0.5'], waypoint: gateway('/10.0.0.9') }),
    workload('lost', { addresses: ['10.0.0.6'], waypoint: gateway('ns/nobody.mesh') }),
    workload('by-vip', { addresses: ['10.0.0.7'], waypoint: gateway('/10.9.0.9') }),
    workload('way', { addresses: ['10.0.0.9', 'fd00::9'], services: [memberOf('ns/waypoint.mesh', { 15008: 15008 })] }),
    workload('sandwich', {
      addresses: ['10.0.0.10'],
      applicationTunnel: { protocol: 'PROXY', port: 15088 },
      services: [memberOf('ns/sandwich.mesh')],
    }),
    workload('named', { addresses: ['10.0.0.11'], services: [memberOf('ns/named.mesh', { 80: 9090 })] }),
    workload('unnamed', { addresses: ['10.0.0.12'], services: [memberOf('ns/named.mesh')] }),
    workload('sick', { addresses: ['10.0.0.13'], healthy: false, services: [memberOf('ns/sick.mesh'), memberOf('ns/any.mesh')] }),
    workload('dns', { hostname: 'db.example.com', protocol: 'TCP', services: [memberOf('ns/dns.mesh')] }),
    workload('host', { addresses: ['10.0.0.14'], networkMode: 'HOST_NETWORK' }),
    workload('far', { network: 'west', networkGateway: gateway('gw/east-west.mesh'), services: [memberOf('ns/far.mesh')] }),
    workload('farther', { network: 'west', networkGateway: gateway('west/192.0.2.7'), services: [memberOf('ns/farther.mesh')] }),
    workload('no-way', { network: 'west', addresses: ['10.0.0.2'], services: [memberOf('ns/no-way.mesh')] }),
    workload('far-waypoint', {
      network: 'west',
      networkGateway: gateway('gw/east-west.mesh'),
      services: [memberOf('ns/far-waypoint.mesh', { 15008: 15008 })],
    }),
    workload('gate', { namespace: 'gw', addresses: ['10.0.0.20'], services: [memberOf('gw/east-west.mesh', { 15008: 15008 })] }),
    workload('gate2', { namespace: 'gw', network: 'west', addresses: ['192.0.2.7'] }),
  ],
  services: [
    service('echo.mesh', {
      vips: vips('/10.9.0.1', '/fd09::1'),
      subjectAltNames: [id('extra'), 'not-a-spiffe-id', 'spiffe://td/other'],
    }),
    service('wp-echo.mesh', { vips: vips('/10.9.0.2', '/fd09::2'), waypoint: gateway('ns/waypoint.mesh') }),
    service('plain.mesh', { vips: vips('/10.9.0.3') }),
    service('guarded.mesh', { vips: vips('/10.9.0.4') }),
    service('waypoint.mesh', { vips: vips('/10.9.0.9'), ports: ports({ 15008: 15008 }), subjectAltNames: [id('way-extra')] }),
    service('sandwich.mesh', { vips: vips('/10.9.0.10'), ports: ports({ 80: 80 }) }),
    service('behind.mesh', { vips: vips('/10.9.0.11'), waypoint: gateway('ns/sandwich.mesh') }),
    service('named.mesh', { vips: vips('/10.9.0.12'), ports: ports({ 80: 0, 81: 0 }) }),
    service('sick.mesh', { vips: vips('/10.9.0.13') }),
    service('any.mesh', { vips: vips('/10.9.0.14'), loadBalancing: { scopes: [], mode: 'STANDARD', healthPolicy: 'ALLOW_ALL' } }),
    service('empty.mesh', { vips: vips('/10.9.0.15') }),
    service('dns.mesh', { vips: vips('/10.9.0.16', '/fd09::16') }),
    service('pass.mesh', {
      vips: vips('/10.9.0.17'),
      loadBalancing: { scopes: [], mode: 'PASSTHROUGH', healthPolicy: 'ONLY_HEALTHY' },
    }),
    service('far.mesh', { vips: vips('/10.9.0.18'), subjectAltNames: [id('far-server')] }),
    service('farther.mesh', { vips: vips('/10.9.0.19') }),
    service('no-way.mesh', { vips: vips('/10.9.0.20') }),
    service('via-far.mesh', { vips: vips('/10.9.0.21'), waypoint: gateway('ns/far-waypoint.mesh') }),
    service('far-waypoint.mesh', { ports: ports({ 15008: 15008 }), subjectAltNames: [id('far-way')] }),
    service('east-west.mesh', {
      namespace: 'gw',
      vips: vips('/10.9.0.22'),
      ports: ports({ 15008: 15008 }),
      subjectAltNames: [id('gate-extra', 'gw')],
    }),
    service('lost.mesh', { vips: vips('/10.9.0.23'), waypoint: gateway('ns/nobody.mesh') }),
    service('v6.mesh', {
      vips: vips('/10.9.0.24'),
      ipFamilies: 'IPV6',
      endpoints: [{ workloadUid: 'cluster1//Pod/ns/echo', ports: [], healthy: true }],
    }),
    service('wide.mesh', {
      prefixVips: [{ network: '', prefix: prefixes('10.8.0.0/16')[0]! }],
      endpoints: [{ workloadUid: 'cluster1//Pod/ns/echo', ports: [], healthy: true }],
    }),
    service('hidden.mesh', { namespace: 'other', vips: vips('/10.9.0.25'), visibility: 'NAMESPACE' }),
    service('empty-waypoint.mesh', { vips: vips('/10.9.0.26'), waypoint: gateway('ns/empty.mesh') }),
  ],
  policies: [],
}
const index = new MeshIndex(WORLD)

function facts(to: string, over: Partial<OutboundFacts> = {}): OutboundFacts {
  const colon = to.lastIndexOf(':')
  const source = over.source === undefined ? client : over.source
  return {
    source,
    sourceInfo: { name: 'client', namespace: 'ns', serviceAccount: 'client' },
    sourceIp: '10.0.0.1',
    destination: { ip: to.slice(0, colon).replace(/[[\]]/g, ''), port: Number(to.slice(colon + 1)) },
    ownPorts: [15001, 15006, 15008],
    hbonePort: 15008,
    draws: { waypoint: 0, endpoint: 0, gateway: 0, address: 0 },
    resolved: new Map(),
    asked: null,
    ...over,
  }
}

const dialled = ({ dial }: OutboundDecision) => (dial === null ? '' : `${dial.ip} ${dial.port}`)

t.test('where it goes, by what was dialled', async (t) => {
  type Row = [what: string, to: string, verdict: OutboundDecision['verdict'], dial: string, authority: string, ids: string[]]
  const rows: Row[] = [
    ['pod to pod', '10.0.0.2:8080', 'hbone', '10.0.0.2 15008', '10.0.0.2:8080', [id('echo')]],
    ['pod to pod, IPv6', '[fd00::2]:8080', 'hbone', 'fd00::2 15008', '[fd00::2]:8080', [id('echo')]],
    ['the address that was dialled, of two', '10.0.0.31:80', 'hbone', '10.0.0.31 15008', '10.0.0.31:80', [id('two')]],
    ['service to a pod, its target port', '10.9.0.1:80', 'hbone', '10.0.0.2 15008', '10.0.0.2:8080', [id('extra'), id('echo')]],
    [
      'service to a pod, the family that was dialled',
      '[fd09::1]:80',
      'hbone',
      'fd00::2 15008',
      '[fd00::2]:8080',
      [id('extra'), id('echo')],
    ],
    ['service that has IPv6 only', '10.9.0.24:80', 'hbone', 'fd00::2 15008', '[fd00::2]:8080', [id('echo')]],
    ['service by a prefix', '10.8.7.6:80', 'hbone', '10.0.0.2 15008', '10.0.0.2:8080', [id('echo')]],
    ['pod without a tunnel', '10.0.0.3:99', 'tcp', '10.0.0.3 99', '', []],
    ['service of a pod without a tunnel', '10.9.0.3:80', 'tcp', '10.0.0.3 8080', '', []],
    ['the endpoint names the port', '10.9.0.12:80', 'hbone', '10.0.0.11 15008', '10.0.0.11:9090', [id('named')]],
    ['not well, and all are taken', '10.9.0.14:80', 'hbone', '10.0.0.13 15008', '10.0.0.13:8080', [id('sick')]],
    // 10.7
    ['VIP, service waypoint', '10.9.0.2:80', 'hbone', '10.0.0.9 15008', '10.9.0.2:80', [id('way-extra'), id('way')]],
    ['VIP, service waypoint, IPv6', '[fd09::2]:80', 'hbone', 'fd00::9 15008', '[fd09::2]:80', [id('way-extra'), id('way')]],
    [
      'VIP, a port that the service does not have, service waypoint',
      '10.9.0.2:7',
      'hbone',
      '10.0.0.9 15008',
      '10.9.0.2:7',
      [id('way-extra'), id('way')],
    ],
    ['VIP, workload waypoint only', '10.9.0.4:80', 'hbone', '10.0.0.4 15008', '10.0.0.4:8080', [id('guarded')]],
    ['pod IP, workload waypoint', '10.0.0.4:8080', 'hbone', '10.0.0.9 15008', '10.0.0.4:8080', [id('way-extra'), id('way')]],
    ['pod IP, waypoint by its address', '10.0.0.5:8080', 'hbone', '10.0.0.9 15008', '10.0.0.5:8080', [id('way')]],
    [
      'pod IP, waypoint by the address of its service',
      '10.0.0.7:8080',
      'hbone',
      '10.0.0.9 15008',
      '10.0.0.7:8080',
      [id('way-extra'), id('way')],
    ],
    ['pod IP, no waypoint, though its service has one', '10.0.0.2:80', 'hbone', '10.0.0.2 15008', '10.0.0.2:80', [id('echo')]],
    [
      'waypoint with an application tunnel: any port',
      '10.9.0.11:80',
      'hbone',
      '10.0.0.10 15008',
      '10.9.0.11:80',
      [id('sandwich')],
    ],
    // Strangers
    ['nobody', '192.0.2.1:443', 'tcp', '192.0.2.1 443', '', []],
    ['nobody, IPv6', '[2001:db8::1]:443', 'tcp', '2001:db8::1 443', '', []],
    ['the address of a node', '10.0.0.14:80', 'tcp', '10.0.0.14 80', '', []],
    ['PASSTHROUGH', '10.9.0.17:5432', 'tcp', '10.9.0.17 5432', '', []],
    ['a service that the client does not see', '10.9.0.25:80', 'tcp', '10.9.0.25 80', '', []],
    ['loopback, not ours', '127.0.0.1:80', 'tcp', '127.0.0.1 80', '', []],
    ['a port like ours elsewhere', '10.0.0.3:15001', 'tcp', '10.0.0.3 15001', '', []],
  ]
  for (const [what, to, verdict, dial, authority, ids] of rows) {
    const d = decideOutbound(index, facts(to))
    t.same([d.verdict, dialled(d), d.authority, d.serverIdentities, d.error], [verdict, dial, authority, ids, ''], what)
    t.same(d.innerIdentities, [], what)
  }
})

t.test('other networks: a tunnel in a tunnel, both for the service by name', async (t) => {
  const rows: [what: string, to: string, dial: string, authority: string, outer: string[], inner: string[]][] = [
    [
      'gateway by name',
      '10.9.0.18:80',
      '10.0.0.20 15008',
      'far.mesh:80',
      [id('gate-extra', 'gw'), id('gate', 'gw')],
      [id('far-server')],
    ],
    [
      'gateway by address, service without identities',
      '10.9.0.19:80',
      '192.0.2.7 15008',
      'farther.mesh:80',
      [id('gate2', 'gw')],
      [id('farther')],
    ],
    [
      'a waypoint in another network',
      '10.9.0.21:80',
      '10.0.0.20 15008',
      'via-far.mesh:80',
      [id('gate-extra', 'gw'), id('gate', 'gw')],
      [id('far-way')],
    ],
  ]
  for (const [what, to, dial, authority, outer, inner] of rows) {
    const d = decideOutbound(index, facts(to))
    t.same(
      [d.verdict, dialled(d), d.authority, d.serverIdentities, d.innerIdentities, d.error],
      ['double-hbone', dial, authority, outer, inner, ''],
      what,
    )
  }
})

t.test('refused early, in the words of ztunnel', async (t) => {
  const rows: [what: string, facts: OutboundFacts, refusal: string, error: string][] = [
    ['own port', facts('127.0.0.1:15001'), 'self-call', 'attempted recursive call to ourselves'],
    ['own port, IPv6', facts('[::1]:15006'), 'self-call', 'attempted recursive call to ourselves'],
    [
      'no source',
      facts('10.0.0.2:80', { source: null }),
      'unknown-source',
      'failed to fetch information about local workload: client.ns (client)',
    ],
    ['no endpoints', facts('10.9.0.15:80'), 'no-healthy-upstream', 'no healthy upstream: 10.9.0.15:80'],
    ['no healthy one', facts('10.9.0.13:80'), 'no-healthy-upstream', 'no healthy upstream: 10.9.0.13:80'],
    ['a port that it does not have', facts('10.9.0.1:81'), 'no-healthy-upstream', 'no healthy upstream: 10.9.0.1:81'],
    ['no endpoint names the port', facts('10.9.0.12:81'), 'no-healthy-upstream', 'no healthy upstream: 10.9.0.12:81'],
    ['IPv6', facts('[fd09::1]:81'), 'no-healthy-upstream', 'no healthy upstream: [fd09::1]:81'],
    [
      'unknown waypoint of a service',
      facts('10.9.0.23:80'),
      'unknown-waypoint',
      'unknown waypoint: waypoint ns/nobody.mesh:15008 not found',
    ],
    [
      'unknown waypoint of a workload',
      facts('10.0.0.6:80'),
      'unknown-waypoint',
      'unknown waypoint: waypoint ns/nobody.mesh:15008 not found',
    ],
    [
      'a waypoint without endpoints',
      facts('10.9.0.26:80'),
      'unknown-waypoint',
      'unknown waypoint: waypoint ns/empty.mesh:15008 not found',
    ],
    [
      'another network without a gateway',
      facts('10.9.0.20:80'),
      'no-destination',
      'no valid routing destination for workload: Workload{no-way with uid cluster1//Pod/ns/no-way (HBONE)}',
    ],
  ]
  for (const [what, f, refusal, error] of rows) {
    const d = decideOutbound(index, f)
    t.same([d.verdict, d.refusal, d.error, d.dial], ['deny', refusal, error, null], what)
  }
})

t.test('the waypoint of a workload goes straight to it', async (t) => {
  const way = index.workloadByUid('cluster1//Pod/ns/way') as Workload
  const rows: [what: string, over: Partial<OutboundFacts>, dial: string][] = [
    ['the waypoint', { source: way, sourceIp: '10.0.0.9' }, '10.0.0.4 15008'],
    ['its other address', { source: way, sourceIp: 'fd00::9' }, '10.0.0.4 15008'],
    ['its identity, another address', { source: way, sourceIp: '10.0.0.1' }, '10.0.0.9 15008'],
    ['its address, another identity', { source: client, sourceIp: '10.0.0.9' }, '10.0.0.9 15008'],
  ]
  for (const [what, over, dial] of rows) t.equal(dialled(decideOutbound(index, facts('10.0.0.4:80', over))), dial, what)
})

t.test('host names are looked up, and the decision is made again', async (t) => {
  const ask = (resolved: OutboundFacts['resolved'], address = 0, to = '10.9.0.16:80') =>
    decideOutbound(index, facts(to, { resolved, draws: { waypoint: 0, endpoint: 0, gateway: 0, address } }))
  const first = ask(new Map())
  t.same([first.verdict, first.lookup, first.error], ['resolve', 'db.example.com', ''])
  const all = new Map([['db.example.com', ['2001:db8::5', '192.0.2.5', '192.0.2.6']]])
  t.equal(dialled(ask(all)), '192.0.2.5 8080')
  t.equal(dialled(ask(all, 2 ** 32 - 1)), '192.0.2.6 8080')
  t.equal(dialled(ask(all, 0, '[fd09::16]:80')), '2001:db8::5 8080', 'the family that was dialled')
  t.equal(dialled(ask(new Map([['db.example.com', ['2001:db8::5']]]))), '2001:db8::5 8080', 'or the other one')
  t.equal(ask(new Map([['db.example.com', null]])).error, 'no ip addresses were resolved for workload: cluster1//Pod/ns/dns')
  t.match(ask(new Map([['db.example.com', []]])).error, /cluster1\/\/Pod\/ns\/dns, but valid dns response had no A\/AAAA records/)
})

t.test('a share of connections for each waypoint', async (t) => {
  const weighted = service('canary.mesh', {
    vips: vips('/10.9.1.1'),
    waypoint: gateway('/10.0.0.9'),
    weightedWaypoints: [
      { destination: gateway('/10.0.0.10'), weight: 0 },
      { destination: gateway('/10.0.0.9'), weight: 9 },
      { destination: gateway('/10.0.0.20'), weight: 1 },
    ],
  })
  const zero = service('zero.mesh', {
    vips: vips('/10.9.1.2'),
    waypoint: gateway('/10.0.0.9'),
    weightedWaypoints: [{ destination: gateway('/10.0.0.10'), weight: 0 }],
  })
  const canary = new MeshIndex({ ...WORLD, services: [...WORLD.services, weighted, zero] })
  const draw = (share: number, to = '10.9.1.1:80') =>
    dialled(
      decideOutbound(
        canary,
        facts(to, { draws: { waypoint: Math.floor(share * 2 ** 32), endpoint: 0, gateway: 0, address: 0 } }),
      ),
    )
  t.same(
    [0, 0.5, 0.8999, 0.9001, 0.9999].map((s) => draw(s)),
    ['10.0.0.9 15008', '10.0.0.9 15008', '10.0.0.9 15008', '10.0.0.20 15008', '10.0.0.20 15008'],
  )
  t.equal(draw(0, '10.9.1.2:80'), '10.0.0.9 15008', 'weights of nothing: the one waypoint')
})

t.test('sentences', async (t) => {
  const told = (to: string, over: Partial<OutboundFacts> = {}) =>
    explainOutbound(decideOutbound(index, facts(to, over))).map((s) => s.text)
  t.same(told('10.9.0.1:80'), [
    `from workload ns/client, as ${id('client')}`,
    '10.9.0.1 is an address of service ns/echo.mesh',
    'service ns/echo.mesh has 1 endpoint; one of 1 by weight',
    'picked workload ns/echo, 10.0.0.2:8080',
    `dials 10.0.0.2:15008 with mTLS, where one of ${id('extra')}, ${id('echo')} is expected, and asks for 10.0.0.2:8080`,
  ])
  t.same(told('10.9.0.12:80')[2], 'service ns/named.mesh has 2 endpoints, left out: 1 without port 80; one of 1 by weight')
  t.same(told('10.9.0.13:80').slice(2), [
    'service ns/sick.mesh has 1 endpoint, left out: 1 not healthy; none is left',
    'refused: no healthy upstream: 10.9.0.13:80',
  ])
  t.match(
    told('10.9.0.4:80')[4],
    'the waypoint of workload ns/guarded is not used: service ns/guarded.mesh was addressed, which has none',
  )
  t.match(told('10.0.0.4:80')[3], 'workload ns/guarded is reached through its waypoint ns/waypoint.mesh:15008')
  t.match(told('10.8.7.6:80')[1], '10.8.7.6 is in 10.8.0.0/16 of service ns/wide.mesh')
  t.match(told('10.9.0.18:80').at(-1), `in that tunnel opens another one, to one of ${id('far-server')}`)
  t.same(told('192.0.2.1:443').slice(1), [
    '192.0.2.1 is no service and no workload',
    'it goes on as it came: nobody is known at that address',
    'dials 192.0.2.1:443 in plain text',
  ])
  t.same(told('10.9.0.16:80').at(-1), 'the addresses of db.example.com are needed')
  t.same(told('127.0.0.1:15001'), ['refused: attempted recursive call to ourselves'])
  const text = tunnelText(explainOutbound(decideOutbound(index, facts('10.9.0.1:80'))))
  t.match(text, /10\.9\.0\.1 is an address of service ns\/echo\.mesh {2}\[Service ns\/echo \(mesh\.yaml:1:1\)\]\n/)
})

t.test('where the control plane tells on demand', async (t) => {
  const asks = (to: string, asked: string[]) => {
    const { verdict, lookup } = decideOutbound(index, facts(to, { asked: new Set(asked) }))
    return [verdict, lookup]
  }
  t.same(asks('10.0.0.2:8080', []), ['hbone', ''], 'what is known is not asked for')
  t.same(asks('192.0.2.1:443', []), ['ask', '/192.0.2.1'])
  t.same(asks('192.0.2.1:443', ['/192.0.2.1']), ['tcp', ''], 'nobody has it')
  const unknown = new MeshIndex({
    ...WORLD,
    services: [
      service('by-name.mesh', { vips: vips('/10.9.1.1'), waypoint: gateway('ns/later.mesh') }),
      service('by-address.mesh', { vips: vips('/10.9.1.2'), waypoint: gateway('/10.9.1.9') }),
    ],
  })
  for (const [vip, name] of [
    ['10.9.1.1', 'ns/later.mesh'],
    ['10.9.1.2', '/10.9.1.9'],
  ] as const) {
    const first = decideOutbound(unknown, facts(`${vip}:80`, { asked: new Set() }))
    t.same([first.verdict, first.lookup], ['ask', name])
    t.equal(
      decideOutbound(unknown, facts(`${vip}:80`, { asked: new Set([name]) })).refusal,
      'unknown-waypoint',
      'and never around it',
    )
  }
  t.same(
    explainOutbound(decideOutbound(index, facts('192.0.2.1:443', { asked: new Set() }))).at(-1)?.text,
    'the control plane is asked who has /192.0.2.1',
  )
})

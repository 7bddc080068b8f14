// Whether a connection reaches a workload of the node: through a tunnel and in plain text.
import fc from 'fast-check'
import t from 'tap'
import { parseAuthority } from '../../../../lib/decide/tunnel/authority.ts'
import { explainInbound } from '../../../../lib/decide/tunnel/explain-tunnel.ts'
import { decideInbound, decideInboundPlain } from '../../../../lib/decide/tunnel/inbound.ts'
import type { HboneFacts, InboundDecision, PlainFacts } from '../../../../lib/decide/tunnel/inbound-decision.ts'
import { MeshIndex } from '../../../../lib/decide/tunnel/mesh-index.ts'
import { L4Authorizer } from '../../../../lib/policy/l4-authorizer.ts'
import type { Authorization } from '../../../../lib/state/authorization.ts'
import { peerIdentityOf } from '../../../../lib/state/peer-identity.ts'
import type { Workload } from '../../../../lib/state/workload.ts'
import { gateway, memberOf, policy, ports, rule, service, texts, vips, workload } from '../../../support/mesh-nouns.ts'

const app = workload('app', {
  addresses: ['10.0.0.2', 'fd00::2'],
  services: [memberOf('ns/app.mesh', { 81: 9081 }), memberOf('ns/other.mesh')],
})
const sandwich = workload('sandwich', {
  addresses: ['10.0.0.3'],
  applicationTunnel: { protocol: 'PROXY', port: 15088 },
  services: [memberOf('ns/sandwich.mesh')],
})
const bare = workload('bare', { addresses: ['10.0.0.4'], applicationTunnel: { protocol: 'NONE', port: 0 } })
const waypoint = workload('waypoint', { addresses: ['10.0.0.5'], services: [memberOf('ns/waypoint.mesh')] })
const index = new MeshIndex({
  workloads: [
    app,
    sandwich,
    bare,
    waypoint,
    workload('client', { addresses: ['10.0.0.1'] }),
    workload('behind', { addresses: ['10.0.0.6'], waypoint: gateway('/10.0.0.5') }),
  ],
  services: [
    service('app.mesh', { vips: vips('/10.9.0.2'), ports: ports({ 80: 8080, 81: 0, 82: 0, 83: 15001 }) }),
    service('other.mesh', { ports: ports({ 70: 7070 }) }),
    service('sandwich.mesh', { vips: vips('west/10.7.0.3', '/fd09::3', '/10.9.0.3') }),
    service('headless.mesh', { vips: [] }),
    service('waypoint.mesh', { ports: ports({ 15008: 15008 }) }),
    service('guarded.mesh', { vips: vips('/10.9.0.6'), waypoint: gateway('ns/waypoint.mesh') }),
    service('elsewhere.mesh', { vips: vips('/10.9.0.7'), waypoint: gateway('ns/sandwich.mesh') }),
    service('private.mesh', { namespace: 'other', visibility: 'NAMESPACE' }),
  ],
  policies: [],
})
const CLIENT = 'spiffe://cluster.local/ns/ns/sa/client'

function plainFacts(over: Partial<PlainFacts> = {}): PlainFacts {
  return {
    local: app,
    localInfo: { name: 'app', namespace: 'ns', serviceAccount: 'app' },
    source: { ip: '10.0.0.1', port: 40_000 },
    destination: { ip: '10.0.0.2', port: 8080 },
    ownPorts: [15001, 15006, 15008],
    keepSource: true,
    ...over,
  }
}
function facts(authority: string, over: Partial<HboneFacts> = {}): HboneFacts {
  return {
    ...plainFacts({ destination: { ip: '10.0.0.2', port: 15008 } }),
    method: 'CONNECT',
    authority,
    identity: peerIdentityOf(CLIENT),
    forwardedNetwork: '',
    forwardedHost: '',
    localTunnel: true,
    ...over,
  }
}
const at = (local: Workload, ip = local.addresses[0]!): Partial<HboneFacts> => ({ local, destination: { ip, port: 15008 } })
const ask = (f: HboneFacts, policies: Authorization[] = []) => decideInbound(index, new L4Authorizer(policies), f)
const text = (x: { ip: string; port: number } | null) => (x === null ? '' : `${x.ip} ${x.port}`)

t.test('what a CONNECT asks for, and where it goes', async (t) => {
  const rows: [what: string, facts: HboneFacts, status: InboundDecision['status'], target: string, error: string][] = [
    ['its address', facts('10.0.0.2:8080'), 200, '10.0.0.2 8080', ''],
    ['its IPv6 address', facts('[fd00::2]:8080', at(app, 'fd00::2')), 200, 'fd00::2 8080', ''],
    ['its IPv6 address, written otherwise', facts('[FD00:0::2]:8080', at(app, 'fd00::2')), 200, 'fd00::2 8080', ''],
    ['any port of it', facts('10.0.0.2:1'), 200, '10.0.0.2 1', ''],
    ['a service: the target port', facts('app.mesh:80'), 200, '10.0.0.2 8080', ''],
    ['a service: the port of the endpoint', facts('app.mesh:81'), 200, '10.0.0.2 9081', ''],
    ['a service in capitals', facts('App.Mesh:80'), 200, '10.0.0.2 8080', ''],
    ['another method', facts('10.0.0.2:8080', { method: 'GET' }), 400, '', 'expected method CONNECT, got GET'],
    ['no port', facts('10.0.0.2'), 400, '', 'no valid authority pseudo header: 10.0.0.2'],
    ['nothing', facts(''), 400, '', 'no valid authority pseudo header: '],
    ['another address', facts('10.0.0.99:80'), 400, '', 'ip mismatch: 10.0.0.2 != 10.0.0.99'],
    ['the other address of the same workload', facts('[fd00::2]:80'), 400, '', 'ip mismatch: 10.0.0.2 != fd00::2'],
    ['loopback', facts('127.0.0.1:15000'), 400, '', 'ip mismatch: 10.0.0.2 != 127.0.0.1'],
    ['metadata', facts('169.254.169.254:80'), 400, '', 'ip mismatch: 10.0.0.2 != 169.254.169.254'],
    [
      'workload not known',
      facts('10.0.0.2:80', { local: null }),
      503,
      '',
      'failed to fetch information about local workload: app.ns (app)',
    ],
    ['a bad authority goes before that', facts('x', { local: null }), 400, '', 'no valid authority pseudo header: x'],
    ['unknown host name', facts('nobody.mesh:80'), 503, '', 'no service or workload for hostname: nobody.mesh'],
    ['a service that it does not see', facts('private.mesh:80'), 503, '', 'no service or workload for hostname: private.mesh'],
    [
      'a port that the service does not have',
      facts('app.mesh:9'),
      503,
      '',
      'requested service app.mesh:9 found, but cannot resolve port',
    ],
    [
      'a named port that it does not have',
      facts('app.mesh:82'),
      503,
      '',
      'requested service app.mesh:82 found, but cannot resolve port',
    ],
    ['a port of the tunnel', facts('10.0.0.2:15001'), 503, '', 'attempted recursive call to ourselves'],
    ['the tunnel itself', facts('10.0.0.2:15008'), 503, '', 'attempted recursive call to ourselves'],
    ['a port of the tunnel, by a service', facts('app.mesh:83'), 503, '', 'attempted recursive call to ourselves'],
    ['in front of a workload', facts('10.0.0.6:80', at(waypoint)), 200, '10.0.0.5 80', ''],
    ['in front of a service', facts('10.9.0.6:80', at(waypoint)), 200, '10.0.0.5 80', ''],
    ['another waypoint stands there', facts('10.9.0.7:80', at(waypoint)), 400, '', 'ip mismatch: 10.0.0.5 != 10.9.0.7'],
    ['nobody stands there', facts('10.9.0.2:80', at(waypoint)), 400, '', 'ip mismatch: 10.0.0.5 != 10.9.0.2'],
    ['application tunnel: any address', facts('192.0.2.1:80', at(sandwich)), 200, '127.0.0.1 15088', ''],
    [
      'application tunnel, not on loopback',
      facts('192.0.2.1:80', { ...at(sandwich), localTunnel: false }),
      200,
      '10.0.0.3 15088',
      '',
    ],
    ['application tunnel without PROXY and port', facts('192.0.2.1:81', at(bare)), 200, '10.0.0.4 81', ''],
    ['application tunnel: a service', facts('sandwich.mesh:80', at(sandwich)), 200, '127.0.0.1 15088', ''],
    [
      'application tunnel: its own ports are still ours',
      facts('192.0.2.1:15006', at(sandwich)),
      503,
      '',
      'attempted recursive call to ourselves',
    ],
  ]
  for (const [what, f, status, target, error] of rows) {
    const d = ask(f)
    t.same([d.status, text(d.target), d.error], [status, target, error], what)
    t.equal(d.verdict, status === 200 ? 'connect' : 'refuse', what)
  }
})

t.test('the address that the application sees', async (t) => {
  const rows: [what: string, facts: HboneFacts, bind: string | null][] = [
    ["the client's", facts('10.0.0.2:80'), '10.0.0.1'],
    ['switched off', facts('10.0.0.2:80', { keepSource: false }), null],
    ['from itself', facts('10.0.0.2:80', { source: { ip: '10.0.0.2', port: 1 } }), null],
    ['loopback', facts('10.0.0.3:80', at(sandwich)), null],
  ]
  for (const [what, f, bind] of rows) t.equal(ask(f).bindIp, bind, what)
})

t.test('the PROXY header', async (t) => {
  const header = (f: HboneFacts) => {
    const h = ask(f).proxyHeader
    return h === null ? null : [text(h.source), text(h.destination), h.identity]
  }
  t.equal(header(facts('10.0.0.2:80')), null)
  t.equal(header(facts('10.0.0.4:80', at(bare))), null, 'not asked for')
  t.same(header(facts('192.0.2.1:80', at(sandwich))), ['10.0.0.1 40000', '192.0.2.1 80', CLIENT])
  t.same(
    header(facts('sandwich.mesh:80', at(sandwich))),
    ['10.0.0.1 40000', '10.9.0.3 80', CLIENT],
    'of the own network, IPv4 first',
  )
  const none = ask(facts('headless.mesh:80', at(sandwich)))
  t.same([none.status, none.error], [503, 'requested service headless.mesh found, but has no IP addresses'])
})

t.test('policies see the application, and the identity of the certificate', async (t) => {
  const port = (p: number) => policy('DENY', [rule([{ destinationPorts: [p] }])])
  const rows: [what: string, facts: HboneFacts, policies: Authorization[], status: number][] = [
    ['none', facts('10.0.0.2:8080'), [], 200],
    ['its port', facts('10.0.0.2:8080'), [port(8080)], 401],
    ['not the port of the tunnel', facts('10.0.0.2:8080'), [port(15008)], 200],
    ['the target port, not that of the service', facts('app.mesh:80'), [port(8080)], 401],
    ['the target port, not that of the service', facts('app.mesh:80'), [port(80)], 200],
    ['the port of the application tunnel', facts('192.0.2.1:80', at(sandwich)), [port(15088)], 401],
    ['identity', facts('10.0.0.2:80'), [policy('ALLOW', [rule([{ principals: texts('cluster.local/ns/ns/sa/client') }])])], 200],
    ['no identity', facts('10.0.0.2:80', { identity: null }), [policy('ALLOW', [rule([{ principals: texts('*') }])])], 401],
  ]
  for (const [what, f, policies, status] of rows) t.equal(ask(f, policies).status, status, what)
  const denied = ask(facts('10.0.0.2:80'), [policy('ALLOW', [])])
  t.same(
    [denied.verdict, denied.flag, denied.error, denied.bindIp],
    ['refuse', 'DENY', 'connection closed due to policy rejection: allow policies exist, but none allowed', null],
  )
  t.equal(ask(facts('10.0.0.9:80'), [policy('DENY', [rule()])]).status, 400, 'what is wrong anyway is not asked about')
})

t.test('who is told to have been meant, and to have asked', async (t) => {
  const rows: [what: string, facts: HboneFacts, service: string | undefined, source: string | undefined][] = [
    ['by its port', facts('10.0.0.2:8080'), 'app.mesh', 'client'],
    ['by the port of the endpoint', facts('10.0.0.2:9081'), 'app.mesh', 'client'],
    ['by another port', facts('10.0.0.2:7070'), 'other.mesh', 'client'],
    ['no such port', facts('10.0.0.2:1'), undefined, 'client'],
    ['named by the client', facts('10.0.0.2:1', { forwardedHost: 'other.mesh' }), 'other.mesh', 'client'],
    ['named, and none of its own', facts('10.0.0.2:8080', { forwardedHost: 'guarded.mesh' }), 'app.mesh', 'client'],
    ['a stranger', facts('10.0.0.2:8080', { source: { ip: '192.0.2.1', port: 1 } }), 'app.mesh', undefined],
    ['from another network', facts('app.mesh:80', { forwardedNetwork: 'west' }), 'app.mesh', undefined],
  ]
  for (const [what, f, meant, source] of rows) {
    const d = ask(f)
    t.same([d.service?.hostname, d.source?.name], [meant, source], what)
  }
})

t.test('plain text', async (t) => {
  const plain = (over: Partial<PlainFacts>, policies: Authorization[] = []) =>
    decideInboundPlain(index, new L4Authorizer(policies), plainFacts(over))
  const strict = policy('DENY', [rule([{ notPrincipals: texts('*') }])])
  const any = policy('ALLOW', [rule([{ principals: texts('*') }])])
  const rows: [what: string, over: Partial<PlainFacts>, policies: Authorization[], target: string, error: RegExp][] = [
    ['where it was sent', {}, [], '10.0.0.2 8080', /^$/],
    ['a port of the tunnel', { destination: { ip: '10.0.0.2', port: 15006 } }, [], '', /^attempted recursive call to ourselves$/],
    ['workload not known', { local: null }, [], '', /^failed to fetch information about local workload: app\.ns \(app\)$/],
    ['STRICT', {}, [strict], '10.0.0.2 8080', /explicitly denied by: ns\/deny$/],
    ['a principal is asked for', {}, [any], '10.0.0.2 8080', /allow policies exist, but none allowed$/],
    ['an address is asked for', {}, [policy('ALLOW', [rule([{ destinationPorts: [8080] }])])], '10.0.0.2 8080', /^$/],
  ]
  for (const [what, over, policies, target, error] of rows) {
    const d = plain(over, policies)
    t.equal(text(d.target), target, what)
    t.match(d.error, error, what)
    t.equal(d.verdict, d.error === '' ? 'connect' : 'refuse', what)
  }
  t.equal(plain({}).bindIp, '10.0.0.1')
  t.equal(plain({ keepSource: false }).bindIp, null)
  t.equal(plain({ source: { ip: '10.0.0.2', port: 1 } }).bindIp, null)
  t.same([plain({}).service?.hostname, plain({}).source?.name], ['app.mesh', 'client'])
})

t.test('authorities', async (t) => {
  const address = (ip: string, port: number) => ({ kind: 'address', ip, port })
  const name = (hostname: string, port: number) => ({ kind: 'hostname', hostname, port })
  const rows: [text: string, authority: unknown][] = [
    ['10.0.0.1:80', address('10.0.0.1', 80)],
    ['10.0.0.1:65535', address('10.0.0.1', 65_535)],
    ['[::1]:80', address('::1', 80)],
    ['[2001:DB8:0:0::1]:80', address('2001:db8::1', 80)],
    ['a.b:80', name('a.b', 80)],
    ['A-1.b_c:80', name('a-1.b_c', 80)],
    ['*.a:80', name('*.a', 80)],
    ['[::ffff:10.0.0.1]:80', null],
    ['::1:80', null],
    ['[10.0.0.1]:80', null],
    ['[::1]', null],
    ['[::1%eth0]:80', null],
    ['10.0.0.1:0', null],
    ['10.0.0.1:65536', null],
    ['10.0.0.1:080000', null],
    ['10.0.0.1:', null],
    ['10.0.0.1:8o', null],
    ['10.0.0.256:80', null],
    ['10.0.0:80', null],
    [':80', null],
    ['u@a:80', null],
    ['a b:80', null],
    ['a/b:80', null],
    ['http://a:80', null],
    ['a:80\n', null],
  ]
  for (const [input, expected] of rows) t.same(parseAuthority(input), expected, JSON.stringify(input))
  fc.assert(fc.property(fc.string(), (s) => parseAuthority(s) === null || /:\d{1,5}$/.test(s)))
})

t.test('whatever is asked for, nobody but the workload is dialled', async () => {
  const host = fc.constantFrom(
    '10.0.0.2',
    '10.0.0.3',
    '10.0.0.6',
    '127.0.0.1',
    '[::1]',
    '169.254.169.254',
    'app.mesh',
    'sandwich.mesh',
    'localhost',
  )
  const port = fc.oneof(fc.constantFrom(80, 15_000, 15_001, 15_006, 15_008), fc.integer({ min: 1, max: 65_535 }))
  const local = fc.constantFrom(app, sandwich, bare, waypoint)
  fc.assert(
    fc.property(host, port, local, fc.boolean(), (h, p, w, localTunnel) => {
      const own = w.addresses[0]!
      const { target, verdict } = ask(facts(`${h}:${p}`, { ...at(w), localTunnel }))
      if (verdict === 'refuse') return true
      const onLoopback = w === sandwich && localTunnel
      const ip = onLoopback ? '127.0.0.1' : own
      return target?.ip === ip && ![15_001, 15_006, 15_008].includes(target.port) && (!onLoopback || target.port === 15_088)
    }),
    { numRuns: 500 },
  )
})

t.test('sentences', async (t) => {
  const told = (f: HboneFacts, policies: Authorization[] = []) => explainInbound(ask(f, policies)).map((s) => s.text)
  t.same(told(facts('10.0.0.2:8080')), [
    'the tunnel is for 10.0.0.2:8080: that is where it came to',
    'to workload ns/app, 10.0.0.2:8080, a port of service ns/app.mesh',
    'no policy is there for the workload: allowed',
    "dials 10.0.0.2:8080 from the client's address 10.0.0.1",
  ])
  t.same(told(facts('10.0.0.2:8080'), [policy('DENY', [rule()])]).slice(2), [
    'DENY policy ns/deny fits',
    'refused: connection closed due to policy rejection: explicitly denied by: ns/deny',
  ])
  const near = policy('ALLOW', [rule([{ principals: texts('cluster.local/ns/ns/sa/web'), destinationPorts: [80, 81] }])], {
    name: 'web',
  })
  t.same(told(facts('10.0.0.2:8080'), [near, policy('ALLOW', [])]).slice(2, -1), [
    'none of 2 ALLOW policies fits',
    'the nearest is policy ns/web',
    'principals: seen "cluster.local/ns/ns/sa/client", wanted exact "cluster.local/ns/ns/sa/web"; destinationPorts: seen 8080, wanted 80 or 81',
  ])
  t.same(told(facts('10.0.0.2:8080'), [policy('DENY', [rule()], { dryRun: true })]).slice(2, -1), [
    'DENY policy ns/deny fits; it is on trial and decides nothing',
    'the policies on trial would refuse this connection',
    'no policy is there for the workload: allowed',
  ])
  t.match(told(facts('192.0.2.1:80', at(sandwich))).at(-1), 'dials 127.0.0.1:15088, with a PROXY protocol header')
  t.same(told(facts('x')), ['refused: no valid authority pseudo header: x'])
  const [first] = explainInbound(ask(facts('10.0.0.2:8080'), [policy('DENY', [rule()])])).filter((s) => s.text.startsWith('DENY'))
  t.equal(first?.origin.kind, 'default', 'rules of a test have no place')
})

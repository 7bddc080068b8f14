// What the application dials: which listeners stand for which addresses, their filter chains, and who wins where services want the same.
import t from 'tap'
import type { LoadResult } from '../../../lib/resources/load.ts'
import { chainTexts, listenerOf } from './chain-text.ts'
import { clusterOf, loadText, statusOf, type View } from './kit.ts'

const CAPTURED: View = { listeners: [], capture: { mode: 'redirect' }, address: '10.0.0.7' }

const load = (t: Parameters<typeof loadText>[0], text: string, view: View = {}): LoadResult =>
  loadText(t, text, { ...CAPTURED, ...view })

const service = (name: string, ip: string, ports: string, created = '') =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: default${created === '' ? '' : `, creationTimestamp: "${created}"`}}\nspec: {clusterIP: ${ip}, selector: {app: ${name}}, ports: ${ports}}\n`

const slice = (name: string, port: string, ...ips: string[]) =>
  `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}, namespace: default, labels: {kubernetes.io/service-name: ${name}}}\naddressType: IPv4\nports: [${port}]\nendpoints: [${ips.map((ip) => `{addresses: [${ip}]}`).join(', ')}]\n`

const entry = (name: string, spec: string) =>
  `---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: ${name}, namespace: default}\nspec: ${spec}\n`

const rules = (name: string, spec: string) =>
  `---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ${name}, namespace: default}\nspec: ${spec}\n`

/** Listeners that stand for addresses, as lines. */
function standing({ snapshot }: LoadResult): Record<string, string[]> {
  return Object.fromEntries(
    snapshot.listeners.filter((l) => !l.bind && l.direction === 'outbound').map((l) => [l.name, chainTexts(l)]),
  )
}

const HTTP = 'raw_buffer http/1.1,h2c'
const PASS = 'default → tcp PassthroughCluster'
const to = (port: number, name: string) => `outbound|${port}||${name}.default.svc.cluster.local`

t.test('one listener captures, and hands over', async (t) => {
  const allowed = load(t, '')
  t.match(listenerOf(allowed, 'virtualOutbound'), {
    direction: 'outbound',
    address: '0.0.0.0',
    port: 15001,
    bind: true,
    capture: 'redirect',
    handOver: true,
  })
  t.same(chainTexts(listenerOf(allowed, 'virtualOutbound')), ['15001 → refused', 'any → tcp PassthroughCluster'])
  const registryOnly = load(t, service('a', '10.96.0.1', '[{name: http, port: 80}]'), { outboundTrafficPolicy: 'REGISTRY_ONLY' })
  t.same(chainTexts(listenerOf(registryOnly, 'virtualOutbound')), ['15001 → refused', 'any → tcp BlackHoleCluster'])
  t.same(standing(registryOnly), { '0.0.0.0_80': [`${HTTP} → http 80`, 'default → tcp BlackHoleCluster'] })
})

t.test('what each kind of port gets', async (t) => {
  const rows: [what: string, text: string, expected: Record<string, string[]>][] = [
    [
      'HTTP shares the listener of its port',
      service('a', '10.96.0.1', '[{name: http, port: 80}]') + service('b', '10.96.0.2', '[{name: grpc, port: 80}]'),
      { '0.0.0.0_80': [`${HTTP} → http 80`, PASS] },
    ],
    [
      'TCP has its own address',
      service('a', '10.96.0.1', '[{name: tcp, port: 5432}]'),
      { '10.96.0.1_5432': [`any → tcp ${to(5432, 'a')}`] },
    ],
    [
      'HTTPS, without rules',
      service('a', '10.96.0.1', '[{name: https, port: 443}]'),
      { '10.96.0.1_443': [`any → tcp ${to(443, 'a')}`] },
    ],
    [
      'nothing declared: sniffed, with routes of its own',
      service('a', '10.96.0.1', '[{port: 80}]'),
      { '10.96.0.1_80': [`${HTTP} → http a.default.svc.cluster.local:80`, `default → tcp ${to(80, 'a')}`] },
    ],
    [
      'two families',
      '---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: default}\nspec: {clusterIPs: [10.96.0.1, "FD00:0::1"], ports: [{name: tcp, port: 9}]}\n',
      { '10.96.0.1_9': [`any → tcp ${to(9, 'a')}`], 'fd00::1_9': [`any → tcp ${to(9, 'a')}`] },
    ],
    [
      'headless: a listener for each endpoint, but not for our own',
      service('a', 'None', '[{name: tcp, port: 9}]') + slice('a', '{name: tcp, port: 9}', '10.0.0.5', '10.0.0.6', '10.0.0.7'),
      { '10.0.0.5_9': [`any → tcp ${to(9, 'a')}`], '10.0.0.6_9': [`any → tcp ${to(9, 'a')}`] },
    ],
    ['headless without endpoints', service('a', 'None', '[{name: tcp, port: 9}]'), {}],
    [
      'headless HTTP',
      service('a', 'None', '[{name: http, port: 80}]') + slice('a', '{name: http, port: 80}', '10.0.0.5'),
      { '0.0.0.0_80': [`${HTTP} → http 80`, PASS] },
    ],
    [
      'an external TCP service without an address takes its port',
      entry('e', '{hosts: [db.example], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS}'),
      { '0.0.0.0_5432': ['any → tcp outbound|5432||db.example'] },
    ],
    [
      'TLS without an address is told apart by its name',
      entry('e', '{hosts: [a.example], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}') +
        entry('f', '{hosts: [b.example, "*.c.example"], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE}'),
      {
        '0.0.0.0_443': [
          '*.c.example → tcp outbound|443||*.c.example',
          'a.example → tcp outbound|443||a.example',
          'b.example → tcp outbound|443||b.example',
          PASS,
        ],
      },
    ],
    [
      'ranges are conditions on the listener of all addresses',
      entry(
        'e',
        '{hosts: [a.example], addresses: [10.1.0.0/16, 10.2.0.1], ports: [{number: 9, name: tcp, protocol: TCP}], resolution: NONE}',
      ),
      { '10.2.0.1_9': ['any → tcp outbound|9||a.example'], '0.0.0.0_9': ['10.1.0.0/16 → tcp outbound|9||a.example', PASS] },
    ],
  ]
  for (const [what, text, expected] of rows) t.same(standing(load(t, text)), expected, what)
})

t.test('services that want the same address and port', async (t) => {
  const http = service('web', '10.96.0.1', '[{name: http, port: 80}]')
  const tcp = entry('raw', '{hosts: [raw.example], ports: [{number: 80, name: tcp, protocol: TCP}], resolution: DNS}')
  const merged = { '0.0.0.0_80': [`${HTTP} → http 80`, 'default → tcp outbound|80||raw.example'] }
  t.same(standing(load(t, http + tcp)), merged, 'HTTP and bytes are told apart by the first bytes')
  t.same(standing(load(t, tcp + http)), merged, 'whatever the order')

  const two = load(
    t,
    service('old', '10.96.0.1', '[{name: tcp, port: 9}]', '2026-01-01T00:00:00Z') +
      service('aaa', '10.96.0.1', '[{name: tcp, port: 9}]', '2026-01-02T00:00:00Z'),
  )
  t.same(standing(two), { '10.96.0.1_9': [`any → tcp ${to(9, 'old')}`] }, 'of two that cannot be told apart the older')
  t.match(statusOf(two, 'aaa'), {
    state: 'partly',
    reason: /ports: captured connections to 10\.96\.0\.1, port 9 go to Service default\/old, which is older/,
  })
  t.equal(statusOf(two, 'old').state, 'in-force')

  const mail = load(
    t,
    service('mail', '10.96.0.1', '[{name: tcp, port: 25}]', '2026-01-01T00:00:00Z') +
      service('other', '10.96.0.1', '[{name: https, port: 25}]', '2026-01-02T00:00:00Z'),
  )
  t.same(standing(mail), { '10.96.0.1_25': [`any → tcp ${to(25, 'mail')}`] })
  t.equal(statusOf(mail, 'other').state, 'partly')
})

t.test('rules of VirtualServices for bytes', async (t) => {
  const tcp = service('a', '10.96.0.1', '[{name: tcp, port: 9}]') + service('b', '10.96.0.2', '[{name: tcp, port: 9}]')
  const rows: [what: string, spec: string, expected: string[]][] = [
    [
      'weights',
      '{hosts: [a], tcp: [{route: [{destination: {host: a}, weight: 90}, {destination: {host: b}, weight: 10}]}]}',
      [`any → tcp 90 of ${to(9, 'a')} + 10 of ${to(9, 'b')}`],
    ],
    ['another port', '{hosts: [a], tcp: [{match: [{port: 8}], route: [{destination: {host: b}}]}]}', [`any → tcp ${to(9, 'a')}`]],
    [
      'other labels, and its own',
      '{hosts: [a], tcp: [{match: [{sourceLabels: {app: x}}], route: [{destination: {host: b, port: {number: 1}}}]}, {match: [{sourceLabels: {app: web}}], route: [{destination: {host: b}}]}]}',
      [`any → tcp ${to(9, 'b')}`],
    ],
    [
      'a gateway',
      '{hosts: [a], gateways: [mesh, g], tcp: [{match: [{gateways: [g]}], route: [{destination: {host: b}}]}]}',
      [`any → tcp ${to(9, 'a')}`],
    ],
    [
      'addresses, before the service itself',
      '{hosts: [a], tcp: [{match: [{destinationSubnets: [10.0.0.0/8]}, {destinationSubnets: [10.96.0.0/16]}], route: [{destination: {host: b}}]}]}',
      [`10.0.0.0/8,10.96.0.0/16 → tcp ${to(9, 'b')}`, `default → tcp ${to(9, 'a')}`],
    ],
  ]
  for (const [what, spec, expected] of rows) t.same(standing(load(t, tcp + rules('r', spec)))['10.96.0.1_9'], expected, what)
})

t.test('rules by server name', async (t) => {
  const tls =
    service('a', '10.96.0.1', '[{name: tls, port: 443}, {name: tls-b, port: 8443}]') +
    service('b', '10.96.0.2', '[{name: tls, port: 443}]')
  const spec =
    '{hosts: [a, a.example, "*.example.com", c.example], tls: [{match: [{sniHosts: [a.example, "*.example.com"]}], route: [{destination: {host: b}}]}, {match: [{sniHosts: [a.example, "*.example.com"]}, {sniHosts: [c.example], port: 443}], route: [{destination: {host: a}}]}]}'
  const result = load(t, tls + rules('r', spec))
  t.same(standing(result), {
    '10.96.0.1_443': [`a.example,*.example.com → tcp ${to(443, 'b')}`, `c.example → tcp ${to(443, 'a')}`, PASS],
    '10.96.0.1_8443': [`a.example,*.example.com → tcp ${to(8443, 'b')}`, PASS],
    '10.96.0.2_443': [`any → tcp ${to(443, 'b')}`],
  })
  const uncaptured = loadText(t, tls + rules('r', spec))
  t.match(statusOf(uncaptured, 'r'), { state: 'partly', reason: /tls\[0\]: has no effect: nothing is captured/ })
})

t.test('routes of a sniffed port are those of its service, whatever it is called by', async (t) => {
  const { snapshot } = load(
    t,
    service('a', '10.96.0.1', '[{port: 80}]') +
      service('b', '10.96.0.2', '[{name: http, port: 80}]') +
      rules('r', '{hosts: [a], http: [{name: mine, route: [{destination: {host: b}}]}]}'),
  )
  const table = snapshot.routeTables.find((r) => r.name === 'a.default.svc.cluster.local:80')
  t.match(table, { port: 80, virtualHosts: [{ domains: ['*'], routes: [{ name: 'mine' }] }] })
  t.equal(table?.virtualHosts.length, 1)
})

t.test('clients of headless services dial, and are led there', async (t) => {
  const text = service('a', 'None', '[{name: http, port: 80}]') + slice('a', '{name: http, port: 80}', '10.0.0.5')
  t.equal(clusterOf(load(t, text), to(80, 'a')).type, 'ORIGINAL_DST')
  t.equal(clusterOf(loadText(t, text), to(80, 'a')).type, 'STATIC')
})

t.test('hosts that nobody declared are passed on to where they were dialled', async (t) => {
  const { snapshot } = load(t, service('a', '10.96.0.1', '[{name: http, port: 80}]'))
  t.equal(snapshot.routeTables.find((r) => r.name === '80')?.virtualHosts.at(-1)?.name, 'allow_any')
})

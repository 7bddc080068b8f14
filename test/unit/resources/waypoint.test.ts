// What a waypoint serves, which filter chains that makes, where they lead, and how endpoints are reached.
import t from 'tap'
import type { LoadResult } from '../../../lib/resources/load.ts'
import { chainTexts, listenerOf } from './chain-text.ts'
import { clusterOf, loadText, statusOf, type View } from './kit.ts'

type Teardown = Parameters<typeof loadText>[0]

const WAYPOINT: View = { listeners: [], waypoint: {}, namespace: 'shop', identity: 'files', retries: 'guarded' }
const USES = 'labels: {istio.io/use-waypoint: waypoint}'

interface ServiceText {
  readonly name?: string
  readonly namespace?: string
  readonly metadata?: string
  readonly ip?: string
  readonly ports?: string
}

const service = ({
  name = 'web',
  namespace = 'shop',
  metadata = USES,
  ip = '10.96.0.1',
  ports = '[{name: http, port: 80}]',
}: ServiceText = {}) =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: ${namespace}, ${metadata}}\nspec: {clusterIP: ${ip}, selector: {app: ${name}}, ports: ${ports}}\n`

const slice = (address: string, name = 'web', port = 80) =>
  `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}-1, namespace: shop, labels: {kubernetes.io/service-name: ${name}}}\naddressType: IPv4\nports: [{name: http, port: ${port}}]\nendpoints: [{addresses: [${address}]}]\n`

const pod = (ip: string, metadata = 'labels: {app: web}', spec = '{serviceAccountName: web}', name = 'web-1') =>
  `---\napiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop, ${metadata}}\nspec: ${spec}\nstatus: {podIP: ${ip}}\n`

const namespace = (name: string, labels: string) =>
  `---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}, labels: ${labels}}\n`

const rules = (spec: string, name = 'rules', where = 'shop') =>
  `---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ${name}, namespace: ${where}}\nspec: ${spec}\n`

const load = (t: Teardown, text: string, view: View = {}): LoadResult => loadText(t, text, { ...WAYPOINT, ...view })
const inside = (result: LoadResult): string[] => chainTexts(listenerOf(result, 'main_internal'))

t.test('HBONE: mutual TLS 1.3, h2, and what comes out of it', async (t) => {
  const result = load(t, service(), { waypoint: { port: 15009, address: '::' } })
  const { address, port, bind, filterChains } = listenerOf(result, 'connect_terminate')
  t.same([address, port, bind], ['::', 15009, true])
  const { tls, network } = filterChains[0]!
  t.match(tls, { requireClientCertificate: true, trust: 'ROOTCA', alpn: ['h2'], minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' })
  t.match(network, { kind: 'tunnel', to: 'main_internal' })
  t.equal(listenerOf(result, 'main_internal').bind, false)
  t.same(
    network.kind === 'tunnel' && network.names,
    [{ host: 'web.shop.svc.cluster.local', from: 80, address: '10.96.0.1', port: 80 }],
    'an authority may be a name',
  )
})

/** xds.md says which chain istiod makes of which declaration. */
const WEB = 'web.shop.svc.cluster.local'
const OUT = `outbound|80||${WEB}`
const PROTOCOLS: readonly [name: string, chains: readonly string[]][] = [
  ['http', [`80 10.96.0.1/32 → http inbound-vip|80|http|${WEB}`]],
  ['grpc', [`80 10.96.0.1/32 → http inbound-vip|80|http|${WEB}`]],
  ['tcp', [`80 10.96.0.1/32 → tcp ${OUT}`]],
  ['tls', [`80 10.96.0.1/32 → tcp ${OUT}`]],
  [
    '',
    [
      `80 10.96.0.1/32 raw_buffer http/1.0,http/1.1,h2c → http inbound-vip|80|http|${WEB}`,
      `80 10.96.0.1/32 raw_buffer → tcp ${OUT}`,
      `80 10.96.0.1/32 → tcp ${OUT}`,
    ],
  ],
]

t.test('a port becomes chains by what is declared', async (t) => {
  for (const [protocol, chains] of PROTOCOLS) {
    const name = protocol === '' ? '' : `name: ${protocol}, `
    t.same(inside(load(t, service({ ports: `[{${name}port: 80}]` }))), chains, protocol)
  }
})

const WHO: readonly [what: string, text: string, view: View, hosts: readonly string[]][] = [
  ['a service that names it', service(), {}, ['10.96.0.1']],
  ['one that names nobody', service({ metadata: 'labels: {}' }), {}, []],
  ['one that names another', service({ metadata: 'labels: {istio.io/use-waypoint: other}' }), {}, []],
  [
    'its namespace names it',
    service({ metadata: 'labels: {}' }) + namespace('shop', '{istio.io/use-waypoint: waypoint}'),
    {},
    ['10.96.0.1'],
  ],
  [
    'its namespace names it, it names none',
    service({ metadata: 'labels: {istio.io/use-waypoint: none}' }) + namespace('shop', '{istio.io/use-waypoint: waypoint}'),
    {},
    [],
  ],
  ['a service elsewhere that names one of its own namespace', service({ namespace: 'other' }), {}, []],
  [
    'a service elsewhere that names it with its namespace',
    service({ namespace: 'other', metadata: 'labels: {istio.io/use-waypoint: waypoint, istio.io/use-waypoint-namespace: shop}' }),
    {},
    ['10.96.0.1'],
  ],
  ['all of the namespace', service({ metadata: 'labels: {}' }), { waypoint: { services: 'namespace' } }, ['10.96.0.1']],
  [
    'all of the namespace but what names none',
    service({ metadata: 'labels: {istio.io/use-waypoint: none}' }),
    { waypoint: { services: 'namespace' } },
    [],
  ],
  [
    'all of another namespace',
    service({ metadata: 'labels: {}', namespace: 'other' }),
    { waypoint: { services: 'namespace' } },
    [],
  ],
  ['another name', service({ metadata: 'labels: {istio.io/use-waypoint: w2}' }), { waypoint: { name: 'w2' } }, ['10.96.0.1']],
  ['only workloads', service(), { waypoint: { serves: 'workload' } }, []],
]

t.test('which services', async (t) => {
  for (const [what, text, view, ips] of WHO)
    t.same(
      inside(load(t, text, view)).map((c) => c.split(' ')[1]),
      ips.map((ip) => `${ip}/32`),
      what,
    )
})

t.test('a headless service is nowhere, and that is said', async (t) => {
  const result = load(t, service({ ip: 'None' }))
  t.same(inside(result), [])
  t.match(statusOf(result, 'web'), { state: 'partly', reason: /no address of its own/ })
})

t.test('IPv6, and several addresses', async (t) => {
  const text = service().replace('clusterIP: 10.96.0.1', 'clusterIPs: [10.96.0.1, "fd00::0:1"]')
  t.same(inside(load(t, text)), [`80 10.96.0.1/32,fd00::1/128 → http inbound-vip|80|http|${WEB}`])
})

const REVIEWS = '{host: reviews.shop.svc.cluster.local}'
const routesOf = (result: LoadResult): string[] =>
  (result.snapshot.routeTables.find((r) => r.name === `inbound-vip|80|http|${WEB}`)?.virtualHosts ?? []).flatMap((v) => [
    `${v.name} ${v.domains.join()}`,
    ...v.routes.map((r) => `${r.name} ${r.origin.namespace}/${r.origin.name}`),
  ])

t.test('routes are those of the service, for whatever name it is asked by', async (t) => {
  const both = service() + service({ name: 'reviews', ip: '10.96.0.2' })
  t.same(routesOf(load(t, both)), [`${WEB}:80 *`, 'default shop/web'])
  const named = (source = '') =>
    `{hosts: [web], http: [{name: a, match: [{uri: {prefix: /a}${source}}], route: [{destination: ${REVIEWS}}]}, {name: b, route: [{destination: {host: web}}]}]}`
  t.same(routesOf(load(t, both + rules(named()))), [`${WEB}:80 *`, 'a shop/rules', 'b shop/rules'])
  for (const source of [', sourceLabels: {app: x}', ', sourceNamespace: shop']) {
    const result = load(t, both + rules(named(source)), { labels: { app: 'x' } })
    t.same(routesOf(result), [`${WEB}:80 *`, 'b shop/rules'], `not for some clients:${source}`)
    t.match(statusOf(result, 'rules'), { state: 'partly', reason: /never fits: a waypoint does not know/ })
  }
})

t.test('rules of whom', async (t) => {
  const away = {
    namespace: 'other',
    metadata: 'labels: {istio.io/use-waypoint: waypoint, istio.io/use-waypoint-namespace: shop}',
  }
  const spec =
    '{hosts: [web.other.svc.cluster.local], http: [{name: a, route: [{destination: {host: web.other.svc.cluster.local}}]}]}'
  const names = (result: LoadResult): string[] =>
    result.snapshot.routeTables
      .flatMap((r) => (r.name.startsWith('inbound-vip') ? r.virtualHosts : []))
      .flatMap((v) => v.routes.map((r) => r.name))
  t.same(names(load(t, service(away) + rules(spec, 'rules', 'other'))), ['a'], "of the service's namespace")
  t.same(names(load(t, service(away) + rules(spec, 'rules', 'shop'))), ['a'], "of the waypoint's")
  const third = load(t, service(away) + rules(spec, 'rules', 'third'))
  t.same(names(third), ['default'])
  t.match(statusOf(third, 'rules'), { state: 'waiting', reason: /a client of its own/ })
  const nobody = load(t, service() + rules('{hosts: [nobody], http: [{route: [{destination: {host: web}}]}]}'))
  t.match(statusOf(nobody, 'rules'), { state: 'waiting', reason: /serves none of nobody/ })
})

t.test('clusters: of its services, and of what their rules name', async (t) => {
  const text =
    service() +
    service({ name: 'reviews', ip: '10.96.0.2', metadata: 'labels: {}' }) +
    service({ name: 'far', ip: '10.96.0.3', metadata: 'labels: {}' })
  const names = (result: LoadResult): string[] =>
    result.snapshot.clusters.map((c) => c.name).filter((n) => n.startsWith('outbound'))
  t.same(names(load(t, text)), [OUT])
  const routed = rules(`{hosts: [web], http: [{route: [{destination: ${REVIEWS}}]}]}`)
  t.same(names(load(t, text + routed)), ['outbound|80||reviews.shop.svc.cluster.local', OUT])
})

const AMBIENT = namespace('shop', '{istio.io/dataplane-mode: ambient}')
const WEB_ID = 'spiffe://cluster.local/ns/shop/sa/web'
const TUNNELS: readonly [what: string, text: string, identity: string | null][] = [
  ['nothing known', slice('10.0.0.1'), null],
  ['a pod of nobody', slice('10.0.0.1') + pod('10.0.0.1'), null],
  ['its namespace is ambient', slice('10.0.0.1') + pod('10.0.0.1') + AMBIENT, WEB_ID],
  ['no pod of it is known', slice('10.0.0.1') + AMBIENT, null],
  ['the pod stays out', slice('10.0.0.1') + pod('10.0.0.1', 'labels: {istio.io/dataplane-mode: none}') + AMBIENT, null],
  ['the pod alone', slice('10.0.0.1') + pod('10.0.0.1', 'labels: {istio.io/dataplane-mode: ambient}'), WEB_ID],
  ['redirected', slice('10.0.0.1') + pod('10.0.0.1', 'annotations: {ambient.istio.io/redirection: enabled}'), WEB_ID],
  [
    'of the default account',
    slice('10.0.0.1') + pod('10.0.0.1', 'labels: {}', '{}') + AMBIENT,
    'spiffe://cluster.local/ns/shop/sa/default',
  ],
  ['a sidecar', slice('10.0.0.1') + pod('10.0.0.1', 'labels: {security.istio.io/tlsMode: istio}') + AMBIENT, null],
  [
    'a sidecar that takes tunnels',
    slice('10.0.0.1') + pod('10.0.0.1', 'labels: {security.istio.io/tlsMode: istio, networking.istio.io/tunnel: http}'),
    WEB_ID,
  ],
]

t.test('which endpoints are reached through tunnels, and who must be there', async (t) => {
  for (const [what, text, identity] of TUNNELS) {
    const endpoint = clusterOf(load(t, service() + text), OUT).endpoints[0]!
    const tunnel =
      identity === null
        ? null
        : {
            address: '10.0.0.1',
            port: 15008,
            identities: [identity],
            authority: '',
            fields: 'baggage: k8s.namespace.name=shop,k8s.pod.name=web,service.name=web,service.version=latest\r\n',
            innerFields: null,
          }
    t.same(endpoint.tunnel, tunnel, what)
    t.notOk(endpoint.tls, `${what}: what is encrypted goes through tunnels`)
  }
  const plain = clusterOf(load(t, service() + slice('10.0.0.1') + pod('10.0.0.1') + AMBIENT, { identity: 'none' }), OUT)
  t.equal(plain.endpoints[0]!.tunnel, null, 'without an identity there are none')
  const sidecar = { ...WAYPOINT, listeners: [{ destination: '192.0.2.1:80' }], waypoint: undefined as never }
  const both = slice('10.0.0.1') + pod('10.0.0.1', 'labels: {security.istio.io/tlsMode: istio, networking.istio.io/tunnel: http}')
  const { waypoint: _, ...asSidecar } = sidecar
  t.same(
    [clusterOf(loadText(t, service() + both, asSidecar), OUT).endpoints[0]!].map((e) => [e.tls, e.tunnel]),
    [[true, null]],
    'a sidecar speaks mutual TLS to what takes both',
  )
})

t.test('pods that are dialled themselves', async (t) => {
  const users = pod('10.0.0.1', `${USES.replace('}', ', app: web}')}`) + pod('10.0.0.2', USES, '{}', 'gone') + AMBIENT
  const gateway = pod(
    '10.0.0.3',
    'labels: {istio.io/use-waypoint: waypoint, gateway.networking.k8s.io/gateway-name: waypoint}',
    '{}',
    'self',
  )
  const result = load(t, service() + users + gateway, { waypoint: { serves: 'all' } })
  const both = '10.0.0.2/32,10.0.0.1/32'.split(',').sort().join()
  t.same(
    inside(result).map((c) => c.replace(/10\.0\.0\.[0-9/,.]+/, (m) => m.split(',').sort().join())),
    [
      `80 10.96.0.1/32 → http inbound-vip|80|http|${WEB}`,
      `${both} raw_buffer http/1.0,http/1.1,h2c → http encap`,
      `${both} raw_buffer → tcp encap`,
      `${both} → tcp encap`,
      `80 ${both} raw_buffer http/1.0,http/1.1,h2c → http encap`,
      `80 ${both} raw_buffer → tcp encap`,
      `80 ${both} → tcp encap`,
    ],
    'on ports of services, too',
  )
  const cluster = clusterOf(result, 'encap')
  t.equal(cluster.type, 'ORIGINAL_DST')
  t.same(cluster.endpoints.map((e) => [e.address, e.port, e.tunnel?.identities[0]]).toSorted(), [
    ['10.0.0.1', 0, WEB_ID],
    ['10.0.0.2', 0, 'spiffe://cluster.local/ns/shop/sa/default'],
  ])
  t.same(inside(load(t, users, {})), [], 'not where services alone are served')
})

t.test('who the client is, where the service wants to be told', async (t) => {
  const told = (metadata: string) => {
    const { network } = listenerOf(load(t, service({ metadata })), 'main_internal').filterChains[0]!
    return network.kind === 'http' ? network.clientCertificate : ''
  }
  t.equal(told(USES), 'sanitize')
  t.equal(told(`${USES}, annotations: {ambient.istio.io/xfcc-include-client-identity: "true"}`), 'identities')
})

t.test('TLS by server name', async (t) => {
  const tls = rules(
    '{hosts: [web, a.example], tls: [{match: [{port: 443, sniHosts: [a.example]}], route: [{destination: {host: web}}]}]}',
  )
  const result = load(t, service({ ports: '[{name: tls, port: 443}]' }) + tls)
  t.same(inside(result), [`443 10.96.0.1/32 a.example → tcp outbound|443||${WEB}`])
  t.equal(statusOf(result, 'rules').state, 'in-force')
})

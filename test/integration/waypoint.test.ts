// A waypoint between tunnels that are not ours: Node's HTTP/2 as the client's proxy, and as the proxies of the endpoints.
import net, { type AddressInfo } from 'node:net'
import t from 'tap'
import { type Echo, EchoUpstream } from '../support/echo-upstream.ts'
import { eventually, within } from '../support/eventually.ts'
import { HboneClient, type HboneIdentity, HboneServer } from '../support/hbone-peer.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { type Issued, SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { startWaypoint } from '../support/waypoint.ts'

const id = (name: string, trustDomain = 'cluster.local') => `spiffe://${trustDomain}/ns/shop/sa/${name}`
const ca = await SigningCa.root(t, 'mesh')
const names = ['client', 'waypoint', 'reviews', 'other'] as const
const issued = await Promise.all(names.map((name) => ca.issue({ uris: [id(name)] })))
const stranger = await ca.issue({ uris: [id('client', 'elsewhere')] })
const identity = (name: (typeof names)[number]): HboneIdentity => ({
  issued: issued[names.indexOf(name)] as Issued,
  roots: [ca.rootPem],
})

// Nobody else in these tests has the address.
const POD_1 = '127.77.1.1'
const POD_2 = '127.77.1.2'
/** Somebody else is there. */
const POD_3 = '127.77.1.3'
const VIP = '10.96.7.7'

function pod(name: string, ip: string, version: string): string {
  return `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: reviews, version: ${version}, istio.io/use-waypoint: waypoint, istio.io/dataplane-mode: ambient } }
spec: { serviceAccountName: reviews }
status: { podIP: ${ip} }
`
}

const RESOURCES = `
apiVersion: v1
kind: Service
metadata:
  name: reviews
  namespace: shop
  labels: { istio.io/use-waypoint: waypoint }
  annotations: { ambient.istio.io/xfcc-include-client-identity: "true" }
spec:
  clusterIP: ${VIP}
  selector: { app: reviews }
  ports: [ { name: http, port: 80, targetPort: 9080 }, { name: tcp, port: 5432 }, { name: any, port: 7000 } ]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: reviews-1, namespace: shop, labels: { kubernetes.io/service-name: reviews } }
addressType: IPv4
ports: [ { name: http, port: 9080 }, { name: tcp, port: 5432 }, { name: any, port: 7000 } ]
endpoints: [ { addresses: [ ${POD_1} ] }, { addresses: [ ${POD_2} ] }, { addresses: [ ${POD_3} ] } ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews, namespace: shop }
spec:
  host: reviews
  subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }, { name: v3, labels: { version: v3 } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: shop }
spec:
  hosts: [ reviews ]
  http:
    - match: [ { headers: { x-version: { exact: v2 } } } ]
      route: [ { destination: { host: reviews, subset: v2 } } ]
    - match: [ { headers: { x-version: { exact: v3 } } } ]
      route: [ { destination: { host: reviews, subset: v3 } } ]
    - route: [ { destination: { host: reviews, subset: v1 } } ]
  tcp: [ { route: [ { destination: { host: reviews, subset: v1 } } ] } ]
${pod('reviews-v1', POD_1, 'v1')}${pod('reviews-v2', POD_2, 'v2')}${pod('reviews-v3', POD_3, 'v3')}`

/** An application that says hello first, then everything back, and ends when its client does. */
async function greeter(t: Teardown): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.write('hello\n')
    socket.on('data', (d) => socket.write(d))
    socket.on('end', () => socket.end('bye\n'))
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

interface World {
  readonly waypoint: HeddleProcess
  readonly client: HboneClient
  readonly pods: readonly HboneServer[]
  readonly apps: readonly EchoUpstream[]
}

async function world(t: Teardown): Promise<World> {
  const apps = await Promise.all(['v1', 'v2', 'v3'].map((name) => EchoUpstream.start(t, { name })))
  const tcp = await greeter(t)
  const pods = await Promise.all(
    [POD_1, POD_2, POD_3].map((host, i) => {
      const ports: Readonly<Record<string, number>> = { 9080: apps[i]!.port, 5432: tcp, 7000: tcp, 8888: apps[i]!.port }
      const to = (authority: string) => ports[authority.split(':')[1] ?? ''] ?? { status: 503 }
      return HboneServer.start(t, { host, as: identity(i === 2 ? 'other' : 'reviews'), to })
    }),
  )
  const waypoint = await startWaypoint(t, identity('waypoint'), RESOURCES)
  const client = await HboneClient.connect(t, { port: waypoint.port('connect_terminate'), as: identity('client') })
  return { waypoint, client, pods, apps }
}

const shared = await world(t)

const get = (...more: readonly string[]) => ['GET /x HTTP/1.1', 'host: reviews', ...more]
const echoOf = (body: string): Echo => JSON.parse(body) as Echo
const header = (echo: Echo, name: string) => echo.headers.find(([n]) => n.toLowerCase() === name)?.[1]

t.test('layer 7 between two tunnels', async (t) => {
  const { waypoint, client, pods, apps } = shared
  t.equal(client.server, id('waypoint'))
  const tunnel = await client.open(`${VIP}:80`)
  t.equal(tunnel.status, 200)

  const first = await tunnel.request(get())
  t.equal(first.status, 200)
  t.equal(echoOf(first.body).upstream, 'v1')
  t.equal(header(echoOf(first.body), 'x-forwarded-client-cert'), `By=${id('waypoint')};URI=${id('client')}`)
  const second = await tunnel.request(get('x-version: v2', 'x-forwarded-client-cert: By=me;URI=somebody-else'))
  t.equal(echoOf(second.body).upstream, 'v2', 'each request is routed by itself')
  t.equal(
    header(echoOf(second.body), 'x-forwarded-client-cert'),
    `By=${id('waypoint')};URI=${id('client')}`,
    'whatever the client says',
  )
  const named = await client.open('reviews.shop.svc.cluster.local:80')
  t.equal((await named.request(get())).status, 200, 'by name')

  const [connect] = pods[0]!.seen
  t.equal(connect?.authority, `${POD_1}:9080`)
  t.equal(connect?.client, id('waypoint'), 'pods see the waypoint')
  t.equal(
    connect?.headers['baggage'],
    'k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.pod.name=waypoint-1,service.name=waypoint,service.version=latest',
  )
  t.equal(connect?.headers['forwarded'], undefined, 'a connection that several clients share says nothing of one of them')
  t.equal(apps[0]!.connectionsTotal, 1, 'and is shared')
  const line = await waypoint.logged({ response_code: 200, authority: 'reviews' })
  t.match(line['upstream_cluster'], /^outbound\|80\|v[12]\|reviews\.shop/)
  const counted = (await waypoint.metrics()).samples.filter((s) => s.name === 'istio_requests_total')
  t.ok(counted.length > 0)
  for (const { labels } of counted)
    t.match(labels, {
      reporter: 'waypoint',
      source_principal: id('client'),
      destination_service: 'reviews.shop.svc.cluster.local',
      connection_security_policy: 'mutual_tls',
    })
})

t.test('metrics say of the client what its tunnel says', async (t) => {
  const { client, waypoint } = shared
  const baggage =
    'k8s.cluster.name=west, k8s.namespace.name=elsewhere,k8s.deployment.name=front-v1,service.name=front,service.version=v1,x'
  const tunnel = await client.open(`${VIP}:80`, { baggage })
  await tunnel.request(['GET /told HTTP/1.1', 'host: reviews'])
  await waypoint.logged({ response_code: 200, path: '/told' })
  const told = (await waypoint.metrics()).samples.filter(
    (s) => s.name === 'istio_requests_total' && s.labels['source_workload'] === 'front-v1',
  )
  t.equal(told.length, 1)
  t.match(told[0]?.labels, {
    source_workload_namespace: 'shop',
    source_app: 'front',
    source_version: 'v1',
    source_canonical_service: 'front',
    source_canonical_revision: 'v1',
    source_cluster: 'west',
    destination_service: 'reviews.shop.svc.cluster.local',
  })
})

t.test('pods that are dialled themselves, on any port', async (t) => {
  const { client, pods } = shared
  const tunnel = await client.open(`${POD_2}:8888`)
  t.equal(echoOf((await tunnel.request(get())).body).upstream, 'v2', 'no rule of the service holds')
  t.ok(pods[1]!.seen.some((s) => s.authority === `${POD_2}:8888`))
})

t.test('bytes, either end first, each direction by itself', async (t) => {
  const { client, pods } = shared
  for (const port of [5432, 7000]) {
    const tunnel = await client.open(`${VIP}:${port}`)
    await tunnel.until(/^hello\n$/)
    tunnel.end('some bytes\n')
    await tunnel.until(/^hello\nsome bytes\nbye\n$/)
    await eventually('the end', () => tunnel.ended)
  }
  const seen = pods[0]!.seen.find((s) => s.authority === `${POD_1}:5432`)
  t.match(
    seen?.headers['forwarded'],
    /^for="127\.0\.0\.1:\d+";host=reviews\.shop\.svc\.cluster\.local$/,
    'whose connection it is',
  )
  t.match(seen?.headers['traceparent'], /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/)
})

/** interception-and-hbone.md says which status means what; Envoy's where it differs. */
const ANSWERS: readonly [what: string, authority: string, status: number][] = [
  ['an address that nothing is known of', '10.96.7.8:80', 503],
  ['a port that the service has not', `${VIP}:81`, 503],
  ['a name that nobody has', 'nobody.shop.svc.cluster.local:80', 503],
  ['a port that the name has not', 'reviews.shop.svc.cluster.local:81', 503],
  ['no port', VIP, 400],
  ['port 0', `${VIP}:0`, 400],
  ['a port beyond', `${VIP}:65536`, 400],
  ['no address', '10.96.7:80', 400],
  ['an IPv6 address without brackets', 'fd00::1:80', 400],
  ['an IPv4 address in brackets', '[10.96.7.7]:80', 400],
  ['IPv6', '[fd00::1]:80', 503],
]

t.test('what is not carried is refused with a status', async (t) => {
  const { client, waypoint } = shared
  for (const [what, authority, status] of ANSWERS) t.equal((await client.open(authority)).status, status, what)
  const other = client.session.request({ ':method': 'GET', ':path': '/', ':authority': 'x', ':scheme': 'https' })
  const answer = await new Promise<number>((resolve) => other.on('response', (h) => resolve(Number(h[':status']))))
  t.equal(answer, 404, 'only CONNECT')
  await waypoint.said(/a tunnel is refused with 400/)
  t.equal((await (await client.open(`${VIP}:80`)).request(get())).status, 200, 'the connection is as good as before')
})

t.test('who has no certificate of the mesh does not come in', async (t) => {
  const { waypoint } = shared
  const port = waypoint.port('connect_terminate')
  for (const [what, as] of [
    ['no certificate', null],
    ['of another trust domain', { issued: stranger, roots: [ca.rootPem] }],
  ] as const) {
    const client = await HboneClient.connect(t, { port, as, roots: [ca.rootPem] })
    await client.open(`${VIP}:80`).catch(() => {})
    await eventually('the end of the connection', () => client.session.destroyed || client.socket.destroyed)
    t.pass(what)
  }
  await waypoint.said(/elsewhere/)
})

t.test('an endpoint must be who its service account is', async (t) => {
  const { client, waypoint, pods } = shared
  const tunnel = await client.open(`${VIP}:80`)
  t.equal((await tunnel.request(get('x-version: v3'))).status, 503)
  t.equal(pods[2]!.seen.length, 0, 'nothing was asked of it')
  await waypoint.said(new RegExp(`${id('reviews')}[^]*${id('other')}|${id('other')}[^]*${id('reviews')}`))
  t.equal((await tunnel.request(get())).status, 200)
})

t.test('a drain: GOAWAY, tunnels end by themselves, and at the deadline', async (t) => {
  const { client, waypoint } = shared
  const [tunnel, idle] = await Promise.all([client.open(`${VIP}:5432`), client.open(`${VIP}:5432`)])
  await tunnel.until(/hello/)
  waypoint.signal('SIGTERM')
  await eventually('GOAWAY', () => client.goaway)
  tunnel.write('still there\n')
  await tunnel.until(/still there/)
  tunnel.end()
  await tunnel.until(/bye/)
  t.equal(idle.closed, null)
  t.match(await within('the end', waypoint.exited, 10_000), { code: 0 })
  t.ok(idle.closed !== null || client.session.destroyed, 'what is left is cut')
})

// Node tunnel, waypoint, node tunnel: an unmodified client and server, layer 7 between them, and nothing in plaintext but inside of the pods.
import t from 'tap'
import { canMakeNamespaces } from '../support/netns.ts'
import { curl, nodeMesh, type Pod, serve } from '../support/node-mesh.ts'
import { startProxy } from '../support/proxy.ts'

t.setTimeout(180_000)
const skip = canMakeNamespaces()

const VIP = '10.96.0.1'
const WAYPOINT_IP = '10.10.0.5'
const HOST = 'b.default.svc.cluster.local'

const echo = (name: string) => `require('http').createServer((q, s) => s.end(JSON.stringify({
  pod: '${name}', url: q.url, from: q.socket.remoteAddress.replace('::ffff:', ''), headers: q.headers }))).listen(8080, '::')`

const pod = (p: Pod, version: string) => `---
apiVersion: v1
kind: Pod
metadata: { name: ${p.name}, namespace: default, labels: { app: b, version: ${version}, networking.istio.io/tunnel: http } }
spec: { serviceAccountName: ${p.name} }
status: { podIP: ${p.ipv4} }
`

const world = (one: Pod, two: Pod) => `---
apiVersion: v1
kind: Service
metadata: { name: b, namespace: default, annotations: { ambient.istio.io/xfcc-include-client-identity: "true" } }
spec: { clusterIP: ${VIP}, selector: { app: b }, ports: [ { name: http, port: 80, targetPort: 8080 } ] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: b-1, namespace: default, labels: { kubernetes.io/service-name: b } }
addressType: IPv4
ports: [ { name: http, port: 8080 } ]
endpoints:
  - { addresses: [ ${one.ipv4} ], targetRef: { kind: Pod, name: ${one.name} } }
  - { addresses: [ ${two.ipv4} ], targetRef: { kind: Pod, name: ${two.name} } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: b, namespace: default }
spec:
  host: b
  subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: b, namespace: default }
spec:
  hosts: [ b ]
  http:
    - name: second
      match: [ { uri: { prefix: /second/ } } ]
      rewrite: { uri: / }
      route: [ { destination: { host: b, subset: v2 } } ]
    - name: teapot
      match: [ { uri: { exact: /teapot } } ]
      directResponse: { status: 418, body: { string: "by the waypoint" } }
    - name: rest
      route: [ { destination: { host: b, subset: v1 } } ]
${pod(one, 'v1')}${pod(two, 'v2')}`

t.test('client tunnel, waypoint, server tunnel', { skip }, async (t) => {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'b1', node: 1, workload: { services: { [`default/${HOST}`]: { 80: 8080 } } } },
      { name: 'b2', node: 1, workload: { services: { [`default/${HOST}`]: { 80: 8080 } } } },
      // It is no pod of a tunnel: it speaks HBONE itself.
      { name: 'waypoint', node: 0, ambient: false, workload: { protocol: 'HBONE' } },
    ],
    services: [
      {
        name: 'b',
        namespace: 'default',
        hostname: HOST,
        vips: [`/${VIP}`],
        ports: { 80: 8080 },
        waypoint: { destination: `/${WAYPOINT_IP}`, hboneMtlsPort: 15008 },
      },
    ],
  })
  const [a, one, two, way] = ['a', 'b1', 'b2', 'waypoint'].map((name) => mesh.pod(name)) as [Pod, Pod, Pod, Pod]
  t.equal(way.ipv4, WAYPOINT_IP)
  for (const p of [one, two]) await serve(p, echo(p.name), 8080)
  const waypoint = await startProxy(t, {
    namespace: way.namespace,
    listeners: [],
    resources: world(one, two),
    bootstrap: {
      role: 'waypoint',
      concurrency: 1,
      workload: { namespace: 'default', serviceAccount: 'waypoint', name: 'waypoint', address: way.ipv4 },
      identity: { source: 'dev-ca', devCa: { folder: mesh.caFolder } },
      waypoint: { services: 'namespace' },
    },
  })

  const first = await curl(a, `http://${VIP}/first`)
  t.match(answer(first.stdout), { pod: 'b1', url: '/first', from: way.ipv4 }, first.stderr)
  t.equal(
    answer(first.stdout)?.headers['x-forwarded-client-cert'],
    `By=${way.identity};URI=${a.identity}`,
    'the waypoint says who asks, by the certificate of the tunnel',
  )
  t.match(answer((await curl(a, `http://${VIP}/second/x`)).stdout), { pod: 'b2', url: '/x' }, 'routed and rewritten')
  t.equal((await curl(a, `http://${VIP}/teapot`)).stdout, 'by the waypoint')

  await waypoint.logged({ path: '/first', response_code: 200 })
  await mesh.proxyOf('a').logged({ 'dst.workload': 'waypoint', 'dst.hbone_addr': `${VIP}:80`, 'dst.identity': way.identity })
  await mesh.proxyOf('b1').logged({ 'src.identity': way.identity, 'dst.workload': 'b1', direction: 'inbound' })

  const direct = await curl(a, `http://${one.ipv4}:8080/direct`)
  t.match(
    answer(direct.stdout),
    { pod: 'b1', from: a.ipv4 },
    'who dials a pod that has no waypoint goes straight there, with its own address',
  )
})

interface Echoed {
  readonly headers: Readonly<Record<string, string>>
}

function answer(body: string): Echoed | null {
  return body.startsWith('{') ? (JSON.parse(body) as Echoed) : null
}

// From a sidecar to pods that take HBONE alone: an unmodified client whose sidecar opens tunnels, and pods whose node ends them.
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { heddle } from '../support/intercepted-pod.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { nodeMesh, type Pod, serve } from '../support/node-mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { APP_AS, PROXY_AS } from './pods.ts'
import { echoed, echoServer } from './programs.ts'
import { canCapture, WireCapture, whatIsNotTls } from './wire-capture.ts'

t.setTimeout(170_000)
const skip = canMakeNamespaces()
const VIP = '10.96.0.1'
const MARKER = 'open-sesame-1743'

const pod = (p: Pod, version: string) => `---
apiVersion: v1
kind: Pod
metadata: { name: ${p.name}, namespace: default, labels: { app: b, version: ${version}, networking.istio.io/tunnel: http, istio.io/dataplane-mode: ambient } }
spec: { serviceAccountName: ${p.name} }
status: { podIP: ${p.ipv4} }
`

const world = (one: Pod, two: Pod) => `---
apiVersion: v1
kind: Service
metadata: { name: b, namespace: default }
spec: { clusterIP: ${VIP}, selector: { app: b }, ports: [ { name: http, port: 80, targetPort: 8080 }, { name: tcp, port: 9000 } ] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: b-1, namespace: default, labels: { kubernetes.io/service-name: b } }
addressType: IPv4
ports: [ { name: http, port: 8080 }, { name: tcp, port: 9000 } ]
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
    - match: [ { uri: { prefix: /second } } ]
      route: [ { destination: { host: b, subset: v2 } } ]
    - route: [ { destination: { host: b, subset: v1 } } ]
  tcp: [ { route: [ { destination: { host: b, subset: v1 } } ] } ]
${pod(one, 'v1')}${pod(two, 'v2')}`

t.test('a sidecar and pods that take HBONE alone', { skip }, async (t) => {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0, ambient: false },
      { name: 'b1', node: 1 },
      { name: 'b2', node: 1 },
    ],
    withoutHeddle: [0],
    bootstrap: { drain: { deadline: '300ms' } },
    // Nobody reaches them in plaintext.
    policies: [
      {
        name: 'strict',
        namespace: 'default',
        scope: 'Namespace',
        action: 'Allow',
        rules: [[[{ principals: [{ Exact: 'cluster.local/ns/default/sa/a' }] }]]],
      },
    ],
  })
  const [a, one, two] = ['a', 'b1', 'b2'].map((name) => mesh.pod(name)) as [Pod, Pod, Pod]
  for (const p of [one, two]) {
    await serve(p, echoServer(p.name, 8080), 8080)
    await serve(p, `require('net').createServer((s) => s.write('${p.name}\\n') && s.pipe(s)).listen(9000, '::')`, 9000)
  }
  const sidecar = await startProxy(t, {
    namespace: a.namespace,
    // The CA's folder is root's; rules know the proxy by its group.
    as: { ...PROXY_AS, uid: 0 },
    listeners: [],
    resources: world(one, two),
    bootstrap: {
      concurrency: 1,
      drain: { deadline: '300ms' },
      workload: { namespace: 'default', serviceAccount: 'a', name: 'a', address: a.ipv4 },
      capture: { mode: 'redirect', address: '::' },
      identity: { source: 'dev-ca', devCa: { folder: mesh.caFolder } },
    },
  })
  const applied = await heddle(a.namespace, ['apply'])
  t.equal(applied.code, 0, applied.stderr)

  const curl = async (...args: readonly string[]) => {
    const user = [`--reuid=${APP_AS.uid}`, `--regid=${APP_AS.gid}`, '--clear-groups', '--']
    return await a.namespace.exec('setpriv', [...user, 'curl', '-sS', '--max-time', '8', '-H', `x-marker: ${MARKER}`, ...args], {
      budgetMs: 20_000,
    })
  }

  const cable = canCapture() === '' ? await WireCapture.start(a.namespace, 'eth0') : null
  const first = await curl('-H', 'Host: b', `http://${VIP}/first`)
  t.match(echoed(first.stdout)[0], { pod: 'b1', url: '/first', from: a.ipv4 }, `its own address is kept: ${first.stderr}`)
  const second = await curl('-H', 'Host: b', `http://${VIP}/second`)
  t.match(echoed(second.stdout)[0], { pod: 'b2' }, 'routed by layer 7')
  const bytes = await a.namespace.exec('setpriv', [
    `--reuid=${APP_AS.uid}`,
    `--regid=${APP_AS.gid}`,
    '--clear-groups',
    '--',
    process.execPath,
    '-e',
    `const s = require('net').connect(9000, '${VIP}', () => s.write('${MARKER}')); let text = ''
     s.on('data', (d) => { text += d; if (text === 'b1\\n${MARKER}') { console.log('whole'); s.end() } })`,
  ])
  t.equal(bytes.stdout, 'whole\n', 'bytes, the server first')
  await sidecar.logged({ path: '/first', response_code: 200 })
  for (const name of ['b1', 'b2'])
    await eventually(`${name}: whose tunnel it was`, () =>
      mesh
        .proxyOf(name)
        .accessLog()
        .some((l) => l['dst.workload'] === name && l['src.identity'] === a.identity),
    )
  if (cable !== null) {
    await eventually('the tunnel on the cable', () => cable.size(15_008) > 0)
    for (const stream of cable.streams(15_008)) t.equal(whatIsNotTls(stream.bytes), '', `${stream.from} to ${stream.to}`)
    t.same([cable.size(8080), cable.size(9000)], [0, 0], 'nothing goes to their ports')
    t.notOk(cable.bytes.includes(MARKER), 'and nothing in plaintext')
  }
})

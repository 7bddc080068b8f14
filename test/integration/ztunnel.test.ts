// A real ztunnel at the other end of HBONE, where its address is given; test/README.md says how. What it answers to Node's HTTP/2 is what heddle's own tunnels are built to, and
// heddle brings requests through it.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { HboneClient, type HboneIdentity } from '../support/hbone-peer.ts'
import { startWaypoint } from '../support/waypoint.ts'

const { ZTUNNEL_ADDR, ZTUNNEL_CERT_FILE, ZTUNNEL_KEY_FILE, ZTUNNEL_ROOT_FILE, ZTUNNEL_TARGET_PORT, ZTUNNEL_IDENTITY } =
  process.env
const VIP = '10.96.15.1'
const wanted = { ZTUNNEL_ADDR, ZTUNNEL_CERT_FILE, ZTUNNEL_KEY_FILE, ZTUNNEL_ROOT_FILE, ZTUNNEL_TARGET_PORT, ZTUNNEL_IDENTITY }
const missing = Object.entries(wanted).flatMap(([name, value]) => (value === undefined ? [name] : []))
const skip = missing.length > 0 && `NOT RUN: set ${missing.join(', ')} (test/README.md)`
if (skip !== false) process.stderr.write(`SKIPPED: a real ztunnel: ${skip}\n`)

t.test('a real ztunnel', { skip, timeout: 60_000 }, async (t) => {
  const at = (ZTUNNEL_ADDR as string).lastIndexOf(':')
  const [host, port] = [(ZTUNNEL_ADDR as string).slice(0, at), Number((ZTUNNEL_ADDR as string).slice(at + 1))]
  const target = `${host}:${ZTUNNEL_TARGET_PORT}`
  const read = (file: string | undefined) => readFileSync(file as string, 'utf8')
  const as: HboneIdentity = {
    issued: { chain: read(ZTUNNEL_CERT_FILE), key: read(ZTUNNEL_KEY_FILE) },
    roots: [read(ZTUNNEL_ROOT_FILE)],
  }
  const [, namespace, account] = /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(ZTUNNEL_IDENTITY as string) ?? []
  const client = await HboneClient.connect(t, { host, port, as })
  const get = ['GET / HTTP/1.1', 'host: ztunnel.test']

  await t.test('who it is, and its settings', async (t) => {
    t.equal(client.server, ZTUNNEL_IDENTITY)
    const { remoteSettings } = await eventually(
      'its settings',
      () => (client.session.remoteSettings ? client.session : null) as typeof client.session,
    )
    t.match(remoteSettings, {
      initialWindowSize: 4 * 2 ** 20,
      maxFrameSize: 2 ** 20,
      maxConcurrentStreams: 200,
      maxHeaderListSize: 64 * 1024,
    })
    t.notOk(remoteSettings.enableConnectProtocol, 'no extended CONNECT')
  })

  await t.test('its answers', async (t) => {
    const tunnel = await client.open(target)
    t.equal(tunnel.status, 200)
    t.match((await tunnel.request(get)).head, /^HTTP\/1\.1 \d\d\d /)
    t.match(tunnel.headers['baggage'], /k8s\.namespace\.name=/, 'who the destination is')
    t.equal((await client.open('nonsense')).status, 400)
    t.equal((await client.open(`192.0.2.1:${ZTUNNEL_TARGET_PORT}`)).status, 400, 'an address of somebody else')
    t.equal((await client.open(`${host}:15008`)).status, 503, 'a port of its own')
    t.equal((await client.open(`${host}:1`)).status, 503, 'a port of nobody')
  })

  await t.test('heddle brings requests through it', async (t) => {
    const label = 'istio.io/use-waypoint: waypoint'
    const waypoint = await startWaypoint(
      t,
      as,
      `
apiVersion: v1
kind: Service
metadata: { name: app, namespace: ${namespace}, labels: { ${label} } }
spec: { clusterIP: ${VIP}, selector: { app: app }, ports: [ { name: http, port: 80, targetPort: ${ZTUNNEL_TARGET_PORT} } ] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: app-1, namespace: ${namespace}, labels: { kubernetes.io/service-name: app } }
addressType: IPv4
ports: [ { name: http, port: ${ZTUNNEL_TARGET_PORT} } ]
endpoints: [ { addresses: [ "${host}" ] } ]
---
apiVersion: v1
kind: Pod
metadata: { name: app-1, namespace: ${namespace}, labels: { app: app, istio.io/dataplane-mode: ambient } }
spec: { serviceAccountName: ${account} }
status: { podIP: "${host}" }
`,
      { workload: { namespace, serviceAccount: 'waypoint', name: 'waypoint-1', labels: { app: 'waypoint' } } },
    )
    const near = await HboneClient.connect(t, { port: waypoint.port('connect_terminate'), as })
    const statuses = await Promise.all(
      Array.from({ length: 150 }, async () => (await (await near.open(`${VIP}:80`)).request(get)).status),
    )
    t.same(
      statuses.filter((status) => status < 200 || status >= 500),
      [],
      '150 at once',
    )
  })
})

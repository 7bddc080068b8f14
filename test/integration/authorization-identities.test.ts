// AuthorizationPolicies that ask who the client is: by the certificate of a connection, and by that of the tunnel at a waypoint. The clients are Node's.
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { HboneClient, type HboneIdentity, HboneServer } from '../support/hbone-peer.ts'
import { type HeddleProcess, runHeddle, startProxy } from '../support/proxy.ts'
import { type Issued, SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { startWaypoint } from '../support/waypoint.ts'

const ca = await SigningCa.root(t, 'mesh')
const IDS = {
  web: 'spiffe://cluster.local/ns/shop/sa/web',
  worker: 'spiffe://cluster.local/ns/shop-2/sa/worker',
  old: 'spiffe://old.test/ns/shop/sa/web',
  app: 'spiffe://cluster.local/ns/shop/sa/app',
  waypoint: 'spiffe://cluster.local/ns/shop/sa/waypoint',
} as const
type Name = keyof typeof IDS
const issued = Object.fromEntries(
  await Promise.all(Object.entries(IDS).map(async ([name, id]) => [name, await ca.issue({ uris: [id] })] as const)),
) as Record<Name, Issued>
const identity = (name: Name): HboneIdentity => ({ issued: issued[name], roots: [ca.rootPem] })

const policy = (name: string, spec: string, namespace = 'shop') => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: ${namespace} }
spec: ${spec}
`
const ruleFor = (at: string, source: string) => `{ from: [ { source: ${source} } ], to: [ { operation: { paths: [ ${at} ] } } ] }`

/** In front of an application, with plaintext and mutual TLS on one port. */
async function sidecar(t: Teardown, resources: string): Promise<HeddleProcess> {
  const app = await EchoUpstream.start(t)
  const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-authorization-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(dir, name), text)
    return path.join(dir, name)
  }
  const files = {
    certificateChain: file('cert.pem', issued.app.chain),
    privateKey: file('key.pem', issued.app.key),
    roots: file('roots.pem', ca.rootPem),
  }
  const oldRoots = file('old.pem', ca.rootPem)
  return startProxy(t, {
    resources,
    listeners: [{ name: 'in', direction: 'inbound', forwardTo: app.address }],
    bootstrap: {
      workload: { namespace: 'shop', serviceAccount: 'app', labels: { app: 'app' } },
      identity: {
        source: 'files',
        files,
        trustDomainAliases: ['old.test'],
        bundles: { 'old.test': oldRoots },
      },
    },
  })
}

/** The status of `GET target`; `as` null: in plaintext. */
async function ask(t: Teardown, port: number, as: Name | null, target: string): Promise<number> {
  const socket =
    as === null
      ? net.connect(port, '127.0.0.1')
      : tls.connect({
          host: '127.0.0.1',
          port,
          ca: [ca.rootPem],
          checkServerIdentity: () => undefined,
          cert: issued[as].chain,
          key: issued[as].key,
          ALPNProtocols: ['istio', 'http/1.1'],
        })
  t.teardown(() => socket.destroy())
  await once(socket, as === null ? 'connect' : 'secureConnect')
  socket.write(`GET ${target} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n`)
  const [head] = (await once(socket, 'data')) as [Buffer]
  return Number(/^HTTP\/1\.1 (\d+)/.exec(head.toString('latin1'))?.[1])
}

t.test('by the certificate of the connection', async (t) => {
  const proxy = await sidecar(
    t,
    policy(
      'app',
      `{ rules: [
        ${ruleFor('/principal', '{ principals: [ cluster.local/ns/shop/sa/web ] }')},
        ${ruleFor('/not', '{ notPrincipals: [ cluster.local/ns/shop/sa/web ] }')},
        ${ruleFor('/namespace', '{ namespaces: [ shop ] }')},
        ${ruleFor('/account', '{ serviceAccounts: [ web, shop-2/worker ] }')},
        ${ruleFor('/domain', '{ trustDomains: [ other.test ] }')},
        ${ruleFor('/anybody', '{ principals: [ "*" ] }')} ] }`,
    ),
  )
  const rows: readonly (readonly [target: string, as: Name | null, status: number])[] = [
    ['/principal', 'web', 200],
    // The old name of the trust domain stands for the new one.
    ['/principal', 'old', 200],
    ['/principal', 'worker', 403],
    ['/principal', null, 403],
    ['/not', 'web', 403],
    ['/not', 'worker', 200],
    // Who shows nothing is nobody, and so not that one.
    ['/not', null, 200],
    ['/namespace', 'web', 200],
    // shop is not shop-2.
    ['/namespace', 'worker', 403],
    ['/namespace', null, 403],
    ['/account', 'web', 200],
    ['/account', 'worker', 200],
    ['/account', null, 403],
    ['/domain', 'web', 403],
    ['/anybody', 'worker', 200],
    ['/anybody', null, 403],
  ]
  for (const [target, as, status] of rows) t.equal(await ask(t, proxy.port(), as, target), status, `${target} as ${as}`)
})

const VIP = '10.96.8.8'
const POD = '127.77.3.1'
const WORLD = `
apiVersion: v1
kind: Service
metadata: { name: reviews, namespace: shop, labels: { istio.io/use-waypoint: waypoint } }
spec:
  clusterIP: ${VIP}
  selector: { app: reviews }
  ports: [ { name: http, port: 80, targetPort: 9080 }, { name: tcp, port: 5432 } ]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: reviews-1, namespace: shop, labels: { kubernetes.io/service-name: reviews } }
addressType: IPv4
ports: [ { name: http, port: 9080 }, { name: tcp, port: 5432 } ]
endpoints: [ { addresses: [ ${POD} ] } ]
---
apiVersion: v1
kind: Pod
metadata: { name: reviews-1, namespace: shop, labels: { app: reviews, istio.io/use-waypoint: waypoint, istio.io/dataplane-mode: ambient } }
spec: { serviceAccountName: app }
status: { podIP: ${POD} }
${policy('service', `{ targetRefs: [ { kind: Service, group: "", name: reviews } ], action: DENY, rules: [ ${ruleFor('/service', '{ principals: [ cluster.local/ns/shop-2/sa/worker ] }')} ] }`)}${policy('gateway', `{ targetRefs: [ { kind: Gateway, group: gateway.networking.k8s.io, name: waypoint } ], action: DENY, rules: [ ${ruleFor('/gateway', '{ notNamespaces: [ shop ] }')} ] }`)}${policy('class', `{ targetRefs: [ { kind: GatewayClass, group: gateway.networking.k8s.io, name: istio-waypoint } ], action: DENY, rules: [ { to: [ { operation: { paths: [ /class ], ports: [ "80" ] } } ], from: [ { source: { ipBlocks: [ 127.0.0.0/8 ] } } ] } ] }`, 'istio-system')}${policy('bytes', `{ targetRefs: [ { kind: Service, group: "", name: reviews } ], action: DENY, rules: [ { from: [ { source: { namespaces: [ shop-2 ] } } ], to: [ { operation: { ports: [ "5432" ] } } ] } ] }`)}${policy('selected', `{ selector: { matchLabels: { app: waypoint } }, action: DENY, rules: [ {} ] }`)}${policy('other', `{ targetRefs: [ { kind: Service, group: "", name: ratings } ], action: DENY, rules: [ {} ] }`)}`

t.test('by the certificate of the tunnel, at a waypoint', async (t) => {
  const app = await EchoUpstream.start(t)
  const bytes = net.createServer((socket) => socket.end('hello'))
  await new Promise<void>((resolve) => bytes.listen(0, '127.0.0.1', resolve))
  t.teardown(() => bytes.close())
  const ports: Readonly<Record<string, number>> = { 9080: app.port, 5432: (bytes.address() as AddressInfo).port }
  const to = (authority: string) => ports[authority.split(':')[1] ?? ''] ?? { status: 503 }
  const pod = await HboneServer.start(t, { host: POD, as: identity('app'), to })
  const waypoint = await startWaypoint(t, identity('waypoint'), WORLD)
  const client = (as: Name) => HboneClient.connect(t, { port: waypoint.port('connect_terminate'), as: identity(as) })
  const [web, worker] = await Promise.all([client('web'), client('worker')])
  const get = async (from: HboneClient, target: string, authority = `${VIP}:80`) =>
    (await (await from.open(authority)).request([`GET ${target} HTTP/1.1`, 'host: reviews'])).status

  t.equal(await get(web, '/service'), 200)
  t.equal(await get(worker, '/service'), 403, 'the policy of the service')
  t.equal(await get(worker, '/open'), 200)
  t.equal(await get(web, '/gateway'), 200)
  t.equal(await get(worker, '/gateway'), 403, 'the policy of the waypoint')
  t.equal(await get(web, '/class'), 403, 'the policy of all waypoints')
  t.equal(await get(worker, '/gateway', `${POD}:9080`), 403, 'also for a pod that is dialled itself')
  t.equal(await get(worker, '/service', `${POD}:9080`), 200, 'for which those of services do not hold')

  const tunnelled = await web.open(`${VIP}:5432`)
  await tunnelled.until(/hello/)
  const before = pod.seen.length
  const refused = await worker.open(`${VIP}:5432`)
  await waypoint.loggedLike((line) => String(line['connection_termination_details']).includes('policy[bytes]-rule[0]'))
  t.equal(refused.text, '')
  t.equal(pod.seen.length, before, 'nobody is dialled')
  for (const [name, why] of [
    ['selected', /at a waypoint a policy holds for what its targetRefs name/],
    ['other', /holds for no workload and no service that is served here/],
  ] as const)
    t.match(await checkOf(waypoint, name), why, name)
})

async function checkOf(proxy: HeddleProcess, name: string): Promise<string> {
  const { stdout } = await runHeddle(['check', '--config', proxy.configFile, '--json'])
  const { resources } = JSON.parse(stdout) as { resources: { name: string; reason: string }[] }
  return resources.find((r) => r.name === name)?.reason ?? ''
}

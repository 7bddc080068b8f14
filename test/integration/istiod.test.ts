// heddle fed by a real istiod, which the test starts itself: every type acknowledged, each main feature by a request, changes under load, istiod gone and back.
import net from 'node:net'
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { freePort, isFree } from '../support/free-port.ts'
import { header, type ResponseMessage } from '../support/h1-reader.ts'
import { ISTIOD, Istiod, type IstioObject } from '../support/istiod.ts'
import { Load } from '../support/load.ts'
import { hasOpenssl, OpensslCa } from '../support/openssl-ca.ts'
import { type HeddleProcess, runHeddle, startProxy } from '../support/proxy.ts'
import type { RequestSpec } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'

const skip = ISTIOD === '' && 'NOT RUN: set ISTIOD to the program pilot-discovery of Istio 1.29'
const { ISTIOD_XDS_ADDR = '' } = process.env

t.setTimeout(170_000)

const object = (apiVersion: string, kind: string, name: string, spec: object): IstioObject => ({
  ...{ apiVersion, kind, spec },
  metadata: { name, namespace: 'default' },
})
const networking = (kind: string, name: string, spec: object) => object('networking.istio.io/v1', kind, name, spec)
const security = (kind: string, name: string, spec: object) => object('security.istio.io/v1', kind, name, spec)
const fqdn = (name: string): string => `${name}.default.svc.cluster.local`

/** Where upstreams listen, and on which ports services and gateways are asked. */
interface World {
  readonly one: EchoUpstream
  readonly two: EchoUpstream
  readonly three: EchoUpstream
  /** Of all HTTP services. */
  readonly http: number
  /** Of ratings, of others. */
  readonly tcp: number
  readonly otherTcp: number
  readonly gateway: number
  readonly redirect: number
}

async function world(t: Teardown): Promise<World> {
  const [one, two, three] = await Promise.all(['one', 'two', 'three'].map((name) => EchoUpstream.start(t, { name })))
  const [http, tcp, otherTcp, gateway, redirect] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ]
  return { one: one!, two: two!, three: three!, http, tcp, otherTcp, gateway, redirect }
}

interface Variant {
  /** Of `one`, in percent; the rest goes to `two`. Default 100. */
  readonly weight?: number
  /** Told in answers of reviews. */
  readonly generation?: number
  readonly reviews?: readonly EchoUpstream[]
  readonly more?: readonly IstioObject[]
}

/** Versions of endpoints are the names of the upstreams. */
function objects(w: World, { weight = 100, generation = 0, reviews = [w.one, w.two], more = [] }: Variant = {}): IstioObject[] {
  const service = (name: string, address: string, upstreams: readonly EchoUpstream[]): IstioObject =>
    networking('ServiceEntry', name, {
      hosts: [fqdn(name)],
      addresses: [address],
      location: 'MESH_INTERNAL',
      resolution: 'STATIC',
      ports: [
        { name: 'http', number: w.http, protocol: 'HTTP' },
        // Where nothing is captured, bytes are known by their port alone.
        { name: 'tcp', number: name === 'ratings' ? w.tcp : w.otherTcp, protocol: 'TCP' },
      ],
      endpoints: upstreams.map(({ name, port }) => ({
        address: '127.0.0.1',
        ports: { http: port, tcp: port },
        labels: { version: name },
      })),
    })
  const to = (host: string, subset?: string) => ({
    destination: { host: fqdn(host), port: { number: w.http }, ...(subset === undefined ? {} : { subset }) },
  })
  const prefix = (text: string) => [{ uri: { prefix: text } }]
  const all = { percentage: { value: 100 } }
  return [
    service('reviews', '127.66.0.1', reviews),
    service('ratings', '127.66.0.2', [w.three]),
    networking('DestinationRule', 'reviews', {
      host: fqdn('reviews'),
      trafficPolicy: { outlierDetection: { consecutive5xxErrors: 100 }, connectionPool: { http: { maxRetries: 100 } } },
      subsets: ['one', 'two'].map((version) => ({ name: version, labels: { version } })),
    }),
    networking('VirtualService', 'reviews', {
      hosts: [fqdn('reviews')],
      http: [
        { match: prefix('/fault'), fault: { abort: { httpStatus: 418, ...all } }, route: [to('reviews')] },
        { match: prefix('/old'), redirect: { uri: '/new', redirectCode: 302 } },
        { match: prefix('/direct'), directResponse: { status: 503, body: { string: 'said so' } } },
        {
          match: prefix('/api/'),
          rewrite: { uri: '/v2/' },
          headers: { request: { set: { 'x-set': 'yes' }, remove: ['x-gone'] }, response: { add: { 'x-added': 'yes' } } },
          route: [to('reviews', 'two')],
        },
        { match: [{ uri: { regex: '/r[0-9]+' }, headers: { 'x-kind': { exact: 'a' } } }], route: [to('ratings')] },
        { match: prefix('/retry'), retries: { attempts: 2, retryOn: '5xx', backoff: '1ms' }, route: [to('reviews', 'one')] },
        { match: prefix('/slow'), timeout: '0.1s', route: [to('reviews', 'one')] },
        { match: prefix('/mirrored'), mirrors: [{ ...to('ratings'), ...all }], route: [to('reviews', 'one')] },
        {
          match: prefix('/cors'),
          corsPolicy: { allowOrigins: [{ exact: 'https://a.example' }], allowMethods: ['GET'], maxAge: '1h' },
          route: [to('reviews', 'one')],
        },
        {
          headers: { response: { set: { 'x-generation': String(generation) } } },
          route: [
            { ...to('reviews', 'one'), weight },
            { ...to('reviews', 'two'), weight: 100 - weight },
          ],
        },
      ],
    }),
    networking('Gateway', 'edge', {
      selector: { istio: 'edge' },
      servers: [
        { port: { number: w.gateway, name: 'http', protocol: 'HTTP' }, hosts: ['shop.test', '*.apps.test'] },
        { port: { number: w.redirect, name: 'redirect', protocol: 'HTTP' }, hosts: ['*'], tls: { httpsRedirect: true } },
      ],
    }),
    networking('VirtualService', 'edge', {
      hosts: ['shop.test', '*.apps.test'],
      gateways: ['edge'],
      http: [{ match: prefix('/ratings'), route: [to('ratings')] }, { route: [to('reviews')] }],
    }),
    security('AuthorizationPolicy', 'edge', {
      selector: { matchLabels: { istio: 'edge' } },
      action: 'DENY',
      rules: [{ to: [{ operation: { paths: ['/admin*'] } }] }],
    }),
    security('RequestAuthentication', 'edge', {
      selector: { matchLabels: { istio: 'edge' } },
      jwtRules: [{ issuer: 'test', jwks: '{"keys":[]}' }],
    }),
    object('telemetry.istio.io/v1', 'Telemetry', 'all', { tracing: [{ randomSamplingPercentage: 5 }] }),
    ...more,
  ]
}

type Ask = (target: string, more?: Partial<RequestSpec>) => Promise<ResponseMessage>

/** One connection for each question. */
const asking =
  (t: Teardown, port: number, host: string): Ask =>
  async (target, more = {}) => {
    const client = await connectAny(t, port)
    const answer = await client.ask({ target, host, ...more })
    client.destroy()
    return answer
  }

const who = (answer: ResponseMessage): string | number => header(answer, 'x-upstream') ?? answer.status
/** Values of a header that an upstream saw. */
const seen = ({ seen }: EchoUpstream, name: string): string[] =>
  seen.at(-1)!.headers.flatMap(([n, value]) => (n.toLowerCase() === name ? [value] : []))

function startFed(
  t: Teardown,
  istiod: Istiod,
  name: string,
  bootstrap: Readonly<Record<string, unknown>>,
): Promise<HeddleProcess> {
  const { workload = {}, ...more } = bootstrap
  return startProxy(t, {
    listeners: [],
    readyBudgetMs: 60_000,
    bootstrap: {
      ...{ resources: [], xds: { address: istiod.address, transport: 'plaintext' }, concurrency: 2 },
      workload: { name, namespace: 'default', address: '127.55.0.1', ...(workload as object) },
      ...more,
    },
  })
}

const TYPES = ['Cluster', 'Listener', 'ClusterLoadAssignment', 'RouteConfiguration']
const problems = (proxy: HeddleProcess): string[] => proxy.stderr.split('\n').filter((line) => /Z (?:warning|error) /.test(line))

t.test('as a sidecar and as a gateway', { skip }, async (t) => {
  const w = await world(t)
  const istiod = await Istiod.run(t, objects(w), { outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' } })
  const sidecar = await startFed(t, istiod, 'side', {})
  const gateway = await startFed(t, istiod, 'edge', { role: 'gateway', workload: { labels: { istio: 'edge' } } })

  await t.test('all types are acknowledged, and there is nothing to complain of', async (t) => {
    await istiod.synced('side.default', TYPES)
    await istiod.synced('edge.default', TYPES)
    t.same([problems(sidecar), problems(gateway)], [[], []])
    const { types } = (await sidecar.adminJson('/control_plane')) as {
      types: { readonly short: string; readonly nacks: number }[]
    }
    t.ok(types.length >= 4)
    for (const { short, nacks } of types) t.equal(nacks, 0, short)
  })

  await t.test('a request for each feature', async (t) => {
    const ask = asking(t, w.http, fqdn('reviews'))
    t.equal(who(await ask('/')), 'one')
    t.equal(who(await asking(t, w.http, 'ratings')('/')), 'three', 'by its short name')
    t.equal(who(await ask('/fault')), 418)
    const moved = await ask('/old')
    t.same([moved.status, header(moved, 'location')], [302, `http://${fqdn('reviews')}/new`])
    const direct = await ask('/direct')
    t.same([direct.status, direct.body.toString()], [503, 'said so'])
    const rewritten = await ask('/api/a', { headers: [['x-gone', '1']] })
    t.same([who(rewritten), header(rewritten, 'x-added')], ['two', 'yes'])
    t.equal(w.two.seen.at(-1)?.target, '/v2/a')
    t.same([seen(w.two, 'x-set'), seen(w.two, 'x-gone')], [['yes'], []])
    t.equal(who(await ask('/r12', { headers: [['x-kind', 'a']] })), 'three')
    t.equal(who(await ask('/r12')), 'one')
    w.one.seen.length = 0
    t.equal((await ask('/retry', { headers: [['x-status', '503']] })).status, 503)
    t.equal(w.one.seen.length, 3, 'one attempt and two more')
    t.equal((await ask('/slow', { headers: [['x-delay-ms', '2000']] })).status, 504)
    w.three.seen.length = 0
    t.equal(who(await ask('/mirrored')), 'one')
    await eventually('the mirror is asked', () => w.three.seen[0]?.target === '/mirrored')
    const preflight = await ask('/cors', {
      method: 'OPTIONS',
      headers: [
        ['origin', 'https://a.example'],
        ['access-control-request-method', 'GET'],
      ],
    })
    t.equal(header(preflight, 'access-control-allow-origin'), 'https://a.example')
    const said = await new Promise<string>((resolve, reject) => {
      const socket = net.connect(w.tcp, '127.0.0.1', () => socket.write('GET /bytes HTTP/1.0\r\n\r\n'))
      socket
        .setEncoding('utf8')
        .once('data', (text: string) => resolve(text))
        .once('error', reject)
      t.teardown(() => socket.destroy())
    })
    t.match(said, /200 OK/, 'bytes')
    t.equal(who(await asking(t, w.http, 'nobody.test')('/')), 502, 'whom the mesh does not know (REGISTRY_ONLY)')
  })

  await t.test('a gateway', async (t) => {
    const shop = asking(t, w.gateway, 'shop.test')
    t.equal(who(await shop('/ratings')), 'three')
    t.ok(['one', 'two'].includes(String(who(await asking(t, w.gateway, 'a.apps.test')('/')))))
    t.equal(who(await asking(t, w.gateway, 'other.test')('/')), 404)
    const denied = await shop('/admin/x')
    t.same([denied.status, denied.body.toString()], [403, 'RBAC: access denied'])
    t.equal((await shop('/', { headers: [['authorization', 'Bearer a.b.c']] })).status, 401)
    const secure = await asking(t, w.redirect, 'shop.test')('/a')
    t.same([secure.status, header(secure, 'location')], [301, 'https://shop.test/a'])
  })

  await t.test('a filter that is not understood: istiod hears why, and the listener before it serves', async (t) => {
    const lua = {
      name: 'lua',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua',
        default_source_code: { inline_string: 'function envoy_on_request(handle) end' },
      },
    }
    const before = object('networking.istio.io/v1alpha3', 'EnvoyFilter', 'lua', {
      configPatches: [
        {
          applyTo: 'HTTP_FILTER',
          match: {
            context: 'SIDECAR_OUTBOUND',
            listener: {
              filterChain: {
                filter: {
                  name: 'envoy.filters.network.http_connection_manager',
                  subFilter: { name: 'envoy.filters.http.router' },
                },
              },
            },
          },
          patch: { operation: 'INSERT_BEFORE', value: lua },
        },
      ],
    })
    istiod.write(objects(w, { more: [before] }))
    await eventually('istiod has heard it', () => /ACK ERROR side\.default.*Lua/.test(istiod.log), 20_000)
    t.equal((await istiod.syncOf('side.default'))?.['Listener'], false, 'and does not take it for acknowledged')
    t.match(sidecar.stderr, /LDS .*: refused .*Lua/)
    t.equal(who(await asking(t, w.http, fqdn('reviews'))('/')), 'one')
    istiod.write(objects(w))
    await istiod.synced('side.default', TYPES)
  })

  await t.test('forty changes under load, istiod killed and back: no request is lost', async (t) => {
    const load = await Load.start(t, {
      ...{ port: w.http, clients: 4, reconnect: true },
      request: (n) => ({ target: `/w/${n}`, host: n % 3 === 0 ? fqdn('ratings') : fqdn('reviews') }),
    })
    const fills = Array.from({ length: 50 }, (_, i) =>
      networking('ServiceEntry', `extra-${i}`, {
        ...{ hosts: [`extra-${i}.test`], addresses: [`127.67.0.${i + 1}`], location: 'MESH_INTERNAL', resolution: 'STATIC' },
        ports: [{ name: 'http', number: w.http, protocol: 'HTTP' }],
        endpoints: [{ address: '127.0.0.1', ports: { http: w.one.port } }],
      }),
    )
    const ask = asking(t, w.http, fqdn('reviews'))
    const inForce = (generation: number) =>
      eventually(`generation ${generation}`, async () => header(await ask('/'), 'x-generation') === String(generation), 30_000)
    for (let i = 1; i <= 40; i++) {
      const last = load.answered
      const reviews = i % 3 === 0 ? [w.one, w.two, w.three] : [w.one, w.two]
      istiod.write(objects(w, { weight: i % 2 === 0 ? 100 : 0, generation: i, reviews, more: i % 4 === 0 ? fills : [] }))
      // Most of them are overtaken by the next.
      await eventually('traffic to go on', () => load.answered > last + 5)
      if (i % 10 === 0) await inForce(i)
    }
    await istiod.kill()
    await eventually('it is noticed', async () => (await sidecar.metrics()).value('envoy_control_plane_connected_state') === 0)
    istiod.write(objects(w, { weight: 0, generation: 41 }))
    t.equal(who(await ask('/')), 'one', 'what is in force stays')
    const atOnce = await istiod.start(1000)
    await inForce(41)
    const connections = async () => ((await sidecar.adminJson('/control_plane')) as { readonly streams: number }).streams
    const before = await connections()
    // Ten seconds after they are told.
    await eventually('its connections end and begin anew', async () => (await connections()) > before, 30_000)
    t.equal(who(await ask('/')), 'two')
    await load.stop()
    if (atOnce) {
      t.same(load.lost, [])
      t.same([...load.statuses.keys()], [200])
    } else t.comment('istiod began without its services and took them away: what was lost meanwhile says nothing')
    await istiod.synced('side.default', TYPES)
    const told = problems(sidecar).filter((line) => !/control plane .*trying again|Lua/.test(line))
    t.same(told, [], 'a connection that is closed in time is no fault')
  })
})

t.test('metrics as Telemetry asks for them, and who we are for others', { skip }, async (t) => {
  const w = await world(t)
  const metrics = (name: string, app: string, overrides: readonly object[]): IstioObject =>
    object('telemetry.istio.io/v1', 'Telemetry', name, {
      selector: { matchLabels: { app } },
      metrics: [{ providers: [{ name: 'prometheus' }], overrides }],
    })
  const match = (metric: string) => ({ match: { metric, mode: 'CLIENT' } })
  const tagOverrides = { request_host: { value: 'request.host' }, destination_principal: { operation: 'REMOVE' } }
  const more = [
    metrics('labels', 'side', [
      { ...match('REQUEST_SIZE'), disabled: true },
      { ...match('REQUEST_COUNT'), tagOverrides },
    ]),
    metrics('none', 'quiet', [{ ...match('ALL_METRICS'), disabled: true }]),
  ]
  const istiod = await Istiod.run(t, objects(w, { more }), { defaultProviders: { metrics: ['prometheus'] } })
  const labels = { app: 'side', version: 'v1' }
  const side = await startFed(t, istiod, 'side', { workload: { labels } })
  t.equal(who(await asking(t, w.http, fqdn('reviews'))('/')), 'one')
  const counted = await eventually('it is counted', async () => {
    const { samples } = await side.metrics()
    return samples.some((s) => s.name === 'istio_requests_total') ? samples : null
  })
  const requests = (counted ?? []).filter((s) => s.name === 'istio_requests_total')
  t.match(requests, [{ labels: { request_host: fqdn('reviews'), source_app: 'side', source_version: 'v1' } }])
  t.notOk('destination_principal' in requests[0]!.labels)
  t.notOk(counted?.some((s) => s.name.startsWith('istio_request_bytes')))
  t.ok(counted?.some((s) => s.name === 'istio_response_bytes_count' && 'destination_principal' in s.labels))
  t.match(seen(w.one, 'x-envoy-peer-metadata-id'), [/^sidecar~127\.55\.0\.1~side\.default~/])
  t.equal(seen(w.one, 'x-envoy-peer-metadata').length, 1)
  t.same(problems(side), [])
  await side.stop()

  const quiet = await startFed(t, istiod, 'quiet', { workload: { labels: { app: 'quiet' } } })
  t.equal(who(await asking(t, w.http, fqdn('reviews'))('/')), 'one')
  t.notOk((await quiet.metrics()).samples.some((s) => s.name.startsWith('istio_request')))
})

t.test('as a waypoint', { skip: skip || (!hasOpenssl() && 'openssl is not installed') }, async (t) => {
  // Of tunnels: istiod knows no other.
  if (!(await isFree('127.0.0.1', 15_008))) {
    t.comment('NOT RUN: somebody listens on 15008')
    t.pass('nothing')
    return
  }
  const istiod = await Istiod.run(t, objects(await world(t)))
  const ca = new OpensslCa(t)
  const root = ca.root('/CN=root')
  const own = ca.svid(root, 'spiffe://cluster.local/ns/default/sa/waypoint')
  const files = { certificateChain: own.certFile, privateKey: own.keyFile, roots: root.certFile }
  const waypoint = await startFed(t, istiod, 'way', {
    role: 'waypoint',
    workload: { serviceAccount: 'waypoint', labels: { 'gateway.networking.k8s.io/gateway-name': 'waypoint' } },
    identity: { source: 'files', files },
  })
  await istiod.synced('way.default', ['Cluster', 'Listener'])
  t.same(problems(waypoint), [])
  t.ok(waypoint.port('connect_terminate') > 0)
})

t.test(
  'what a running one sends',
  { skip: ISTIOD_XDS_ADDR === '' && 'NOT RUN: set ISTIOD_XDS_ADDR to host:port of an istiod in plain text (15010)' },
  async (t) => {
    const { code, stdout, stderr } = await runHeddle(['xds', 'dump', '--address', ISTIOD_XDS_ADDR, '--plaintext'])
    t.same([code, stderr], [0, ''])
    const { clusters } = JSON.parse(stdout) as { readonly clusters: readonly { readonly name: string }[] }
    t.ok(clusters.some(({ name }) => name === 'BlackHoleCluster'))
  },
)

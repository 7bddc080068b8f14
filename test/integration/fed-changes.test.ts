// A control plane changes each type of resource, is away, wrong or late, while clients ask without a pause: no request is lost, and each change takes effect.
import { X509Certificate } from 'node:crypto'
import net from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { askAny, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { header } from '../support/h1-reader.ts'
import { Load } from '../support/load.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'
import {
  ADS,
  httpFilter,
  putResource,
  setResource,
  setService,
  xdsCluster,
  xdsEndpoints,
  xdsListener,
  xdsRoutes,
} from '../support/xds-json.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

/** A filter that comes on its own. */
const DISCOVERED = {
  name: 'extra',
  config_discovery: {
    config_source: ADS,
    type_urls: [
      'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
      'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault',
    ],
  },
}

/** Requests that have the header are refused. */
function refusing(header: string): object {
  const permissions = [{ header: { name: header, present_match: true } }]
  const policies = { p: { permissions, principals: [{ any: true }] } }
  return httpFilter('http.rbac.v3.RBAC', { rules: { action: 'DENY', policies } })
}

const extra = (filter: object): object => ({ ...filter, name: 'extra' })

/** A sidecar, its control plane, upstreams `a`, `b` and `c`, and clients that keep asking for host `web`, which leads to the cluster `one`. */
class Fed {
  readonly t: Teardown
  readonly plane: FakeControlPlane
  readonly port: number
  readonly proxy: HeddleProcess
  readonly load: Load
  readonly a: EchoUpstream
  readonly b: EchoUpstream
  readonly c: EchoUpstream
  /** Of the routes. */
  hosts: Record<string, Record<string, string>>

  private constructor(
    t: Teardown,
    parts: Readonly<{ plane: FakeControlPlane; port: number; proxy: HeddleProcess; load: Load }>,
    upstreams: readonly EchoUpstream[],
  ) {
    this.t = t
    this.plane = parts.plane
    this.port = parts.port
    this.proxy = parts.proxy
    this.load = parts.load
    const [a, b, c] = upstreams as [EchoUpstream, EchoUpstream, EchoUpstream]
    this.a = a
    this.b = b
    this.c = c
    this.hosts = { web: { '/': 'one' } }
  }

  static async start(t: Teardown): Promise<Fed> {
    const plane = await FakeControlPlane.start(t)
    const upstreams = await Promise.all(['a', 'b', 'c'].map((name) => EchoUpstream.start(t, { name, host: '0.0.0.0' })))
    const port = await freePort()
    setService(plane, 'one', at(upstreams[0]!))
    setResource(plane, XDS.listener, xdsListener({ name: 'out', host: '127.0.0.1', port, routes: 'r', filters: [DISCOVERED] }))
    setResource(plane, XDS.extension, extra(refusing('x-one')))
    setResource(plane, XDS.route, xdsRoutes('r', { web: { '/': 'one' } }))
    const proxy = await startProxy(t, {
      listeners: [],
      bootstrap: { resources: [], concurrency: 2, xds: { address: plane.hostAndPort, transport: 'plaintext' } },
    })
    const load = await Load.start(t, {
      port,
      clients: 4,
      reconnect: true,
      request: (n) => ({ host: 'web', target: `/${n}`, ...(n % 3 === 0 ? { method: 'POST', body: 'x'.repeat(n % 5000) } : {}) }),
    })
    return new Fed(t, { plane, port, proxy, load }, upstreams)
  }

  /** What was under way is through, so that every configuration meets requests. */
  async answers(count = 40): Promise<void> {
    const goal = this.load.answered + count
    await eventually('answers', () => this.load.answered >= goal || this.load.lost.length > 0)
  }

  /** Something is done; resolves when all workers have what came of it, and requests have met it. */
  async change(what: () => void): Promise<void> {
    const before = await this.proxy.version()
    what()
    await eventually('a new configuration in all workers', async () => (await this.proxy.version()) > before, 30_000)
    await this.answers()
  }

  /** Who answers now, each with no answer older than the call. */
  async whoAnswers(): Promise<string[]> {
    await this.answers()
    this.load.upstreams.clear()
    await this.answers()
    return [...this.load.upstreams.keys()].sort()
  }

  /** Of the cluster `one`. */
  endpoints(...upstreams: readonly EchoUpstream[]): Promise<void> {
    return this.change(() => putResource(this.plane, XDS.endpoints, xdsEndpoints('one', ...upstreams.map(at))))
  }

  setRoutes(more: Readonly<Record<string, Record<string, string>>>): void {
    this.hosts = { ...this.hosts, ...more }
    setResource(this.plane, XDS.route, xdsRoutes('r', this.hosts))
  }

  routes(more: Readonly<Record<string, Record<string, string>>>): Promise<void> {
    return this.change(() => {
      this.setRoutes(more)
      this.plane.push([XDS.route])
    })
  }

  /** On a connection of its own. */
  async ask(host: string, headers: Record<string, string> = {}): Promise<string> {
    const answer = await askAny(this.t, this.port, { host, headers })
    return header(answer, 'x-upstream') ?? String(answer.status)
  }

  /** No request was lost, none was answered otherwise than by an upstream. */
  unharmed(t: { same(a: unknown, b: unknown, m: string): unknown }): void {
    t.same(this.load.lost, [], 'no request is lost')
    t.same([...this.load.statuses.keys()], [200], `all ${this.load.answered} have been answered by an upstream`)
    this.load.statuses.clear()
    this.load.statuses.set(200, 0)
  }

  async status(): Promise<{
    readonly types: readonly { readonly short: string; readonly refused: object[]; readonly answer: string }[]
  }> {
    return (await this.proxy.adminJson('/control_plane')) as never
  }
}

function at({ port }: { readonly port: number }): { readonly host: string; readonly port: number } {
  return { host: '127.0.0.1', port }
}

const fed = await Fed.start(t)
const { plane, proxy, load } = fed

t.test('endpoints come, go, and are all others; connections to those that stay are not touched', async (t) => {
  t.same(await fed.whoAnswers(), ['a'])
  const before = fed.a.connectionsTotal
  await fed.endpoints(fed.a, fed.b)
  t.same(await fed.whoAnswers(), ['a', 'b'])
  await fed.endpoints(fed.a)
  t.same(await fed.whoAnswers(), ['a'])
  t.ok(fed.a.connectionsTotal - before <= load.clients.length, 'a did not lose its connections')
  t.equal(fed.a.openConnections > 0, true)
  await fed.endpoints(fed.b, fed.c)
  t.same(await fed.whoAnswers(), ['b', 'c'], 'all are others')
  await fed.endpoints(fed.a)
  fed.unharmed(t)
})

t.test('a new cluster, its endpoints and the route to it in one push of istiod', async (t) => {
  await fed.change(() => {
    setService(plane, 'two', at(fed.b))
    fed.setRoutes({ web: { '/': 'two' } })
    plane.push()
  })
  await eventually('the route leads there', async () => (await fed.ask('web')) === 'b')
  t.same(await fed.whoAnswers(), ['b'])
  fed.unharmed(t)
})

t.test('a cluster that is changed', async (t) => {
  const { connectionsTotal } = fed.b
  await fed.change(() => putResource(plane, XDS.cluster, xdsCluster('two', { connect_timeout: '2s' })))
  t.same(await fed.whoAnswers(), ['b'])
  t.ok(fed.b.connectionsTotal - connectionsTotal <= 2 * load.clients.length, 'at most each connection is another')
  fed.unharmed(t)
})

t.test('endpoints that are late: the cluster before it serves until they are there', async (t) => {
  plane.answers = (typeUrl) => typeUrl !== XDS.endpoints
  setResource(plane, XDS.endpoints, xdsEndpoints('late', at(fed.c)))
  putResource(plane, XDS.cluster, xdsCluster('two', { eds_cluster_config: { eds_config: ADS, service_name: 'late' } }))
  await plane.answered(XDS.cluster)
  t.same(await fed.whoAnswers(), ['b'], 'it waits')
  plane.answers = () => true
  await fed.change(() => plane.force(plane.current!, XDS.endpoints))
  t.same(await fed.whoAnswers(), ['c'])
  const asked = plane.saidOf(XDS.endpoints).flatMap((s) => s.unsubscribed)
  await eventually('what nobody needs is given up', () => [...asked, ...unsubscribed()].includes('two'))
  t.notOk(unsubscribed().includes('one'), 'a cluster without a route keeps its endpoints')
  fed.unharmed(t)
})

function unsubscribed(): string[] {
  return plane.saidOf(XDS.endpoints).flatMap((s) => s.unsubscribed)
}

t.test('a cluster that goes: what is under way is answered, then there is no cluster (NC)', async (t) => {
  const slow = await Upstream.start(t)
  await fed.change(() => {
    setService(plane, 'slow', slow)
    fed.setRoutes({ slow: { '/': 'slow' } })
    plane.push()
  })
  const patient = await connectAny(t, fed.port)
  await patient.send({ host: 'slow' })
  const held = await slow.next()
  await fed.change(() => plane.remove(XDS.cluster, 'slow'))
  t.equal(await fed.ask('slow', { 'x-request-id': 'gone' }), '503')
  t.match(await proxy.loggedLike((l) => l['authority'] === 'slow' && l['response_code'] === 503), {
    response_flags: 'NC',
    response_code_details: 'cluster_not_found',
  })
  await held.answer({ body: 'from a cluster that is gone' })
  t.equal((await patient.response()).body.toString(), 'from a cluster that is gone')
  fed.unharmed(t)
})

t.test('a filter that comes on its own is another, and one that cannot be used is refused alone', async (t) => {
  const refused = async () => [await fed.ask('web', { 'x-one': '1' }), await fed.ask('web', { 'x-two': '1' })]
  t.same(await refused(), ['403', 'c'])
  await fed.change(() => putResource(plane, XDS.extension, extra(refusing('x-two'))))
  t.same(await refused(), ['c', '403'])
  const forAll = httpFilter('http.fault.v3.HTTPFault', { abort: { http_status: 418, percentage: { numerator: 100 } } })
  putResource(plane, XDS.extension, extra(forAll))
  const { error } = await plane.answered(XDS.extension, 'NACK')
  t.match(error, /^extra: the listener out cannot use it: .*faults for all routes/)
  t.same(await refused(), ['c', '403'], 'its last good version serves')
  putResource(plane, XDS.extension, extra(refusing('x-two')))
  await plane.answered(XDS.extension)
  fed.unharmed(t)
})

t.test('a listener whose chain is changed keeps its connections', async (t) => {
  const { cut } = load
  const guard = refusing('x-evil')
  await fed.change(() => putResource(plane, XDS.listener, outWith([guard, DISCOVERED])))
  t.equal(await fed.ask('web', { 'x-evil': '1' }), '403')
  t.equal(load.cut, cut, 'no connection is cut')

  // Other routes, which are late: the old ones serve, and go on changing.
  plane.answers = (typeUrl) => typeUrl !== XDS.route
  setResource(plane, XDS.route, xdsRoutes('other', { web: { '/': 'one' } }))
  putResource(plane, XDS.listener, outWith([guard, DISCOVERED], 'other'))
  await plane.answered(XDS.listener)
  t.same(await fed.whoAnswers(), ['c'])
  plane.answers = () => true
  await fed.change(() => plane.force(plane.current!, XDS.route))
  t.same(await fed.whoAnswers(), ['a'])
  await fed.change(() => putResource(plane, XDS.listener, outWith([DISCOVERED])))
  await eventually('the routes from before', async () => (await fed.ask('web')) === 'c')
  fed.unharmed(t)
})

function outWith(filters: readonly object[], routes = 'r'): object {
  return xdsListener({ name: 'out', host: '127.0.0.1', port: fed.port, routes, filters })
}

t.test('a listener comes and goes: it takes nobody any more, and what is under way is answered', async (t) => {
  const port = await freePort()
  const slow = await Upstream.start(t)
  await fed.change(() => {
    setService(plane, 'slow', slow)
    setResource(plane, XDS.listener, xdsListener({ name: 'second', host: '127.0.0.1', port, routes: 'r' }))
    plane.push()
  })
  await eventually('it takes connections', () => accepts(port))
  const patient = await connectAny(t, port)
  await patient.send({ host: 'slow' })
  const held = await slow.next()
  await fed.change(() => plane.remove(XDS.listener, 'second'))
  await eventually('it takes no more', async () => !(await accepts(port)))
  await held.answer({ body: 'late' })
  t.equal((await patient.response()).body.toString(), 'late')
  await patient.closed()
  t.ok(await accepts(fed.port), 'the other one does')
  fed.unharmed(t)
})

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

t.test('a secret is another: new handshakes show it, connections on the old one end with their requests', async (t) => {
  const ca = await SigningCa.root(t, 'shop')
  const [first, second] = await Promise.all([0, 1].map(() => ca.issue({ dnsNames: ['shop.example'] })))
  const port = await freePort()
  const slow = await Upstream.start(t)
  const name = 'kubernetes://shop'
  const put = ({ chain, key }: { readonly chain: string; readonly key: string }) =>
    putResource(plane, XDS.secret, {
      name,
      tls_certificate: { certificate_chain: { inline_string: chain }, private_key: { inline_string: key } },
    })
  const common = { tls_certificate_sds_secret_configs: [{ name, sds_config: ADS }] }
  const transportSocket = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      common_tls_context: common,
    },
  }
  setService(plane, 'slow', slow)
  plane.push()
  putResource(plane, XDS.listener, xdsListener({ name: 'secure', host: '127.0.0.1', port, routes: 'r', transportSocket }))
  await plane.answered(XDS.listener)
  t.notOk(await accepts(port), 'without its certificate it does not listen')
  await fed.change(() => put(first!))
  const serial = async () => (await handshake(t, port, ca.rootPem)).getPeerX509Certificate()?.serialNumber
  await eventually('the first', async () => (await accepts(port)) && (await serial()) === serialOf(first!.chain))

  const patient = await handshake(t, port, ca.rootPem)
  patient.write('GET / HTTP/1.1\r\nhost: slow\r\n\r\n')
  const held = await slow.next()
  await fed.change(() => put(second!))
  await eventually('the second', async () => (await serial()) === serialOf(second!.chain))
  const answered = new Promise((resolve) => patient.once('data', (d) => resolve(String(d))))
  await held.answer({ body: 'late' })
  t.match(await answered, /^HTTP\/1.1 200/)
  fed.unharmed(t)
})

function serialOf(chainPem: string): string {
  return new X509Certificate(chainPem).serialNumber
}

function handshake(t: Teardown, port: number, rootPem: string): Promise<tls.TLSSocket> {
  const socket = tls.connect({ port, host: '127.0.0.1', servername: 'shop.example', ca: [rootPem] })
  t.teardown(() => socket.destroy())
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', () => resolve(socket))
    socket.once('error', reject)
  })
}

t.test('one bad resource among good ones is refused alone', async (t) => {
  await fed.change(() => {
    setService(plane, 'good', at(fed.b))
    setResource(plane, XDS.cluster, xdsCluster('two', { cluster_type: { name: 'envoy.clusters.redis' }, type: undefined }))
    fed.setRoutes({ good: { '/': 'good' } })
    plane.push()
  })
  const nack = plane.saidOf(XDS.cluster, 'NACK').at(-1)
  t.match(nack?.error, /^two: .*envoy\.clusters\.redis/)
  t.notMatch(nack?.error, /good/)
  await eventually('the good one serves', async () => (await fed.ask('good')) === 'b')
  t.same(await fed.whoAnswers(), ['c'], 'and of the bad one the last good version')
  const cds = (await fed.status()).types.find((x) => x.short === 'CDS')
  t.match(cds, { answer: 'NACK', refused: [{ name: 'two' }], lastNack: { text: nack?.error } })
  await fed.change(() =>
    putResource(plane, XDS.cluster, xdsCluster('two', { eds_cluster_config: { eds_config: ADS, service_name: 'late' } })),
  )
  t.equal((await fed.status()).types.find((x) => x.short === 'CDS')?.answer, 'ACK')
  fed.unharmed(t)
})

t.test('a control plane that ends cleanly, is killed, freezes, and comes back as one that knows nobody', async (t) => {
  const { cut } = load
  const connected = async () => (await proxy.metrics()).value('envoy_control_plane_connected_state')
  for (const how of ['cleanly', 'killed', 'frozen'] as const) {
    const before = plane.streams.length
    const version = await proxy.version()
    if (how === 'cleanly') await plane.closeCleanly()
    else if (how === 'frozen') plane.freeze()
    if (how === 'frozen') await fed.answers(200)
    plane.stop()
    if (how !== 'frozen') await eventually('it is noticed', async () => (await connected()) === 0)
    await fed.answers()
    await plane.resume()
    await plane.nextStream(before, 20_000)
    await plane.synced()
    await fed.answers()
    t.same(await fed.whoAnswers(), ['c'], how)
    t.equal(await proxy.version(), version, 'the same again is no change')
  }
  t.equal(load.cut, cut, 'no connection is cut')

  // The next one is slow to know the world, and it has changed meanwhile.
  plane.stop()
  plane.answers = () => false
  const before = plane.streams.length
  setResource(plane, XDS.endpoints, xdsEndpoints('late', at(fed.a)))
  await plane.resume()
  await plane.nextStream(before, 20_000)
  t.same(await fed.whoAnswers(), ['c'], 'what does not know anything takes nothing away')
  plane.answers = () => true
  await fed.change(() => {
    const stream = plane.current!
    for (const typeUrl of stream.watched.keys()) plane.force(stream, typeUrl)
  })
  t.same(await fed.whoAnswers(), ['a'])
  fed.unharmed(t)
})

t.test('500 services of 20 endpoints at once, then one of 5,000 endpoints', async (t) => {
  const addresses = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ host: `127.1.${(from + i) >> 8}.${(from + i) & 255}`, port: fed.b.port }))
  const services = Array.from({ length: 500 }, (_, i) => `s${i}`)
  for (const name of services) setService(plane, name, ...addresses(1, 20))
  fed.setRoutes(Object.fromEntries(services.map((name) => [name, { '/': name }])))
  await fed.change(() => plane.push())
  await eventually('the last of them', async () => (await fed.ask('s499')) === 'b', 30_000)
  t.same(await Promise.all(['s0', 's1', 's250', 's498'].map((name) => fed.ask(name))), ['b', 'b', 'b', 'b'])

  const many = addresses(256, 5000)
  await fed.change(() => {
    setService(plane, 'big', ...many)
    fed.setRoutes({ big: { '/': 'big' } })
    plane.push()
  })
  await eventually('it serves', async () => (await fed.ask('big')) === 'b', 30_000)
  await fed.change(() => putResource(plane, XDS.endpoints, xdsEndpoints('big', { host: '127.0.0.1', port: fed.c.port })))
  t.equal(await fed.ask('big'), 'c')
  await fed.change(() => putResource(plane, XDS.endpoints, xdsEndpoints('big', ...many.with(4000, at(fed.c)))))
  t.equal(await fed.ask('big'), 'b')
  fed.unharmed(t)
})

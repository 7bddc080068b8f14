// What Istio's agent does for a pod, done by heddle: probes, metrics, names and roots of the mesh.
import { spawn } from 'node:child_process'
import { Resolver } from 'node:dns/promises'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer, type ServerOptions } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { encode } from '../../lib/xds/proto/encode.ts'
import { NameTable } from '../../lib/xds/proto/istio-agent.ts'
import { DnsServer } from '../support/dns-server.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { GrpcHealthServer } from '../support/grpc-health-server.ts'
import { BIN, httpRequest, runHeddle, startProxy } from '../support/proxy.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'

interface App {
  readonly port: number
  readonly asked: IncomingMessage[]
  /** Whom they came from. */
  readonly from: (string | undefined)[]
}

async function startApp(
  t: Teardown,
  answer: (req: IncomingMessage, res: ServerResponse) => void,
  secure: ServerOptions | null = null,
): Promise<App> {
  const asked: IncomingMessage[] = []
  const from: (string | undefined)[] = []
  const take = (req: IncomingMessage, res: ServerResponse): void => {
    asked.push(req)
    from.push(req.socket.remoteAddress)
    answer(req, res)
  }
  const server = secure === null ? createServer(take) : createSecureServer(secure, take)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { port: (server.address() as { port: number }).port, asked, from }
}

t.setTimeout(120_000)

t.test('probes of the application', async (t) => {
  const app = await startApp(t, (req, res) => {
    if (req.url === '/moved') res.writeHead(302, { location: '/well?x=1' }).end()
    else if (req.url === '/away') res.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()
    else if (req.url === '/round') res.writeHead(302, { location: '/round' }).end()
    else if (req.url === '/silent') return
    else if (req.url === '/long') res.end('x'.repeat(100_000))
    else res.writeHead(req.url?.startsWith('/well') ? 200 : 503).end(req.url)
  })
  const grpc = await GrpcHealthServer.start(t)
  const tcp = createTcpServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve))
  t.teardown(() => tcp.close())
  // Of no root that anybody knows, and for another name, as a kubelet has it.
  const { chain, key } = await (await SigningCa.root(t)).issue({ dnsNames: ['nobody.example'] })
  const secure = await startApp(t, (_, res) => res.writeHead(200).end('secure'), { cert: chain, key })
  const statusPort = await freePort()
  const closed = await freePort()
  const http = (way: string, more: object = {}) => ({ httpGet: { path: way, port: app.port, ...more }, timeoutSeconds: 5 })
  const headers = [
    { name: 'Host', value: 'web.shop' },
    { name: 'X-Mine', value: 'a' },
  ]
  const probes = {
    '/app-health/web/livez': http('/well', { httpHeaders: headers }),
    '/app-health/web/readyz': http('/ill'),
    '/app-health/moved/livez': http('/moved'),
    '/app-health/away/livez': http('/away'),
    '/app-health/round/livez': http('/round'),
    '/app-health/long/livez': http('/long'),
    '/app-health/silent/livez': { httpGet: { path: '/silent', port: app.port }, timeoutSeconds: 0.2 },
    '/app-health/none/livez': { httpGet: { path: '/', port: closed } },
    '/app-health/tcp/livez': { tcpSocket: { port: (tcp.address() as { port: number }).port } },
    '/app-health/tcp/readyz': { tcpSocket: { port: closed } },
    '/app-health/tls/livez': { httpGet: { path: '/well', port: secure.port, scheme: 'HTTPS' }, timeoutSeconds: 5 },
    '/app-health/tls/readyz': { httpGet: { path: '/well', port: secure.port }, timeoutSeconds: 5 },
    '/app-health/grpc/livez': { grpc: { port: grpc.port }, timeoutSeconds: 5 },
    '/app-health/grpc/readyz': { grpc: { port: grpc.port, service: 'nobody' }, timeoutSeconds: 5 },
  }
  await startProxy(t, { bootstrap: { agent: { address: '127.0.0.1', statusPort, probes } } })
  const ask = (name: string, method = 'GET') => httpRequest(statusPort, `/app-health/${name}`, method)
  for (const [name, status, body] of [
    ['web/livez', 200, /^\/well$/],
    ['web/livez?port=1', 200, /^\/well$/],
    ['web/readyz', 503, /^\/ill$/],
    ['moved/livez', 200, /^\/well\?x=1$/],
    ['away/livez', 302, /^$/],
    ['round/livez', 500, /redirects/],
    ['silent/livez', 500, /no whole answer within 200 ms/],
    ['none/livez', 500, /ECONNREFUSED/],
    ['tcp/livez', 200, /^$/],
    ['tcp/readyz', 500, /ECONNREFUSED/],
    ['tls/livez', 200, /^secure$/],
    ['tls/readyz', 500, /./],
    ['grpc/livez', 200, /^$/],
    ['grpc/readyz', 500, /grpc-status 5/],
    ['other/livez', 400, /no such probe/],
    ['web/livez/..', 400, /no such probe/],
  ] as const) {
    const answer = await ask(name)
    t.equal(answer.status, status, name)
    t.match(answer.body, body, name)
  }
  t.equal((await ask('long/livez')).body.length, 10 * 1024, 'the beginning is enough')
  t.equal((await ask('web/livez', 'POST')).status, 405)
  const first = app.asked[0]
  t.match(first?.headers, { host: 'web.shop', 'x-mine': 'a' })
  t.equal(app.from[0], '127.0.0.6', 'which is not captured')
  await fetch(`http://127.0.0.1:${statusPort}/app-health/web/livez`, {
    headers: { 'user-agent': 'kube-probe/1.33', 'x-mine': 'b' },
  })
  t.match(
    app.asked.at(-1)?.headers,
    { 'user-agent': 'kube-probe/1.33', 'x-mine': 'a' },
    'the kubelet’s headers, and above them the probe’s own',
  )
})

t.test('metrics of application and proxy', async (t) => {
  const app = await startApp(t, (req, res) => {
    if (req.url === '/own')
      res
        .writeHead(200, { 'content-type': 'application/openmetrics-text' })
        .end('own_total 7\nprocess_cpu_seconds_total 1\n# EOF\n')
    else if (req.url === '/page')
      res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>wrong_total 2</html>')
    else if (req.url === '/slow') res.writeHead(200).write('wrong_total 3\n')
    else res.writeHead(500).end('wrong_total 1\n')
  })
  const [statusPort, metricsPort] = [await freePort(), await freePort()]
  const ways = ['own', 'broken', 'page', 'slow'].map((way) => `${app.port}/${way}`)
  const applicationMetrics = [...ways, `${await freePort()}/nobody`]
  const agent = { address: '127.0.0.1', statusPort, metricsPort, applicationMetrics }
  const proxy = await startProxy(t, { bootstrap: { agent } })
  const scrape = (way: string) =>
    fetch(`http://127.0.0.1:${statusPort}${way}`, { headers: { 'x-prometheus-scrape-timeout-seconds': '0.5' } })
  for (const way of ['/stats/prometheus', '/metrics']) {
    const answer = await scrape(way)
    const [status, headers, body] = [answer.status, Object.fromEntries(answer.headers), await answer.text()]
    t.equal(status, 200)
    t.match(headers['content-type'], /^text\/plain; version=0\.0\.4/)
    t.match(body, /^heddle_workers \d/m)
    t.match(body, /\nown_total 7\nprocess_cpu_seconds_total 1\n/)
    t.equal(body.match(/^process_cpu_seconds_total/gm)?.length, 1, 'of one process only')
    t.notMatch(body, /wrong_total|# EOF/)
  }
  const counted = await (await scrape('/metrics')).text()
  t.match(counted, /^istio_agent_scrapes_total 3$/m)
  t.match(counted, /^istio_agent_scrape_failures_total\{type="application"\} 12$/m)
  t.match(app.asked[0]?.headers.accept, /text\/plain/)
  const own = await httpRequest(metricsPort, '/stats/prometheus?usedonly')
  t.equal(own.status, 200)
  t.match(own.body, /^process_cpu_seconds_total/m)
  t.notMatch(own.body, /own_total/)
  for (const way of ['/', '/config_dump', '/quitquitquit']) t.equal((await httpRequest(metricsPort, way)).status, 404, way)
  t.equal((await httpRequest(metricsPort, '/stats/prometheus', 'POST')).status, 405)

  t.equal((await httpRequest(statusPort, '/healthz/ready')).status, 200)
  t.equal((await httpRequest(statusPort, '/config_dump')).status, 404)
  t.equal((await httpRequest(statusPort, '/debug/ndsz')).body, 'null\n')
  t.equal((await httpRequest(statusPort, '/quitquitquit')).status, 405)
  const evil = await fetch(`http://127.0.0.1:${statusPort}/quitquitquit`, {
    method: 'POST',
    headers: { origin: 'http://evil.example' },
  })
  t.equal(evil.status, 403, 'of a web page')
  t.equal((await httpRequest(statusPort, '/quitquitquit', 'POST')).status, 200)
  t.equal((await proxy.exited).code, 0)
})

t.test('names and roots of the mesh', async (t) => {
  const plane = await FakeControlPlane.start(t)
  const upstream = await DnsServer.start(t, { 'example.com': { addresses: ['1.2.3.4'], ttl: 7 } })
  const dnsPort = await freePort()
  const statusPort = await freePort()
  const info = (ip: string) => ({ ips: [ip], registry: 'Kubernetes', shortname: 'reviews', namespace: 'shop', alt_hosts: [] })
  const table = (ip: string) => encode(NameTable, { table: new Map([['reviews.shop.svc.cluster.local', info(ip)]]) })
  const xds = { address: plane.hostAndPort, transport: 'plaintext' }
  const bootstrap = {
    ...{ resources: [], listeners: [], xds, workload: { namespace: 'shop' } },
    dns: { port: dnsPort, servers: [upstream.address] },
    agent: { address: '127.0.0.1', statusPort },
  }
  plane.answers = (typeUrl) => typeUrl !== XDS.nameTable
  const proxy = await startProxy(t, { bootstrap })
  const resolver = new Resolver({ timeout: 3000, tries: 1 })
  resolver.setServers([`127.0.0.1:${dnsPort}`])
  await t.rejects(resolver.resolve4('example.com'), { code: 'ESERVFAIL' }, 'nobody knows yet whose name it is')
  plane.answers = () => true
  plane.put(XDS.nameTable, '', table('10.0.0.1'))
  await plane.answered(XDS.nameTable)
  await eventually('the name is known', async () => (await resolver.resolve4('reviews').catch(() => []))[0] === '10.0.0.1')
  t.same(await resolver.resolve4('example.com'), ['1.2.3.4'])
  const types = plane.said.filter((s) => s.kind === 'request').map((s) => s.typeUrl)
  t.ok(types.indexOf(XDS.nameTable) > types.indexOf(XDS.listener), 'it is asked for behind the listeners')
  t.notOk(types.includes(XDS.proxyConfig), 'who has no identity needs no roots')

  plane.put(XDS.nameTable, '', table('10.0.0.2'))
  await eventually('it has another address', async () => (await resolver.resolve4('reviews.shop'))[0] === '10.0.0.2')
  plane.put(XDS.nameTable, '', Buffer.from([0x0a, 0xff]))
  t.match((await plane.answered(XDS.nameTable, 'NACK')).error, /cannot be read/)
  t.same(await resolver.resolve4('reviews.shop'), ['10.0.0.2'], 'what was good stays')
  t.match(JSON.parse((await httpRequest(statusPort, '/debug/ndsz')).body), {
    table: { 'reviews.shop.svc.cluster.local': { ips: ['10.0.0.2'], registry: 'Kubernetes' } },
  })
  plane.stop()
  t.same(await resolver.resolve4('reviews.shop'), ['10.0.0.2'], 'also while it is away')
  const metrics = await proxy.metrics()
  t.ok((metrics.value('heddle_dns_queries_total', { outcome: 'table' }) ?? 0) > 3)
})

t.test('in the place of pilot-agent', async (t) => {
  const plane = await FakeControlPlane.start(t)
  plane.answers = () => false
  const ports = { health: await freePort(), status: await freePort(), metrics: await freePort(), dns: await freePort() }
  const certificates = mkdtempSync(path.join(tmpdir(), 'heddle-agent-'))
  t.teardown(() => rmSync(certificates, { recursive: true, force: true }))
  const authority = await SigningCa.root(t)
  const { chain, key } = await authority.issue({ uris: ['spiffe://cluster.local/ns/shop/sa/web'] })
  const env = {
    PROXY_CONFIG: JSON.stringify({
      discoveryAddress: plane.hostAndPort,
      controlPlaneAuthPolicy: 'NONE',
      statusPort: ports.status,
    }),
    ...{ POD_NAME: 'web-1', POD_NAMESPACE: 'shop', INSTANCE_IP: '127.0.0.1', SERVICE_ACCOUNT: 'web', GOMEMLIMIT: '1' },
    ISTIO_META_ENVOY_STATUS_PORT: String(ports.health),
    ISTIO_META_ENVOY_PROMETHEUS_PORT: String(ports.metrics),
    ...{ ISTIO_META_INTERCEPTION_MODE: 'NONE', ISTIO_META_DNS_CAPTURE: 'true', DNS_PROXY_ADDR: `localhost:${ports.dns}` },
    ...{ HEDDLE_ADMIN_PORT: '0', HEDDLE_XDS_STATE: '', HEDDLE_IDENTITY_SOURCE: 'files' },
    HEDDLE_IDENTITY_FILES_CERTIFICATE_CHAIN: path.join(certificates, 'chain.pem'),
    HEDDLE_IDENTITY_FILES_PRIVATE_KEY: path.join(certificates, 'key.pem'),
    HEDDLE_IDENTITY_FILES_ROOTS: path.join(certificates, 'root.pem'),
  }
  const args = ['--domain', 'shop.svc.cluster.local', '--proxyLogLevel=warning', '--proxyComponentLogLevel=misc:error']
  const command = ['proxy', 'sidecar', ...args, '--log_output_level=default:info']
  const printed = await runHeddle([...command, '--print-config'], { env })
  t.equal(printed.code, 0, printed.stderr)
  t.match(printed.stdout, /^role: sidecar$/m)

  const child = spawn(process.execPath, [BIN, ...command], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (d: string) => {
    said += d
  })
  const ended = new Promise((resolve) => child.on('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  await eventually('it says what it waits for', async () => {
    const { status, body } = await httpRequest(ports.health, '/healthz/ready').catch(() => ({ status: 0, body: '' }))
    return status === 503 && /^not ready: waiting for ./.test(body)
  }).catch((error: Error) => {
    throw new Error(`${error.message}\n${said}`)
  })
  const url = `http://127.0.0.1:${ports.health}/healthz/ready`
  const early = await runHeddle(['wait', '--url', url, '--timeoutSeconds', '0.3', '--periodMillis', '50'])
  t.not(early.code, 0)
  t.match(early.stderr, /not ready: waiting for/)

  plane.answers = () => true
  plane.stop()
  await plane.resume()
  const waiting = /^not ready: waiting for the workload's certificate \(.*chain\.pem: no such file/
  let last = ''
  await eventually('all but the certificate is there', async () => {
    last = (await httpRequest(ports.health, '/healthz/ready')).body
    return waiting.test(last)
  }).catch((error: Error) => {
    throw new Error(`${error.message}: ${last}`)
  })
  for (const [name, text] of [
    ['root.pem', authority.rootPem],
    ['key.pem', key],
    ['chain.pem', chain],
  ] as const)
    writeFileSync(path.join(certificates, name), text)
  const late = await runHeddle(['wait', '--url', url, '--timeoutSeconds', '15', '--periodMillis', '50'])
  t.equal(late.code, 0, late.stderr + said)
  const [node] = plane.said.flatMap((s) => (s.node === null ? [] : [s.node]))
  t.equal(node?.id, 'sidecar~127.0.0.1~web-1.shop~shop.svc.cluster.local')
  t.match(node?.metadata, { INTERCEPTION_MODE: 'NONE', DNS_CAPTURE: 'true', SERVICE_ACCOUNT: 'web' })
  t.match((await httpRequest(ports.status, '/stats/prometheus')).body, /^heddle_workers/m)
  t.match((await httpRequest(ports.metrics, '/stats/prometheus')).body, /^heddle_workers/m)
  t.ok(plane.saidOf(XDS.nameTable).length > 0)
})

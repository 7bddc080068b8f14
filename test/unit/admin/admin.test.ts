// The admin page and the readiness port, asked over real HTTP.
import { type IncomingHttpHeaders, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { AdminServer } from '../../../lib/admin/admin-server.ts'
import type { AdminSource, HostHealth, ProxyState } from '../../../lib/admin/admin-source.ts'
import { redactedJson } from '../../../lib/admin/config-dump.ts'
import type { DumpedConfig } from '../../../lib/admin/dumped-config.ts'
import { HealthServer } from '../../../lib/admin/health-server.ts'
import { isLocalHost, isLocalOrigin } from '../../../lib/admin/origin-check.ts'
import type { Ejection } from '../../../lib/cluster/ejection.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import type { ResourceStatus, Snapshot } from '../../../lib/state/snapshot.ts'
import { Logger } from '../../../lib/telemetry/logger.ts'
import { aCluster, anEndpoint, aRoute, aRouteTable, aSnapshot, aVirtualHost } from '../../support/nouns.ts'

const LOOPBACK = { address: '127.0.0.1', port: 0 }

const cluster = aCluster({
  name: 'outbound|9080||reviews',
  endpoints: [anEndpoint({ address: '10.0.0.9', weight: 3, locality: { region: 'r1', zone: 'z1', subzone: '' } })],
  limits: { maxConnections: 10, maxPendingRequests: 20, maxRequests: 30, maxRetries: 3 },
  host: 'reviews',
  serviceName: 'reviews',
  origin: { kind: 'ServiceEntry', namespace: 'default', name: 'reviews', file: 'mesh/reviews.yaml', line: 3, column: 1 },
})

const route = aRoute({
  action: { kind: 'direct', status: 200, body: '' },
  requestEdits: [
    { op: 'set', name: 'Authorization', value: 'Bearer hunter2' },
    { op: 'set', name: 'x-plain', value: 'shown' },
  ],
})

const snapshot = aSnapshot({
  version: 4,
  routeTables: [aRouteTable({ virtualHosts: [aVirtualHost({ name: 'reviews', domains: ['reviews'], routes: [route] })] })],
  clusters: [cluster],
})

const refused: ResourceStatus = {
  kind: 'VirtualService',
  namespace: 'default',
  name: 'broken',
  state: 'refused',
  reason: 'unknown field',
  file: 'mesh/broken.yaml',
  line: 7,
  column: 3,
}

const inUse = { connections: 1, pendingRequests: 2, requests: 3, retries: 4 }
const host = { activeRequests: 1, connections: 2, idleConnections: 1, http2Connections: 0, requestsTotal: 5, connectFailures: 1 }

const WELL: HostHealth = {
  failedOutlierCheck: false,
  failedActiveCheck: false,
  unchecked: false,
  successRate: null,
  localSuccessRate: null,
  ejection: null,
}

const USED = { table: '9080', name: 'reviews', domains: ['reviews'] }
const USE: Awaited<ReturnType<AdminSource['configUse']>> = {
  workers: [
    { clusters: [cluster.name], virtualHosts: [USED], heapBytes: 1000 },
    { clusters: [cluster.name, 'outbound|80||gone.shop.svc.cluster.local'], virtualHosts: [], heapBytes: 2000 },
  ],
  bytes: { clusters: 1, virtualHosts: 2, arenas: 4 },
  sent: [],
}

const DUMPED: DumpedConfig = {
  fed: false,
  node: { id: 'n' },
  startedMs: 0,
  clustersVersion: '',
  listenersVersion: '',
  clusters: [],
  listeners: [],
  routes: [],
  inlineRoutes: () => [],
  endpoints: [],
  extensions: [],
  secrets: [],
  missingSecrets: [],
}

const SINCE = Date.parse('2026-01-02T03:04:05Z')

const EJECTION: Ejection = {
  cluster: cluster.name,
  address: '10.0.0.9:9080',
  detector: 'consecutive_5xx',
  reason: '2 failures in a row',
  policy: BUILT_IN,
  sinceMs: SINCE,
  durationMs: 30_000,
  multiplier: 1,
  evidence: [
    { id: 'a', status: 503, cause: '', atMs: SINCE - 1000 },
    { id: '', status: 0, cause: 'connection termination', atMs: SINCE },
  ],
  endedMs: 0,
  ended: '',
}

class Source implements AdminSource {
  readonly calls: string[] = []
  proxy: ProxyState = {
    server: 'LIVE',
    configVersion: 4,
    lastGood: true,
    problems: ['mesh/broken.yaml:7:3: unknown field'],
    workersReady: 2,
    workers: 2,
  }
  level: 'debug' | 'info' | 'warning' | 'error' = 'info'
  ejected: readonly Ejection[] = []
  health: HostHealth = WELL
  view: ReturnType<AdminSource['tunnel']> = null
  status: ReturnType<AdminSource['controlPlane']> = null

  state(): ProxyState {
    return this.proxy
  }
  metricsText(): string {
    return '# TYPE a counter\na{x="1 2"} 3\nb 0\n'
  }
  snapshot(): Snapshot {
    return snapshot
  }
  statuses(): readonly ResourceStatus[] {
    return [refused, { ...refused, name: 'good', state: 'in-force', reason: '' }]
  }
  async workerViews(): ReturnType<AdminSource['workerViews']> {
    return [
      { clusters: [{ name: cluster.name, inUse, hosts: [{ address: '10.0.0.9:9080', ...host }] }] },
      {
        clusters: [
          {
            name: cluster.name,
            inUse,
            hosts: [
              { address: '10.0.0.9:9080', ...host },
              { address: '[fd00::1]:9080', ...host },
            ],
          },
          { name: 'gone', inUse, hosts: [] },
        ],
      },
    ]
  }
  listeners(): ReturnType<AdminSource['listeners']> {
    return [
      { name: 'out', direction: 'outbound', protocol: 'http', bound: { address: '127.0.0.1', port: 8080 } },
      { name: 'six', direction: 'outbound', protocol: 'tcp', bound: { address: '::1', port: 5432 } },
    ]
  }
  serverInfo(): ReturnType<AdminSource['serverInfo']> {
    return {
      version: '0.1.0',
      uptimeSeconds: 12.7,
      bootstrap: { role: 'sidecar', concurrency: 2, logLevel: 'info', drain: { deadlineMs: 5000 } } as never,
    }
  }
  logLevel(): Source['level'] {
    return this.level
  }
  setLogLevel(level: Source['level']): void {
    this.level = level
  }
  setUnwell(unwell: boolean): void {
    this.calls.push(unwell ? 'unwell' : 'well')
  }
  quit(): void {
    this.calls.push('quit')
  }
  drain(): void {
    this.calls.push('drain')
  }
  controlPlane(): ReturnType<AdminSource['controlPlane']> {
    return this.status
  }
  tunnel(): ReturnType<AdminSource['tunnel']> {
    return this.view
  }
  dumpedConfig(): DumpedConfig {
    return DUMPED
  }
  async configUse(): ReturnType<AdminSource['configUse']> {
    return USE
  }
  ejections(): readonly Ejection[] {
    return this.ejected
  }
  hostHealth(): HostHealth {
    return this.health
  }
  async explain(id: string): Promise<unknown> {
    if (id === 'boom') throw new Error('worker said no')
    return id === 'known' ? { id, verdict: 'forward' } : null
  }
}

interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

function ask(port: number, method: string, path: string, headers: Record<string, string> = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(chunks).toString() }))
    })
    req.on('error', reject)
    req.end()
  })
}

async function admin(t: Test): Promise<{ source: Source; port: number; log: string[] }> {
  const source = new Source()
  const log: string[] = []
  const server = new AdminServer(LOOPBACK, source, new Logger({ level: 'info', write: (line) => void log.push(line) }))
  const { port } = await server.listen()
  t.teardown(() => server.close())
  return { source, port, log }
}

t.test('pages', async (t) => {
  const { port } = await admin(t)
  const rows: [method: string, path: string, status: number, body: string | RegExp][] = [
    ['GET', '/', 200, /<a href="\/clusters">/],
    ['GET', '/help', 200, /^admin commands are:\n(?: .*\n)* {2}\/quitquitquit \(POST\): /],
    ['GET', '/ready', 200, 'LIVE\n'],
    ['HEAD', '/ready', 200, ''],
    ['GET', '/stats/prometheus', 200, '# TYPE a counter\na{x="1 2"} 3\nb 0\n'],
    ['GET', '/metrics', 200, '# TYPE a counter\na{x="1 2"} 3\nb 0\n'],
    ['GET', '/stats', 200, 'a{x="1 2"}: 3\nb: 0\n'],
    ['GET', '/stats?usedonly', 200, 'a{x="1 2"}: 3\n'],
    ['GET', '/stats?filter=%5Eb', 200, 'b: 0\n'],
    ['GET', '/stats?filter=(', 400, /RE2/],
    ['GET', '/stats?format=prometheus', 200, '# TYPE a counter\na{x="1 2"} 3\nb 0\n'],
    ['GET', '/listeners', 200, 'out::127.0.0.1:8080\nsix::[::1]:5432\n'],
    ['GET', '/explain', 400, /id=/],
    ['GET', '/explain?id=unknown', 404, /no worker remembers/],
    ['GET', '/config_dump?resource=secrets', 404, /no such part/],
    ['GET', '/config_dump?resource=__proto__', 404, /no such part/],
    ['GET', '/nothing', 404, /^invalid path\. admin commands are:/],
    ['POST', '/nothing', 404, /^invalid path/],
    ['GET', '/quitquitquit', 405, 'Method GET not allowed, POST required.'],
    ['HEAD', '/quitquitquit', 405, ''],
    ['GET', '/drain_listeners', 405, 'Method GET not allowed, POST required.'],
    ['GET', '/logging?level=debug', 405, 'Method GET not allowed, POST required.'],
    ['PUT', '/logging', 405, 'Method PUT not allowed, POST required.'],
    ['POST', '/ready', 405, 'Method POST not allowed, GET required.'],
  ]
  for (const [method, path, status, body] of rows) {
    const reply = await ask(port, method, path)
    t.equal(reply.status, status, `${method} ${path}`)
    if (typeof body === 'string') t.equal(reply.body, body, `${method} ${path}`)
    else t.match(reply.body, body, `${method} ${path}`)
  }
  t.equal((await ask(port, 'GET', '/stats/prometheus')).headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  t.equal((await ask(port, 'GET', '/quitquitquit')).headers['allow'], 'POST')
})

t.test('JSON pages', async (t) => {
  const { port } = await admin(t)
  const get = async (path: string): Promise<Record<string, unknown>> => {
    const reply = await ask(port, 'GET', path)
    t.equal(reply.headers['content-type'], 'application/json', path)
    return JSON.parse(reply.body) as Record<string, unknown>
  }
  t.match(await get('/server_info'), {
    version: '0.1.0',
    state: 'LIVE',
    uptime_current_epoch: '12s',
    bootstrap: { role: 'sidecar' },
  })
  t.strictSame(await get('/explain?id=known'), { id: 'known', verdict: 'forward' })
  t.match(await get('/listeners?format=json'), {
    listener_statuses: [
      { name: 'out', local_address: { socket_address: { address: '127.0.0.1', port_value: 8080 } } },
      { name: 'six', local_address: { socket_address: { address: '::1', port_value: 5432 } } },
    ],
  })
  t.match(await get('/config_dump'), {
    version: 4,
    lastGood: true,
    clusters: [{ name: 'outbound|9080||reviews', origin: { file: 'mesh/reviews.yaml', line: 3 } }],
    resources: [{ name: 'broken', state: 'refused' }, { name: 'good' }],
  })
  t.strictSame(Object.keys(await get('/config_dump?resource=clusters')), ['clusters'])
})

t.test('the dump shows no credentials', async (t) => {
  const { port } = await admin(t)
  const { body } = await ask(port, 'GET', '/config_dump')
  t.notMatch(body, 'hunter2')
  const [table] = (JSON.parse(body) as { routeTables: Snapshot['routeTables'] }).routeTables
  t.strictSame(table?.virtualHosts[0]?.routes[0]?.requestEdits, [
    { op: 'set', name: 'Authorization', value: '[redacted]' },
    { op: 'set', name: 'x-plain', value: 'shown' },
  ])
  t.equal(route.requestEdits[0]?.value, 'Bearer hunter2', 'the snapshot itself is as it was')
  const probe = { headers: [['authorization', 'hunter2'] as const, ['x-plain', 'shown'] as const] }
  t.same(
    JSON.parse(redactedJson({ clusters: [{ endpoints: [{ healthCheck: { probe } }] }] })).clusters[0].endpoints[0].healthCheck,
    {
      probe: {
        headers: [
          ['authorization', '[redacted]'],
          ['x-plain', 'shown'],
        ],
      },
    },
  )
})

t.test('clusters are summed over workers', async (t) => {
  const { port } = await admin(t)
  const text = (await ask(port, 'GET', '/clusters')).body
  for (const line of [
    'outbound|9080||reviews::default_priority::max_connections::10',
    'outbound|9080||reviews::default_priority::connections::2',
    'outbound|9080||reviews::default_priority::retries::8',
    'outbound|9080||reviews::10.0.0.9:9080::cx_active::4',
    'outbound|9080||reviews::10.0.0.9:9080::rq_total::10',
    'outbound|9080||reviews::10.0.0.9:9080::weight::3',
    'outbound|9080||reviews::10.0.0.9:9080::zone::z1',
    'outbound|9080||reviews::[fd00::1]:9080::rq_total::5',
  ]) {
    t.ok(text.includes(`${line}\n`), line)
  }
  const json = JSON.parse((await ask(port, 'GET', '/clusters?format=json')).body) as Record<string, unknown>
  t.match(json, {
    cluster_statuses: [
      {
        name: 'outbound|9080||reviews',
        circuit_breakers: { thresholds: [{ priority: 'DEFAULT', max_requests: 30 }] },
        host_statuses: [
          {
            address: { socket_address: { address: '10.0.0.9', port_value: 9080 } },
            weight: 3,
            locality: { region: 'r1', zone: 'z1' },
            stats: [
              { name: 'cx_active', value: '4', type: 'GAUGE' },
              { name: 'cx_connect_fail', value: '2', type: 'COUNTER' },
            ],
          },
          { address: { socket_address: { address: 'fd00::1', port_value: 9080 } } },
        ],
      },
    ],
  })
})

t.test('clusters say how endpoints are', async (t) => {
  const { port, source } = await admin(t)
  const lines = async () => (await ask(port, 'GET', '/clusters')).body.split('\n').filter((l) => l.includes('::10.0.0.9:9080::'))
  const line = (key: string, value: string) => `outbound|9080||reviews::10.0.0.9:9080::${key}::${value}`
  const hostOf = async () => {
    const { body } = await ask(port, 'GET', '/clusters?format=json')
    return (JSON.parse(body) as { cluster_statuses: { host_statuses: object[] }[] }).cluster_statuses[0]?.host_statuses[0]
  }
  const well = await lines()
  for (const [key, value] of [
    ['health_flags', 'healthy'],
    ['success_rate', '-1'],
    ['local_origin_success_rate', '-1'],
  ] as const)
    t.ok(well.includes(line(key, value)), key)
  t.match(await hostOf(), { health_status: { eds_health_status: 'HEALTHY', failed_outlier_check: undefined } })
  source.health = { ...WELL, failedActiveCheck: true, failedOutlierCheck: true, successRate: 62.5, ejection: EJECTION }
  const ill = await lines()
  for (const [key, value] of [
    ['health_flags', '/failed_active_hc/failed_outlier_check'],
    ['success_rate', '62.5'],
    ['ejected_by', 'consecutive_5xx'],
    ['ejected_since', '2026-01-02T03:04:05.000Z'],
    ['ejected_until', '2026-01-02T03:04:35.000Z'],
  ] as const)
    t.ok(ill.includes(line(key, value)), key)
  t.match(await hostOf(), {
    health_status: { failed_active_health_check: true, failed_outlier_check: true },
    success_rate: { value: 62.5 },
    ejection: { until: '2026-01-02T03:04:35.000Z' },
  })
  source.health = { ...WELL, unchecked: true }
  t.ok((await lines()).includes(line('health_flags', '/pending_active_hc')))
})

t.test('what a tunnel knows', async (t) => {
  const { port, source } = await admin(t)
  t.equal((await ask(port, 'GET', '/workloads')).status, 404, 'other roles have none')
  const world = { workloads: [], services: [], policies: [] }
  const node = { name: 'node1', pod: '', network: '', clusterId: 'Kubernetes' }
  source.view = { source: 'control plane', node, waitingFor: ['the node agent'], pods: [], world }
  t.same(JSON.parse((await ask(port, 'GET', '/workloads')).body), {
    source: 'control plane',
    node,
    waitingFor: ['the node agent'],
    pods: [],
    ...world,
  })
})

t.test('how it stands with the control plane', async (t) => {
  const { port, source } = await admin(t)
  t.equal((await ask(port, 'GET', '/control_plane')).status, 404, 'there is none')
  source.status = { state: 'connected', types: [] }
  t.same(JSON.parse((await ask(port, 'GET', '/control_plane')).body), { state: 'connected', types: [] })
})

t.test('ejections', async (t) => {
  const { port, source } = await admin(t)
  t.equal((await ask(port, 'GET', '/ejections')).body, 'no endpoint has been ejected\n')
  source.ejected = [EJECTION, { ...EJECTION, endedMs: EJECTION.sinceMs + 31_000, ended: 'time' }]
  const text = (await ask(port, 'GET', '/ejections')).body.split('\n')
  t.equal(
    text[0],
    '10.0.0.9:9080 of outbound|9080||reviews: consecutive_5xx, 2 failures in a row; since 2026-01-02T03:04:05.000Z until the first sweep after 2026-01-02T03:04:35.000Z; built-in default',
  )
  t.same(text.slice(1, 3), ['  2026-01-02T03:04:04.000Z a: 503', '  2026-01-02T03:04:05.000Z without id: connection termination'])
  t.match(text[3], /until 2026-01-02T03:04:36\.000Z \(time\)/)
  const json = JSON.parse((await ask(port, 'GET', '/ejections?format=json')).body) as { ejections: object[] }
  t.match(json.ejections[0], {
    detector: 'consecutive_5xx',
    until: '2026-01-02T03:04:35.000Z',
    duration_ms: 30_000,
    multiplier: 1,
    ended: undefined,
    requests: [{ id: 'a', status: 503 }, { cause: 'connection termination' }],
  })
  t.match(json.ejections[1], { ended: 'time', until: '2026-01-02T03:04:36.000Z' })
})

t.test('readiness tells the state', async (t) => {
  const { port, source } = await admin(t)
  const detail = await ask(port, 'GET', '/ready?detail')
  t.equal(detail.status, 200)
  t.strictSame(JSON.parse(detail.body), {
    state: 'LIVE',
    configVersion: 4,
    lastGood: true,
    problems: ['mesh/broken.yaml:7:3: unknown field'],
    workersReady: 2,
    workers: 2,
    resources: [refused],
  })
  for (const server of ['DRAINING', 'INITIALIZING', 'PRE_INITIALIZING'] as const) {
    source.proxy = { ...source.proxy, server }
    const reply = await ask(port, 'GET', '/ready')
    t.strictSame([reply.status, reply.body], [503, `${server}\n`])
    t.equal((await ask(port, 'GET', '/ready?detail')).status, 503)
  }
})

t.test('acting pages act', async (t) => {
  const { port, source } = await admin(t)
  t.strictSame(await ask(port, 'POST', '/logging').then((r) => r.body), 'active loggers:\n  heddle: info\n')
  t.strictSame(await ask(port, 'POST', '/logging?level=debug').then((r) => r.body), 'active loggers:\n  heddle: debug\n')
  t.equal(source.level, 'debug')
  const wrong = await ask(port, 'POST', '/logging?level=loud')
  t.equal(wrong.status, 400)
  t.match(wrong.body, 'debug, info, warning, error')
  t.equal(source.level, 'debug')
  t.equal((await ask(port, 'POST', '/drain_listeners')).body, 'OK\n')
  const quit = new Promise<void>((resolve) => {
    source.quit = () => {
      source.calls.push('quit')
      resolve()
    }
  })
  t.equal((await ask(port, 'POST', '/quitquitquit')).body, 'OK\n')
  await quit
  t.strictSame(source.calls, ['drain', 'quit'])
})

t.test('a page that fails costs that answer only', async (t) => {
  const { port, log } = await admin(t)
  t.equal((await ask(port, 'GET', '/explain?id=boom')).status, 500)
  t.match(log.join(''), /admin page failed.*worker said no/)
  t.equal((await ask(port, 'GET', '/ready')).status, 200)
})

t.test('names from outside are turned away', async (t) => {
  const { port, source } = await admin(t)
  const rows: [method: string, path: string, headers: Record<string, string>, status: number][] = [
    ['GET', '/config_dump', { host: 'evil.com' }, 403],
    ['GET', '/config_dump', { host: `evil.com:${port}` }, 403],
    ['GET', '/config_dump', { host: 'localhost:9' }, 200],
    ['POST', '/quitquitquit', { host: 'evil.com' }, 403],
    ['POST', '/quitquitquit', { origin: 'http://evil.com' }, 403],
    ['POST', '/quitquitquit', { origin: 'null' }, 403],
    ['GET', '/config_dump', { origin: 'http://evil.com' }, 403],
    ['POST', '/drain_listeners', { origin: `http://localhost:${port}` }, 200],
  ]
  for (const [method, path, headers, status] of rows) {
    t.equal((await ask(port, method, path, headers)).status, status, `${method} ${path} ${JSON.stringify(headers)}`)
  }
  t.strictSame(source.calls, ['drain'])
})

t.test('hosts and origins that are local', async (t) => {
  const hosts: [host: string | undefined, local: boolean][] = [
    ['localhost', true],
    ['LOCALHOST:15000', true],
    ['a.localhost', true],
    ['127.0.0.1:15000', true],
    ['127.1.2.3', true],
    ['[::1]', true],
    ['[::1]:15000', true],
    ['10.0.0.5:15000', true], // bound to it
    ['10.0.0.6', false],
    ['127.0.0.1.evil.com', false],
    ['127.evil.com', false],
    ['localhost.evil.com', false],
    ['evil.com', false],
    ['localhost@evil.com', false],
    ['localhost:1:2', false],
    ['::1', false], // an address without brackets is no Host
    ['0.0.0.0', false],
    ['', false],
    [undefined, false],
  ]
  for (const [host, local] of hosts) t.equal(isLocalHost(host, '10.0.0.5'), local, String(host))
  t.notOk(isLocalHost('0.0.0.0', '0.0.0.0'))
  const origins: [origin: string | undefined, local: boolean][] = [
    [undefined, true],
    ['http://localhost:15000', true],
    ['https://127.0.0.1', true],
    ['http://[::1]:1', true],
    ['null', false],
    ['', false],
    ['http://evil.com', false],
    ['http://localhost@evil.com', false],
    ['http://localhost.evil.com', false],
    ['file://', false],
  ]
  for (const [origin, local] of origins) t.equal(isLocalOrigin(origin, '127.0.0.1'), local, String(origin))
})

t.test('readiness port', async (t) => {
  let ready = false
  const server = new HealthServer(LOOPBACK, () => (ready ? [] : ['the first configuration']))
  const { port } = await server.listen()
  t.teardown(() => server.close())
  const look = async (method: string, path: string): Promise<[number, string]> => {
    const reply = await ask(port, method, path, { host: 'probe.from.anywhere' })
    return [reply.status, reply.body]
  }
  t.strictSame(await look('GET', '/healthz/ready'), [503, 'not ready: waiting for the first configuration\n'])
  t.strictSame(await look('HEAD', '/healthz/ready'), [503, ''])
  t.strictSame(await look('GET', '/healthz/live'), [200, ''])
  ready = true
  t.strictSame(await look('GET', '/healthz/ready'), [200, ''])
  t.strictSame(await look('HEAD', '/healthz/ready?x=1'), [200, ''])
  t.strictSame(await look('POST', '/healthz/ready'), [405, ''])
  t.strictSame(await look('GET', '/config_dump'), [404, ''])
})

t.test('a taken port is named with its setting', async (t) => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  t.teardown(() => other.close())
  const address = { address: '127.0.0.1', port: (other.address() as AddressInfo).port }
  const logger = new Logger({ level: 'error' })
  await t.rejects(new AdminServer(address, new Source(), logger).listen(), {
    message: `admin 127.0.0.1:${address.port}: the port is taken by another process; set admin.port to a free port, or to 0 for any`,
  })
  await t.rejects(new HealthServer(address, () => []).listen(), { message: /^health 127.*set health\.port/ })
  await t.rejects(new AdminServer({ address: '192.0.2.1', port: 0 }, new Source(), logger).listen(), {
    message: /no such address; set admin\.address/,
  })
})

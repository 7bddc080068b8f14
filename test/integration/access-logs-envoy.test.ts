// Access logs as a control plane asks for them: the same listeners with the same loggers in force in heddle and in Envoy, the same requests to both, and what both
// wrote, field by field. Times, ports of the system's choice and request ids are made equal; everything else has to be.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { type FedProxy, fedPair, type World } from '../support/fed-pair.ts'
import { freePort } from '../support/free-port.ts'
import { GrpcClient, GrpcServer } from '../support/grpc.ts'
import { ISTIO_JSON, ISTIO_TEXT } from '../support/istio-log-formats.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { httpFilter, putResource, setResource } from '../support/xds-json.ts'

t.setTimeout(120_000)

/** Whatever else there is. */
const FACTS = {
  sent_path: '%REQ(:PATH)%',
  scheme: '%REQ(:SCHEME)%',
  without_query: '%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%',
  path_only: '%PATH(NQ)%',
  first_or_other: '%REQ(X-ABSENT?USER-AGENT)%',
  cut: '%REQ(USER-AGENT):4%',
  empty_header: '%REQ(X-EMPTY)%',
  utf8: '%REQ(X-UTF8)%',
  quoted: '%REQ(X-QUOTED)%',
  response_header: '%RESP(CONTENT-TYPE)%',
  status_header: '%RESP(:STATUS)%',
  trailer: '%TRAILER(GRPC-STATUS)%',
  flags_long: '%RESPONSE_FLAGS_LONG%',
  details: '%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%',
  attempts: '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
  cluster: '%UPSTREAM_CLUSTER%',
  remote_without_port: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%',
  direct_remote_without_port: '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%',
  local_without_port: '%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%',
  upstream_port: '%UPSTREAM_REMOTE_PORT%',
  grpc: '%GRPC_STATUS%',
  grpc_number: '%GRPC_STATUS_NUMBER%',
  type: '%ACCESS_LOG_TYPE%',
  hostname: '%HOSTNAME%',
  environment: '%ENVIRONMENT(NO_SUCH_VARIABLE)%',
  metadata: '%DYNAMIC_METADATA(no:such)%',
  virtual_cluster: '%VIRTUAL_CLUSTER_NAME%',
  tls: '%DOWNSTREAM_TLS_VERSION%',
  peer: '%DOWNSTREAM_PEER_URI_SAN%',
  request_ms: '%REQUEST_DURATION%',
  request_sent_ms: '%REQUEST_TX_DURATION%',
  response_ms: '%RESPONSE_DURATION%',
  response_sent_ms: '%RESPONSE_TX_DURATION%',
  common_ms: '%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%',
  mixed: 'code %RESPONSE_CODE% of %REQ(X-ABSENT)%, 100%%',
  two: '%RESPONSE_CODE%%RESPONSE_FLAGS%',
  words: 'as they are',
  number: 5,
  list: ['%RESPONSE_CODE%', 'x', true],
  nested: { z: '%PROTOCOL%', a: '%REQ(X-ABSENT)%' },
}

const FORMATTERS = [
  { name: 'x', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery' } },
]

const TEXT_OF = (inline_string: string, more: object = {}) => ({ text_format_source: { inline_string }, ...more })

interface Log {
  readonly format?: object
  readonly filter?: object
  /** Of the logger, in place of `log_format`. */
  readonly deprecated?: object
}

const CEL = 'type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter'
const comparison = (op: string, default_value: number) => ({ comparison: { op, value: { default_value, runtime_key: 'k' } } })
const SHORT = TEXT_OF('%REQ(:PATH)% %RESPONSE_CODE%\n')

/** By the name of their file. */
const LOGS: Readonly<Record<string, Log>> = {
  istio: { format: TEXT_OF(ISTIO_TEXT) },
  istio_json: { format: { json_format: ISTIO_JSON } },
  default: {},
  facts: { format: { json_format: FACTS, formatters: FORMATTERS } },
  omitted: { format: { json_format: FACTS, formatters: FORMATTERS, omit_empty_values: true } },
  omitted_text: { format: TEXT_OF('a=%REQ(X-ABSENT)% b=%ROUTE_NAME% c=%RESPONSE_FLAGS% ü\n', { omit_empty_values: true }) },
  deprecated: { deprecated: { format: '%RESPONSE_CODE% %BYTES_SENT%\n' } },
  deprecated_json: { deprecated: { json_format: { code: '%RESPONSE_CODE%' } } },
  unended: { format: TEXT_OF('%RESPONSE_CODE%;') },
  errors: { format: SHORT, filter: { status_code_filter: comparison('GE', 400) } },
  not_found: { format: SHORT, filter: { response_flag_filter: { flags: ['NR', 'NC'] } } },
  flagged: { format: SHORT, filter: { response_flag_filter: {} } },
  slow: { format: SHORT, filter: { duration_filter: comparison('GE', 60_000) } },
  curl: { format: SHORT, filter: { header_filter: { header: { name: 'user-agent', string_match: { prefix: 'curl' } } } } },
  both: {
    format: SHORT,
    filter: {
      and_filter: { filters: [{ status_code_filter: comparison('GE', 400) }, { status_code_filter: comparison('LE', 404) }] },
    },
  },
  either: {
    format: SHORT,
    filter: {
      or_filter: {
        filters: [
          { status_code_filter: comparison('EQ', 200) },
          { header_filter: { header: { name: ':path', string_match: { exact: '/dead' } } } },
        ],
      },
    },
  },
  grpc: { format: SHORT, filter: { grpc_status_filter: { statuses: ['UNAVAILABLE'] } } },
  no_health_checks: { format: SHORT, filter: { not_health_check_filter: {} } },
  sampled: {
    format: SHORT,
    filter: { runtime_filter: { runtime_key: 'k', percent_sampled: { numerator: 50, denominator: 'HUNDRED' } } },
  },
  ends: { format: SHORT, filter: { log_type_filter: { types: ['DownstreamEnd'] } } },
  cel: {
    format: SHORT,
    filter: {
      extension_filter: {
        name: 'cel',
        typed_config: {
          '@type': CEL,
          expression: "response.code >= 400 && (request.method == 'GET' || request.headers['x-quoted'] == 'x')",
        },
      },
    },
  },
}

const FILE = 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog'

class Files {
  readonly folder: string

  constructor(t: Teardown) {
    this.folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-logs-'))
    t.teardown(() => rmSync(this.folder, { recursive: true, force: true }))
  }

  pathOf(proxy: string, log: string): string {
    return path.join(this.folder, `${proxy}-${log}.log`)
  }

  logger(proxy: string, name: string, { format, filter, deprecated }: Log): object {
    const typed_config = {
      '@type': FILE,
      path: this.pathOf(proxy, name),
      ...(format === undefined ? {} : { log_format: format }),
      ...deprecated,
    }
    return { name, typed_config, ...(filter === undefined ? {} : { filter }) }
  }

  loggers(proxy: string, names: readonly string[]): readonly object[] {
    return names.map((name) => this.logger(proxy, name, LOGS[name] as Log))
  }

  text(proxy: string, log: string): string {
    const file = this.pathOf(proxy, log)
    return existsSync(file) ? readFileSync(file, 'utf8') : ''
  }

  lines(proxy: string, log: string, count: number): Promise<readonly string[]> {
    return eventually(`${count} lines in ${proxy}-${log}`, () => {
      const lines = this.text(proxy, log).split('\n').slice(0, -1)
      return lines.length >= count ? lines : null
    }) as Promise<readonly string[]>
  }
}

const MILLISECONDS = /^(?:duration|upstream_service_time|.*_ms)$/

/** What is another for each of the two. */
function plain(line: string, port: number): string {
  const same = line
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, '<time>')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '<id>')
    .replaceAll(`127.0.0.1:${port}`, '<proxy>')
    .replaceAll(/(127\.0\.0\.1:)(\d+)/g, (whole, host, n) => (known.has(Number(n)) ? whole : `${host}<port>`))
  if (!same.startsWith('{')) return same.replace(/(\d+ \d+) \d+ (?:\d+|-)(?= ")/, '$1 <ms>')
  const times = (key: string, value: unknown): unknown => (MILLISECONDS.test(key) && value !== null ? typeof value : value)
  return JSON.stringify(JSON.parse(same, times))
}

/** Ports that both speak to. */
const known = new Set<number>()

const REQUESTS: readonly string[] = [
  'GET /app?q=1 HTTP/1.1\r\nhost: app.example:80\r\nuser-agent: curl/8\r\nx-forwarded-for: 10.1.2.3\r\nx-empty:\r\nx-utf8: Grüße\r\nx-quoted: say "no\\"\r\n\r\n',
  'GET /rewrite/x?q=1 HTTP/1.1\r\nhost: app\r\n\r\n',
  'GET /nowhere HTTP/1.1\r\nhost: app\r\nuser-agent: wget\r\n\r\n',
  'GET /direct HTTP/1.1\r\nhost: app\r\n\r\n',
  'GET /redirect HTTP/1.1\r\nhost: app\r\n\r\n',
  'GET /denied HTTP/1.1\r\nhost: app\r\n\r\n',
  'GET /dead HTTP/1.1\r\nhost: app\r\n\r\n',
  'GET /gone HTTP/1.1\r\nhost: app\r\n\r\n',
  'GET /app HTTP/1.1\r\nhost: app\r\nx-status: 503\r\n\r\n',
  'POST /dead HTTP/1.1\r\nhost: app\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n',
]

const address = (port_value: number): object => ({ socket_address: { address: '127.0.0.1', port_value } })

function cluster(name: string, port: number): object {
  const load_assignment = { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }] }
  return { name, type: 'STATIC', connect_timeout: '2s', load_assignment }
}

const DENY = {
  rules: {
    action: 'DENY',
    policies: {
      'ns[a]-policy[no one]-rule[0]': {
        permissions: [{ url_path: { path: { exact: '/denied' } } }],
        principals: [{ any: true }],
      },
    },
  },
}

const ROUTES = [
  { name: 'the app', match: { prefix: '/app' }, route: { cluster: 'app' } },
  { match: { prefix: '/rewrite' }, route: { cluster: 'app', prefix_rewrite: '/app' } },
  { name: 'direct', match: { prefix: '/direct' }, direct_response: { status: 418, body: { inline_string: 'short' } } },
  { match: { prefix: '/redirect' }, redirect: { path_redirect: '/app' } },
  { match: { prefix: '/denied' }, route: { cluster: 'app' } },
  { match: { prefix: '/dead' }, route: { cluster: 'dead' } },
  { match: { prefix: '/gone' }, route: { cluster: 'no-such-cluster' } },
]

function httpListener(port: number, access_log: readonly object[], routes: readonly object[] = ROUTES): object {
  const manager = {
    stat_prefix: 'http',
    normalize_path: true,
    access_log,
    route_config: { name: 'r', validate_clusters: false, virtual_hosts: [{ name: 'all', domains: ['*'], routes }] },
    http_filters: [httpFilter('http.rbac.v3.RBAC', DENY), httpFilter('http.router.v3.Router')],
  }
  return {
    name: 'in',
    address: address(port),
    filter_chains: [{ filters: [httpFilter('network.http_connection_manager.v3.HttpConnectionManager', manager)] }],
  }
}

async function dead(): Promise<number> {
  const port = await freePort()
  known.add(port)
  return port
}

async function ask(t: Teardown, { port }: FedProxy, request: string): Promise<void> {
  const client = await RawClient.connect(t, port)
  await client.write(Buffer.from(request, 'utf8'))
  await client.response()
  client.destroy()
}

t.test('of requests', async (t) => {
  const files = new Files(t)
  const app = await EchoUpstream.start(t)
  known.add(app.port)
  const port = await dead()
  const pair = await fedPair(t, (world: World) => {
    setResource(world.plane, XDS.cluster, cluster('app', app.port))
    setResource(world.plane, XDS.cluster, cluster('dead', port))
    setResource(world.plane, XDS.listener, httpListener(world.port, files.loggers(world.name, Object.keys(LOGS))))
  })
  for (const proxy of pair) {
    t.same(
      proxy.plane.said.filter((s) => s.kind === 'NACK').map((s) => s.error),
      [],
      `${proxy.name} takes it`,
    )
    for (const [i, request] of REQUESTS.entries()) {
      // By its first digits requests are sampled.
      const id = `${String(i * 10).padStart(8, '0')}-0000-4000-8000-000000000000`
      await ask(t, proxy, request.replace('\r\n\r\n', `\r\nx-request-id: ${id}\r\n\r\n`))
    }
    await files.lines(proxy.name, 'istio', REQUESTS.length)
  }
  for (const name of Object.keys(LOGS)) await same(t, files, pair, name)
})

/** What both have written is the same, soon. */
async function same(t: Test, files: Files, pair: readonly FedProxy[], name: string): Promise<void> {
  const said = (): readonly (readonly string[])[] =>
    pair.map(({ name: who, port }) =>
      files
        .text(who, name)
        .split('\n')
        .map((line) => (line === '' ? '' : plain(line, port))),
    )
  await eventually('the same', () => new Set(said().map((lines) => lines.join('\n'))).size === 1, 2000).catch(() => {})
  const [ours = [], theirs = ours] = said()
  for (const [i, line] of theirs.entries()) t.equal(ours[i], line, `${name}: line ${i + 1}`)
  t.equal(ours.length, theirs.length, name)
}

t.test('a format that changes holds from the next request on, and a file that nobody writes to any more is closed', async (t) => {
  const files = new Files(t)
  const put = (world: World, names: readonly string[]) => httpListener(world.port, files.loggers(world.name, names))
  const worlds: World[] = []
  const pair = await fedPair(t, (world) => {
    worlds.push(world)
    setResource(world.plane, XDS.listener, put(world, ['deprecated']))
  })
  for (const [i, proxy] of pair.entries()) {
    await ask(t, proxy, 'GET /direct HTTP/1.1\r\nhost: app\r\n\r\n')
    await files.lines(proxy.name, 'deprecated', 1)
    putResource(proxy.plane, XDS.listener, put(worlds[i] as World, ['deprecated_json', 'default']))
    await eventually('a line in the new format', async () => {
      await ask(t, proxy, 'GET /direct HTTP/1.1\r\nhost: app\r\n\r\n')
      return files.text(proxy.name, 'deprecated_json') !== ''
    })
    await files.lines(proxy.name, 'default', 1)
    t.match(files.text(proxy.name, 'deprecated'), /^(?:418 5\n)+$/, proxy.name)
    t.match(files.text(proxy.name, 'deprecated_json'), /^(?:\{"code":418\}\n)+$/, proxy.name)
    t.match(
      files.text(proxy.name, 'default'),
      /^\[.{24}\] "GET \/direct HTTP\/1\.1" 418 - 0 5 \d+ - "-" "-" "[-0-9a-f]{36}" "app" "-"\n/,
      proxy.name,
    )
  }
})

t.test('of connections', async (t) => {
  const files = new Files(t)
  const app = await EchoUpstream.start(t)
  known.add(app.port)
  const port = await dead()
  const logs = ['istio', 'istio_json', 'facts', 'flagged_tcp', 'tcp_only']
  const all: Readonly<Record<string, Log>> = {
    ...LOGS,
    flagged_tcp: {
      format: TEXT_OF('%RESPONSE_FLAGS% %UPSTREAM_CLUSTER%\n'),
      filter: { response_flag_filter: { flags: ['UF'] } },
    },
    tcp_only: { format: TEXT_OF('%ACCESS_LOG_TYPE%\n'), filter: { log_type_filter: { types: ['TcpConnectionEnd'] } } },
  }
  const loggers = (world: World): readonly object[] => logs.map((name) => files.logger(world.name, name, all[name] as Log))
  const ports: Record<string, { readonly dead: number; readonly nobody: number }> = {}
  for (const name of ['heddle', 'Envoy']) ports[name] = { dead: await freePort(), nobody: await freePort() }
  const tcp = (world: World, cluster: string): object =>
    httpFilter('network.tcp_proxy.v3.TcpProxy', { stat_prefix: cluster, cluster, access_log: loggers(world) })
  const pair = await fedPair(t, (world: World) => {
    const { plane, name } = world
    const own = ports[name] as { dead: number; nobody: number }
    setResource(plane, XDS.cluster, cluster('app', app.port))
    setResource(plane, XDS.cluster, cluster('dead', port))
    const listener = (name: string, port: number, cluster: string, more: object = {}, chain: object = {}) =>
      setResource(plane, XDS.listener, {
        name,
        address: address(port),
        filter_chains: [{ filters: [tcp(world, cluster)], ...chain }],
        ...more,
      })
    listener('tcp', world.port, 'app')
    listener('dead', own.dead, 'dead')
    const access_log = loggers(world).map((logger) => ({ filter: { response_flag_filter: { flags: ['NR'] } }, ...logger }))
    listener('nobody', own.nobody, 'app', { access_log }, { filter_chain_match: { source_ports: [1] } })
  })
  for (const proxy of pair) {
    t.same(
      proxy.plane.said.filter((s) => s.kind === 'NACK').map((s) => s.error),
      [],
      `${proxy.name} takes it`,
    )
    const own = ports[proxy.name] as { dead: number; nobody: number }
    const client = await RawClient.connect(t, proxy.port)
    await client.write('GET /x HTTP/1.1\r\nhost: app\r\n\r\n')
    await client.response()
    client.end()
    await client.closed()
    await files.lines(proxy.name, 'istio', 1)
    for (const [i, port] of [own.dead, own.nobody].entries()) {
      known.delete(port)
      const refused = await RawClient.connect(t, port)
      await refused.closed()
      await files.lines(proxy.name, 'istio', i + 2)
    }
  }
  for (const name of logs) await same(t, files, pair, name)
})

t.test('of calls, on HTTP/2 both ways', async (t) => {
  const files = new Files(t)
  const server = await GrpcServer.start(t, 'app')
  server.moves.unary = (call, done) =>
    call.request.length === 0 ? done({ code: 5, details: 'no such thing' }) : done(null, call.request)
  const app = Number(server.address.split(':')[1])
  known.add(app)
  const http2 = {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      explicit_http_config: { http2_protocol_options: {} },
    },
  }
  const logs = ['istio', 'facts', 'calls', 'not_found_calls']
  const all: Readonly<Record<string, Log>> = {
    ...LOGS,
    calls: {
      format: TEXT_OF(
        '%PROTOCOL% %TRAILER(GRPC-STATUS)% %TRAILER(GRPC-MESSAGE)% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%\n',
      ),
    },
    not_found_calls: { format: SHORT, filter: { grpc_status_filter: { statuses: ['NOT_FOUND'] } } },
  }
  const pair = await fedPair(t, ({ name, plane, port }) => {
    setResource(plane, XDS.cluster, { ...cluster('app', app), typed_extension_protocol_options: http2 })
    const loggers = logs.map((log) => files.logger(name, log, all[log] as Log))
    setResource(plane, XDS.listener, httpListener(port, loggers, [{ match: { prefix: '/' }, route: { cluster: 'app' } }]))
  })
  for (const proxy of pair) {
    const client = new GrpcClient(t, proxy.port, 'app')
    t.equal((await client.unary('hello')).code, 0, proxy.name)
    await files.lines(proxy.name, 'istio', 1)
    t.equal((await client.unary('')).code, 5, proxy.name)
    await files.lines(proxy.name, 'istio', 2)
  }
  for (const name of logs) await same(t, files, pair, name)
})

t.test('of who dials a capturing port itself', async (t) => {
  const files = new Files(t)
  const pair = await fedPair(t, ({ name, plane, port }) => {
    const proxy = {
      stat_prefix: 'BlackHoleCluster',
      cluster: 'BlackHoleCluster',
      access_log: files.loggers(name, ['istio', 'istio_json']),
    }
    const filters = [httpFilter('network.tcp_proxy.v3.TcpProxy', proxy)]
    setResource(plane, XDS.cluster, { name: 'BlackHoleCluster', type: 'STATIC', connect_timeout: '1s' })
    setResource(plane, XDS.listener, {
      name: 'virtualOutbound',
      address: address(port),
      use_original_dst: true,
      traffic_direction: 'OUTBOUND',
      filter_chains: [
        { name: 'virtualOutbound-blackhole', filter_chain_match: { destination_port: port }, filters },
        { name: 'virtualOutbound-catchall-tcp', filters },
      ],
    })
  })
  for (const proxy of pair) {
    const client = await RawClient.connect(t, proxy.port)
    await client.closed()
    await files.lines(proxy.name, 'istio', 1)
  }
  for (const name of ['istio', 'istio_json']) await same(t, files, pair, name)
})

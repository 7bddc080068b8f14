// What a control plane says of a filter chain, carried out: a Listener, requests through a worker, and what clients and the upstream got of them.
import { execFile } from 'node:child_process'
import net from 'node:net'
import { promisify } from 'node:util'
import t from 'tap'
import type { Listener } from '../../lib/state/listener.ts'
import type { RouteTable } from '../../lib/state/route.ts'
import { findingsText } from '../../lib/xds/translate/findings.ts'
import { translateListener } from '../../lib/xds/translate/listener.ts'
import { askAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { envoyProtos } from '../support/envoy-protos.ts'
import { eventually } from '../support/eventually.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { aCluster, anEndpoint, aSnapshot } from '../support/nouns.ts'
import { OneWorker } from '../support/one-worker.ts'
import { httpFilter } from '../support/xds-json.ts'

const run = promisify(execFile)

interface Asserting {
  equal(found: unknown, wanted: unknown, message: string): unknown
}

interface Chain {
  readonly manager?: object
  readonly filters?: readonly object[]
  readonly route?: object
  readonly listener?: object
}

/** Of all listeners of the test. */
const tables: RouteTable[] = []

function listenerOf(t: Asserting, name: string, { manager = {}, filters = [], route = {}, listener = {} }: Chain): Listener {
  const routes = [{ match: { prefix: '/' }, route: { cluster: 'c', timeout: '0s' }, ...route }]
  const hcm = {
    stat_prefix: name,
    route_config: { name, virtual_hosts: [{ name: 'all', domains: ['*'], routes }] },
    http_filters: [...filters, httpFilter('http.router.v3.Router')],
    ...manager,
  }
  const bytes = envoyProtos().encode('envoy.config.listener.v3.Listener', {
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: 80 } },
    filter_chains: [{ filters: [httpFilter('network.http_connection_manager.v3.HttpConnectionManager', hcm)] }],
    ...listener,
  } as never)
  const made = translateListener(bytes, null, { extensions: new Map(), routes: { unsafeRetries: 'held-back' } })
  t.equal(findingsText(made.faults), '', name)
  tables.push(...made.inlineTables)
  return made.listener!
}

const FAULT = {
  'envoy.filters.http.fault': httpFilter('http.fault.v3.HTTPFault', {
    abort: { http_status: 418, percentage: { numerator: 100 } },
  }),
}
const CORS = {
  'envoy.filters.http.cors': httpFilter('http.cors.v3.CorsPolicy', {
    allow_origin_string_match: [{ exact: 'http://here.test' }],
    allow_methods: 'GET',
    filter_enabled: { default_value: { numerator: 100 } },
  }),
}
/** What stands in `typed_per_filter_config`. */
const configs = (filters: Readonly<Record<string, object>>): object => ({
  typed_per_filter_config: Object.fromEntries(
    Object.entries(filters).map(([name, filter]) => [name, (filter as { readonly typed_config: object }).typed_config]),
  ),
})
const rbac = (action: string, principal: object, field = 'rules'): object =>
  httpFilter('http.rbac.v3.RBAC', {
    [field]: { action, policies: { one: { permissions: [{ any: true }], principals: [principal] } } },
  })
const range = (ip: string): object => ({ address_prefix: ip, prefix_len: 32 })
const proxied = (settings: object = {}): object => ({
  listener_filters: [httpFilter('listener.proxy_protocol.v3.ProxyProtocol', settings)],
})

t.test('filter chains of a control plane', async (t) => {
  const app = await EchoUpstream.start(t)
  const chains: Readonly<Record<string, Chain>> = {
    fault: { filters: [httpFilter('http.fault.v3.HTTPFault')], route: configs(FAULT) },
    'fault-unheard': { route: configs(FAULT) },
    cors: { filters: [httpFilter('http.cors.v3.Cors')], route: configs(CORS) },
    'cors-unheard': { route: configs(CORS) },
    upgrades: { manager: { upgrade_configs: [{ upgrade_type: 'websocket' }] } },
    named: { manager: { server_name: 'shop', append_x_forwarded_port: true } },
    'pass-through': { manager: { server_header_transformation: 'PASS_THROUGH' } },
    absent: { manager: { server_header_transformation: 'APPEND_IF_ABSENT', server_name: 'shop' } },
    'always-forwarded': { manager: { forward_client_cert_details: 'ALWAYS_FORWARD_ONLY' } },
    forwarded: { manager: { forward_client_cert_details: 'FORWARD_ONLY' } },
    base: { manager: { normalize_path: true } },
    decoded: {
      manager: { normalize_path: true, merge_slashes: true, path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD' },
    },
    'http-1.0': { manager: { http_protocol_options: { accept_http_10: true } } },
    small: { manager: { max_request_headers_kb: 1 } },
    denied: { filters: [rbac('DENY', { direct_remote_ip: range('127.0.0.1') })] },
    shadow: { filters: [rbac('DENY', { direct_remote_ip: range('127.0.0.1') }, 'shadow_rules')] },
    proxied: { listener: proxied() },
    'maybe-proxied': { listener: proxied({ allow_requests_without_proxy_protocol: true }) },
    'edge-proxied': {
      manager: { use_remote_address: true },
      filters: [rbac('ALLOW', { remote_ip: range('192.0.2.7') }), rbac('ALLOW', { direct_remote_ip: range('127.0.0.1') })],
      listener: proxied(),
    },
  }
  const listeners = Object.entries(chains).map(([name, chain]) => listenerOf(t, name, chain))
  const endpoints = [anEndpoint({ port: app.port })]
  const snapshot = aSnapshot({ listeners, routeTables: tables, clusters: [aCluster({ name: 'c', endpoints })] })
  const worker = await OneWorker.start(t, snapshot)
  const port = (name: string): number => worker.ports[name] as number
  const ask = (name: string, target = '/', headers: Record<string, string> = {}) =>
    askAny(t, port(name), { host: 'a.test', target, headers })
  const seen = (name: string) => headerValues(app.seen.at(-1)!, name)

  const first = async (name: string, bytes: string): Promise<string> => {
    const socket = net.connect(port(name), '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    for (const byte of [bytes.slice(0, 3), bytes.slice(3)]) socket.write(byte, 'latin1')
    let text = ''
    for await (const chunk of socket) {
      text += chunk
      if (text.includes('\r\n')) break
    }
    return text.split('\r\n', 1)[0] as string
  }

  t.equal((await ask('fault')).status, 418)
  t.equal((await ask('fault-unheard')).status, 200, 'a chain without the filter does not inject')

  const origin = { origin: 'http://here.test' }
  t.equal(header(await ask('cors', '/', origin), 'access-control-allow-origin'), 'http://here.test')
  t.equal(header(await ask('cors-unheard', '/', origin), 'access-control-allow-origin'), undefined)

  const upgrade = { connection: 'upgrade', upgrade: 'websocket' }
  t.equal((await ask('named', '/', upgrade)).status, 403, 'upgrades are refused where they are not configured')
  t.not((await ask('upgrades', '/', upgrade)).status, 403)

  t.equal(header(await ask('named'), 'server'), 'shop')
  t.same(seen('x-forwarded-port'), [String(port('named'))])
  t.equal(header(await ask('fault-unheard'), 'server'), 'envoy')
  t.same(seen('x-forwarded-port'), [])
  const fromApp = header(await ask('pass-through'), 'server')
  t.not(fromApp, 'envoy')
  t.equal(header(await ask('absent'), 'server'), fromApp ?? 'shop')

  const xfcc = { 'x-forwarded-client-cert': 'By=spiffe://a;Hash=00' }
  await ask('always-forwarded', '/', xfcc)
  t.same(seen('x-forwarded-client-cert'), ['By=spiffe://a;Hash=00'])
  await ask('forwarded', '/', xfcc)
  t.same(seen('x-forwarded-client-cert'), [], 'nobody without a certificate is believed')

  const paths = [
    ['fault-unheard', '/a/../b//c%2Fd'],
    ['base', '/b//c%2Fd'],
    ['decoded', '/b/c/d'],
  ] as const
  for (const [name, path] of paths) {
    await ask(name, '/a/../b//c%2Fd')
    t.equal(app.seen.at(-1)?.target, path, name)
  }

  t.equal((await ask('small', '/', { 'x-long': 'x'.repeat(2000) })).status, 431)
  t.equal((await ask('base', '/', { 'x-long': 'x'.repeat(2000) })).status, 200)

  const old = 'GET / HTTP/1.0\r\nHost: a.test\r\n\r\n'
  t.equal(await first('base', old), 'HTTP/1.1 426 Upgrade Required', 'HTTP/1.0 is for who asks for it')
  t.match(await first('http-1.0', old), /^HTTP\/1\.[01] 200 OK$/)

  t.equal((await ask('denied')).status, 403)
  t.equal((await ask('shadow')).status, 200, 'rules that are tried out let everybody in')

  await t.test('the PROXY protocol', async (t) => {
    const line = 'PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n'
    const get = 'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'
    const v2 = '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x08\x12\x67\x01\xbb'
    t.equal(await first('proxied', line + get), 'HTTP/1.1 200 OK')
    t.equal(await first('proxied', v2 + get), 'HTTP/1.1 200 OK')
    const said = () => worker.records.filter((r) => r['downstream_remote_address'] === '192.0.2.7:4711')
    await eventually('both requests in the log', () => said().length === 2)
    t.match(said(), [{ downstream_local_address: '192.0.2.8:443' }, { downstream_local_address: '192.0.2.8:443' }])
    t.equal(await first('proxied', get), '', 'without it the connection is closed')
    t.equal(await first('proxied', `PROXY TCP4 nonsense\r\n${get}`), '')
    t.equal(await first('maybe-proxied', get), 'HTTP/1.1 200 OK')
    t.equal(await first('maybe-proxied', line + get), 'HTTP/1.1 200 OK')
    t.equal(await first('edge-proxied', line + get), 'HTTP/1.1 200 OK', 'who asks, and who has dialled')
    t.same([seen('x-forwarded-for'), seen('x-envoy-external-address')], [['192.0.2.7'], ['192.0.2.7']])
    t.equal(await first('edge-proxied', `PROXY TCP4 192.0.2.9 192.0.2.8 1 2\r\n${get}`), 'HTTP/1.1 403 Forbidden')
    const curl = ['-sS', '--haproxy-protocol', '-o', '/dev/null', '-w', '%{http_code}', `http://127.0.0.1:${port('proxied')}/`]
    t.equal((await run('curl', curl)).stdout, '200', 'as curl says it')
  })
  t.same(worker.errors, [])
})

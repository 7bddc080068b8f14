// The access log, line by line: Envoy's default text format and Istio's JSON keys (telemetry).
import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { eventually } from '../support/eventually.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import type { RequestSpec } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'
import { PROTOCOL } from '../support/versions.ts'

const REQUESTS: readonly RequestSpec[] = [
  { host: 'web', target: '/plain?q=1', headers: { 'User-Agent': 'kit/1', 'X-Request-Id': 'id-1' } },
  {
    method: 'POST',
    host: 'web:80',
    target: '/posted',
    body: 'abcdef',
    headers: { 'X-Request-Id': 'id-2', 'X-Forwarded-For': '1.2.3.4' },
  },
  { host: 'web', target: '/rewritten/x', headers: { 'X-Request-Id': 'id-3' } },
  { host: 'web', target: '/fixed', headers: { 'X-Request-Id': 'id-4' } },
  { method: 'HEAD', host: 'web', target: '/plain', headers: { 'X-Request-Id': 'id-5' } },
  { host: 'empty', target: '/', headers: { 'X-Request-Id': 'id-6', 'User-Agent': 'a "quoted" \\ agent' } },
]

const start = async (format: 'text' | 'json') => {
  const upstream = await Upstream.start(t, (e) => e.answer({ body: e.request.method === 'HEAD' ? '' : 'body' }))
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'empty', endpoints: [] }),
      virtualService(
        'web',
        ['web'],
        [
          { name: 'fixed', match: [{ uri: { exact: '/fixed' } }], directResponse: { status: 203, body: { string: 'fixed' } } },
          {
            name: 'rewritten',
            match: [{ uri: { prefix: '/rewritten' } }],
            rewrite: { uri: '/new' },
            route: [{ destination: { host: 'web' } }],
          },
          { name: 'all', route: [{ destination: { host: 'web' } }] },
        ],
      ),
    ),
    bootstrap: { accessLog: { format } },
  })
  const client = await connectAny(t, proxy.port())
  for (const request of REQUESTS) await client.ask(request)
  const lines = () => readFileSync(path.join(proxy.dir, 'access.log'), 'utf8').split('\n')
  await eventually('all lines', () => lines().length === REQUESTS.length + 1)
  return { upstream, proxy, client, lines: lines().slice(0, -1) }
}

t.test('text', async (t) => {
  const { upstream, lines } = await start('text')
  const at = upstream.address
  const rows: readonly string[] = [
    `"GET /plain?q=1 ${PROTOCOL}" 200 - 0 4 # # "-" "kit/1" "id-1" "web" "${at}"`,
    `"POST /posted ${PROTOCOL}" 200 - 6 4 # # "1.2.3.4" "-" "id-2" "web:80" "${at}"`,
    // Envoy's %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%: the path as it came.
    `"GET /rewritten/x ${PROTOCOL}" 200 - 0 4 # # "-" "-" "id-3" "web" "${at}"`,
    `"GET /fixed ${PROTOCOL}" 203 - 0 5 # - "-" "-" "id-4" "web" "-"`,
    `"HEAD /plain ${PROTOCOL}" 200 - 0 0 # # "-" "-" "id-5" "web" "${at}"`,
  ]
  for (const [i, row] of rows.entries()) {
    const found = /^\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\] (.*)$/.exec(lines[i] as string)
    t.ok(found, `line ${i + 1}: ${lines[i]}`)
    const escaped = row
      .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
      .replaceAll(' # ', ' \\d+ ')
      .replace(' # ', ' \\d+ ')
    t.match(found?.[2], new RegExp(`^${escaped}$`), `line ${i + 1}`)
  }
  t.match(lines[5], new RegExp(`^\\[[^\\]]+\\] "GET / ${PROTOCOL}" 503 UH 0 19 \\d+ - "-" "`))
  t.match(lines[5], /" "id-6" "empty" "-"$/)
  t.notMatch(lines[5], /"a "quoted"/, 'a client cannot end a field')
})

t.test('JSON', async (t) => {
  const { upstream, client, proxy, lines } = await start('json')
  const records = lines.map((l) => JSON.parse(l) as Record<string, unknown>)
  const first = records[0] as Record<string, unknown>
  t.same(Object.keys(first), [
    'authority',
    'bytes_received',
    'bytes_sent',
    'connection_termination_details',
    'downstream_local_address',
    'downstream_remote_address',
    'duration',
    'method',
    'path',
    'protocol',
    'request_id',
    'requested_server_name',
    'response_code',
    'response_code_details',
    'response_flags',
    'route_name',
    'start_time',
    'upstream_cluster',
    'upstream_host',
    'upstream_local_address',
    'upstream_service_time',
    'upstream_transport_failure_reason',
    'user_agent',
    'x_forwarded_for',
  ])
  const { duration, start_time, upstream_service_time, upstream_local_address, ...rest } = first
  t.type(duration, 'number')
  t.match(start_time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  t.match(upstream_service_time, /^\d+$/)
  t.equal(upstream_local_address, upstream.connections[0]?.remoteAddress)
  t.same(rest, {
    authority: 'web',
    bytes_received: 0,
    bytes_sent: 4,
    connection_termination_details: null,
    downstream_local_address: `127.0.0.1:${proxy.port()}`,
    downstream_remote_address: client.localAddress,
    method: 'GET',
    path: '/plain?q=1',
    protocol: PROTOCOL,
    request_id: 'id-1',
    requested_server_name: null,
    response_code: 200,
    response_code_details: 'via_upstream',
    response_flags: '-',
    route_name: 'all',
    upstream_cluster: 'outbound|80||web.default.svc.cluster.local',
    upstream_host: upstream.address,
    upstream_transport_failure_reason: null,
    user_agent: 'kit/1',
    x_forwarded_for: null,
  })
  t.match(records[1], { authority: 'web:80', bytes_received: 6, x_forwarded_for: '1.2.3.4', request_id: 'id-2' })
  t.match(records[2], { path: '/rewritten/x', route_name: 'rewritten' })
  t.match(records[3], { response_code: 203, response_code_details: 'direct_response', route_name: 'fixed', upstream_host: null })
  t.match(records[4], { method: 'HEAD', bytes_sent: 0 })
  t.match(records[5], {
    response_code: 503,
    response_flags: 'UH',
    user_agent: 'a "quoted" \\ agent',
    upstream_cluster: 'outbound|80||empty.default.svc.cluster.local',
    upstream_service_time: null,
  })
})

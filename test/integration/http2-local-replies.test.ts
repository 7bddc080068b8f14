// Answers that heddle makes by itself, to HTTP/2 clients: status, body, fields, flags, details and stable code; and what is reset instead of answered.
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { refusingPort } from '../support/free-port.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { Http2Client, type Http2Request } from '../support/http2-client.ts'
import { Http2Wire, pseudo } from '../support/http2-wire.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { Upstream } from '../support/upstream.ts'

interface Row {
  readonly code: string
  readonly request: Http2Request
  readonly status: number
  readonly body: string
  readonly flags: string
  readonly details: string
}

const words = (what: string) => `upstream connect error or disconnect/reset before headers. reset reason: ${what}`
const before = (what: string) => `upstream_reset_before_response_started{${what}}`
const many = (n: number, bytes: number) => Array.from({ length: n }, (_, i) => [`x-${i}`, 'y'.repeat(bytes)] as const)
const TOO_LARGE = 'Request Header Fields Too Large'

const row = (code: string, request: Http2Request, status: number, body: string, flags: string, details: string): Row => ({
  code,
  request: { host: 'web', ...request },
  status,
  body,
  flags,
  details,
})

const ROWS: readonly Row[] = [
  row('asterisk_target', { method: 'OPTIONS', target: '*' }, 404, '', '-', 'absolute_path_rejected'),
  row('path_normalization_failed', { target: '/a%00' }, 400, '', '-', 'path_normalization_failed'),
  row('unknown_expectation', { headers: { expect: 'more' } }, 417, '', '-', 'unknown_expectation'),
  row('http2_headers_too_large', { headers: many(9, 7000) }, 431, TOO_LARGE, 'DPE', 'http2.headers_too_large'),
  row('http2_too_many_headers', { headers: many(110, 1) }, 431, TOO_LARGE, 'DPE', 'http2.too_many_headers'),
  row('route_not_found', { host: 'strict', target: '/nowhere' }, 404, '', 'NR', 'route_not_found'),
  row('cluster_not_found', { host: 'strict', target: '/lost' }, 503, '', 'NC', 'cluster_not_found'),
  row('no_healthy_upstream', { host: 'empty' }, 503, 'no healthy upstream', 'UH', 'no_healthy_upstream'),
  row('response_timeout', { host: 'strict', target: '/timed' }, 504, 'upstream request timeout', 'UT', 'response_timeout'),
  row('fault_abort', { host: 'strict', target: '/fault' }, 418, 'fault filter abort', 'FI', 'fault_filter_abort'),
  row(
    'connection_termination',
    { target: '/close' },
    503,
    words('connection termination'),
    'UC',
    before('connection_termination'),
  ),
  row('upstream_protocol_error', { target: '/garbage' }, 502, words('protocol error'), 'UPE', before('protocol_error')),
]

let proxy: HeddleProcess

t.before(async () => {
  const upstream = await Upstream.start(t, async (e) => {
    if (e.request.target === '/close') e.end()
    else if (e.request.target === '/garbage') await e.write('garbage\r\n\r\n')
  })
  const route = [{ destination: { host: 'web' } }]
  const none = { retries: { attempts: 0 } }
  const on = (exact: string, more: object) => ({ match: [{ uri: { exact } }], route, ...more })
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'strict', endpoints: [upstream] }),
      service({ host: 'empty', endpoints: [] }),
      service({ host: 'down', endpoints: [{ address: `127.0.0.1:${await refusingPort()}` }] }),
      virtualService('web', ['web'], [{ route, ...none }]),
      virtualService('down', ['down'], [{ route: [{ destination: { host: 'down' } }], ...none }]),
      virtualService(
        'strict',
        ['strict'],
        [
          { match: [{ uri: { exact: '/lost' } }], route: [{ destination: { host: 'nobody.example' } }] },
          on('/timed', { timeout: '50ms', ...none }),
          on('/fault', { fault: { abort: { httpStatus: 418, percentage: { value: 100 } } } }),
        ],
      ),
    ),
  })
})

const refused = async (code: string) => (await proxy.metrics()).value('heddle_requests_refused_total', { reason: code }) ?? 0

t.test('answers', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  for (const { code, request, status, body, flags, details } of ROWS) {
    const counted = await refused(code)
    const lines = proxy.accessLog().length
    const call = client.call(request)
    const answer = await call.response()
    t.same([answer.status, answer.body.toString()], [status, body], code)
    t.equal(header(answer, 'content-type'), body === '' ? undefined : 'text/plain', code)
    t.equal(header(answer, 'content-length'), body === '' ? undefined : String(body.length), code)
    t.equal(header(answer, 'server'), 'envoy')
    t.equal(headerValues(answer, 'date').length, 1)
    t.equal(await call.ended(), null, `${code}: no error of the stream`)
    const line = await eventually('its line in the log', () => proxy.accessLog()[lines])
    const wanted = { protocol: 'HTTP/2', response_code: status, response_flags: flags, response_code_details: details }
    t.match(line, wanted, code)
    t.equal((await refused(code)) - counted, 1, `${code}: counted under its code`)
  }
  t.equal(client.isClosed, false, 'all on one connection')
})

t.test('HEAD gets the head of the same answer', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const answer = await client.ask({ method: 'HEAD', host: 'strict', target: '/fault' })
  t.same([answer.status, header(answer, 'content-length'), answer.body.length], [418, '18', 0])
})

t.test('gRPC: trailers alone, with grpc-status by the table', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const rows: readonly [target: string, host: string, status: string, message: string | undefined][] = [
    ['/nowhere', 'strict', '12', undefined],
    ['/', 'empty', '14', 'no healthy upstream'],
    ['/timed', 'strict', '14', 'upstream request timeout'],
    ['/fault', 'strict', '2', 'fault filter abort'],
  ]
  for (const [target, host, status, message] of rows) {
    const headers = { 'content-type': 'application/grpc', te: 'trailers' }
    const answer = await client.ask({ method: 'POST', target, host, headers, body: '\0\0\0\0\0' })
    t.same([answer.status, answer.body.length, header(answer, 'content-type')], [200, 0, 'application/grpc'], target)
    t.same([header(answer, 'grpc-status'), header(answer, 'grpc-message')], [status, message], target)
    t.same(answer.trailers, [], 'in the one header section')
  }
})

t.test('what is malformed is reset, counted and logged (RFC 9113 §8.1.1)', async (t) => {
  const counted = await refused('http2_malformed_request')
  const wire = await Http2Wire.greeted(t, proxy.port())
  await wire.ask(1, [...pseudo('GET', '/malformed', 'web'), ['connection', 'close']])
  t.equal(await wire.untilTold(/^RST|^HEADERS/), 'RST_STREAM 1 code 1')
  const line = await proxy.logged({ response_code_details: 'http2.invalid.header.field' })
  t.match(line, { response_code: 0, response_flags: 'DPE' })
  t.equal((await refused('http2_malformed_request')) - counted, 1)
})

// Every answer that heddle makes by itself: status, body, fields, flags, details and its stable code (Envoy router replies and Envoy connection manager replies and Envoy gRPC status mapping).
import t from 'tap'
import { REASONS } from '../../lib/filter/http/reasons.ts'
import { askAny, connectAny } from '../support/any-client.ts'
import { eventually } from '../support/eventually.ts'
import { refusingPort } from '../support/free-port.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { requestBytes } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'

interface Row {
  /** Stable code: the label `reason` of heddle_requests_refused_total. */
  readonly code: string
  readonly bytes: string | Uint8Array
  readonly status: number
  readonly body: string
  readonly flags: string
  readonly details: string
  readonly closes: boolean
}

const get = (target: string, host: string, more = '') => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`
const post = (more: string) => `POST /x HTTP/1.1\r\nHost: web\r\n${more}\r\n`

const reset = (words: string) => `upstream connect error or disconnect/reset before headers. reset reason: ${words}`

const DPE = { flags: 'DPE', closes: true } as const

const ROWS: readonly Row[] = [
  {
    ...DPE,
    code: 'malformed_request',
    bytes: 'GET / HTTP/1.1\r\nHost : web\r\n\r\n',
    status: 400,
    body: 'Bad Request',
    details: 'http1.codec_error',
  },
  {
    ...DPE,
    code: 'malformed_request',
    bytes: 'FROB / HTTP/1.1\r\nHost: web\r\n\r\n',
    status: 400,
    body: 'Bad Request',
    details: 'http1.codec_error',
  },
  {
    ...DPE,
    code: 'malformed_request',
    bytes: get('relative', 'web'),
    status: 400,
    body: 'Bad Request',
    details: 'http1.codec_error',
  },
  {
    ...DPE,
    code: 'malformed_request',
    bytes: post('Content-Length: 1\r\nContent-Length: 1\r\n'),
    status: 400,
    body: 'Bad Request',
    details: 'http1.codec_error',
  },
  {
    ...DPE,
    code: 'unsupported_version',
    bytes: 'GET / HTTP/2.0\r\nHost: web\r\n\r\n',
    status: 505,
    body: 'HTTP Version Not Supported',
    details: 'http1.codec_error',
  },
  {
    ...DPE,
    code: 'length_and_chunked',
    bytes: post('Content-Length: 1\r\nTransfer-Encoding: chunked\r\n'),
    status: 400,
    body: 'Bad Request',
    details: 'http1.content_length_and_chunked_not_allowed',
  },
  {
    ...DPE,
    code: 'unknown_transfer_encoding',
    bytes: post('Transfer-Encoding: gzip, chunked\r\n'),
    status: 501,
    body: 'Not Implemented',
    details: 'http1.invalid_transfer_encoding',
  },
  {
    ...DPE,
    code: 'headers_too_large',
    bytes: get('/', 'web', `X-Long: ${'x'.repeat(62 * 1024)}\r\n`),
    status: 431,
    body: 'Request Header Fields Too Large',
    details: 'http1.headers_too_large',
  },
  {
    ...DPE,
    code: 'too_many_headers',
    bytes: get('/', 'web', 'X: y\r\n'.repeat(101)),
    status: 431,
    body: 'Request Header Fields Too Large',
    details: 'http1.too_many_headers',
  },
  {
    ...DPE,
    code: 'connection_header_rejected',
    bytes: get('/', 'web', 'Connection: x-forwarded-proto\r\n'),
    status: 400,
    body: 'Bad Request',
    details: 'http1.connection_header_rejected',
  },
  {
    code: 'missing_host',
    bytes: 'GET / HTTP/1.1\r\n\r\n',
    status: 400,
    body: '',
    flags: '-',
    details: 'missing_host_header',
    closes: true,
  },
  {
    ...DPE,
    code: 'several_hosts',
    bytes: get('/', 'web', 'Host: web\r\n'),
    status: 400,
    body: 'Bad Request',
    details: 'http1.codec_error',
  },
  {
    code: 'asterisk_target',
    bytes: 'OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n',
    status: 404,
    body: '',
    flags: '-',
    details: 'absolute_path_rejected',
    closes: false,
  },
  {
    code: 'path_normalization_failed',
    bytes: get('/a%00b', 'web'),
    status: 400,
    body: '',
    flags: '-',
    details: 'path_normalization_failed',
    closes: true,
  },
  {
    code: 'unknown_expectation',
    bytes: get('/', 'web', 'Expect: the-unexpected\r\n'),
    status: 417,
    body: '',
    flags: '-',
    details: 'unknown_expectation',
    closes: false,
  },
  {
    code: 'request_header_timeout',
    bytes: 'GET / HT',
    status: 408,
    body: 'request header timeout',
    flags: '-',
    details: 'request_header_timeout',
    closes: true,
  },
  {
    code: 'stream_idle_timeout',
    bytes: get('/stalled', 'web'),
    status: 504,
    body: 'stream timeout',
    flags: 'SI',
    details: 'stream_idle_timeout',
    closes: false,
  },
  {
    code: 'upgrade_refused',
    bytes: get('/', 'web', 'Connection: Upgrade\r\nUpgrade: foo\r\n'),
    status: 403,
    body: '',
    flags: '-',
    details: 'upgrade_failed',
    closes: true,
  },
  {
    code: 'connect_refused',
    bytes: 'CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n',
    status: 404,
    body: '',
    flags: 'NR',
    details: 'route_not_found',
    closes: true,
  },
  {
    code: 'route_not_found',
    bytes: get('/nowhere', 'strict'),
    status: 404,
    body: '',
    flags: 'NR',
    details: 'route_not_found',
    closes: false,
  },
  {
    code: 'route_not_found',
    bytes: get('/', 'web:81'),
    status: 404,
    body: '',
    flags: 'NR',
    details: 'route_not_found',
    closes: false,
  },
  {
    code: 'cluster_not_found',
    bytes: get('/lost', 'strict'),
    status: 503,
    body: '',
    flags: 'NC',
    details: 'cluster_not_found',
    closes: false,
  },
  {
    code: 'no_healthy_upstream',
    bytes: get('/', 'empty'),
    status: 503,
    body: 'no healthy upstream',
    flags: 'UH',
    details: 'no_healthy_upstream',
    closes: false,
  },
  {
    code: 'response_timeout',
    bytes: get('/timed', 'strict'),
    status: 504,
    body: 'upstream request timeout',
    flags: 'UT',
    details: 'response_timeout',
    closes: false,
  },
  {
    code: 'per_try_timeout',
    bytes: get('/try', 'strict'),
    status: 504,
    body: 'upstream request timeout',
    flags: 'UT',
    details: 'upstream_per_try_timeout',
    closes: false,
  },
  {
    code: 'fault_abort',
    bytes: get('/fault', 'strict'),
    status: 418,
    body: 'fault filter abort',
    flags: 'FI',
    details: 'fault_filter_abort',
    closes: false,
  },
  {
    code: 'connect_failure',
    bytes: get('/', 'down'),
    status: 503,
    body: reset('remote connection failure'),
    flags: 'UF',
    details: 'upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}',
    closes: false,
  },
  {
    code: 'connection_termination',
    bytes: get('/close', 'web'),
    status: 503,
    body: reset('connection termination'),
    flags: 'UC',
    details: 'upstream_reset_before_response_started{connection_termination}',
    closes: false,
  },
  {
    code: 'upstream_protocol_error',
    bytes: get('/garbage', 'web'),
    status: 502,
    body: reset('protocol error'),
    flags: 'UPE',
    details: 'upstream_reset_before_response_started{protocol_error}',
    closes: false,
  },
  {
    code: 'overflow',
    bytes: get('/', 'full'),
    status: 503,
    body: reset('overflow'),
    flags: 'UO',
    details: 'upstream_reset_before_response_started{overflow}',
    closes: false,
  },
]

/** Needs a bug of ours: boundary tests throw in each callback. */
/** Of which no single message is the cause: it is tested in retry-limits.test.ts; those of HTTP/2 are in http2-local-replies.test.ts, http2-hostile.test.ts and http2-tunnels.test.ts. */
const UNREACHED = new Set([
  'internal_error',
  'retry_buffer_full',
  'http2_malformed_request',
  'http2_headers_too_large',
  'http2_too_many_headers',
  'http2_stalled',
  'upgrade_not_taken',
  // routes-envoy.test.ts, grpc-web-envoy.test.ts
  'request_timeout',
  'stream_duration',
  'grpc_web_base64',
  'grpc_web_length',
])

let upstream: Upstream
let full: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t, async (e) => {
    if (e.request.target === '/close') e.end()
    else if (e.request.target === '/garbage') await e.write('garbage\r\n\r\n')
  })
  full = await Upstream.start(t)
  const web = [{ destination: { host: 'web' } }]
  const on = (exact: string, more: object) => ({ match: [{ uri: { exact } }], route: web, ...more })
  const noRetry = { retries: { attempts: 0 } }
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'strict', endpoints: [upstream] }),
      service({ host: 'empty', endpoints: [] }),
      service({ host: 'down', endpoints: [{ address: `127.0.0.1:${await refusingPort()}` }] }),
      service({ host: 'full', endpoints: [full] }),
      destinationRule('full', 'full', { trafficPolicy: { connectionPool: { http: { http2MaxRequests: 1 } } } }),
      virtualService('down', ['down'], [{ route: [{ destination: { host: 'down' } }], ...noRetry }]),
      virtualService(
        'strict',
        ['strict'],
        [
          { match: [{ uri: { exact: '/lost' } }], route: [{ destination: { host: 'nobody.example' } }] },
          on('/timed', { timeout: '50ms', ...noRetry }),
          on('/try', { timeout: '20s', retries: { attempts: 1, perTryTimeout: '50ms' } }),
          on('/fault', { fault: { abort: { httpStatus: 418, percentage: { value: 100 } } } }),
        ],
      ),
    ),
    bootstrap: { limits: { headerTimeout: '200ms', streamIdleTimeout: '600ms' } },
  })
  // The one request that `full` may have is under way for as long as rows ask for its overflow: it moves, and so is not idle.
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'full', target: '/held' })
  const held = await full.next()
  await held.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
  const tick = setInterval(() => void held.write('1\r\nx\r\n'), 100)
  t.teardown(() => clearInterval(tick))
})

const refused = async (code: string) => (await proxy.metrics()).value('heddle_requests_refused_total', { reason: code }) ?? 0

for (const [i, row] of ROWS.entries()) {
  t.test(`${row.code}: ${row.status} ${row.flags} (row ${i + 1})`, async (t) => {
    const before = await refused(row.code)
    const lines = proxy.accessLog().length
    const client = await connectAny(t, proxy.port())
    await client.write(row.bytes)
    const answer = await client.response()
    t.equal(answer.status, row.status)
    t.equal(answer.body.toString(), row.body)
    t.equal(header(answer, 'content-type'), row.body === '' ? undefined : 'text/plain')
    t.equal(header(answer, 'content-length'), String(row.body.length))
    t.equal(header(answer, 'server'), 'envoy')
    t.equal(headerValues(answer, 'date').length, 1)
    t.equal(header(answer, 'x-envoy-overloaded'), row.code === 'overflow' ? 'true' : undefined)
    t.equal(header(answer, 'connection'), row.closes ? 'close' : undefined)
    if (row.closes) t.equal(await client.closed(), 'end')
    const line = await eventually('its line in the log', () => proxy.accessLog()[lines])
    t.match(line, { response_code: row.status, response_flags: row.flags, response_code_details: row.details })
    t.equal(line?.['bytes_sent'], row.body.length)
    t.equal((await refused(row.code)) - before, 1, 'counted under its code')
    if (!row.closes) {
      await client.write(get('/fault', 'strict'))
      t.equal((await client.response()).status, 418, 'the connection goes on')
      await eventually('the line of that', () => proxy.accessLog().length === lines + 2)
    }
  })
}

t.test('every reason has its row, and every row its reason', (t) => {
  const tested = new Set(ROWS.map((r) => r.code))
  for (const { code } of REASONS) t.ok(tested.has(code) || UNREACHED.has(code), code)
  for (const code of UNREACHED) t.notOk(tested.has(code), `${code} is reached after all`)
  t.end()
})

t.test('HEAD gets the head of the same answer', async (t) => {
  for (const [target, host, status, length] of [
    ['/nowhere', 'strict', 404, '0'],
    ['/fault', 'strict', 418, '18'],
    ['/', 'empty', 503, '19'],
  ] as const) {
    const client = await connectAny(t, proxy.port())
    const answer = await client.ask({ method: 'HEAD', target, host })
    t.same([answer.status, header(answer, 'content-length'), answer.body.length], [status, length, 0], target)
    t.equal((await client.ask({ target: '/fault', host: 'strict' })).status, 418, 'nothing stands behind the head')
  }
})

t.test('gRPC: 200, grpc-status by the table, the text as grpc-message, no body', async (t) => {
  const rows: readonly [target: string, host: string, status: string, message: string | undefined][] = [
    ['/nowhere', 'strict', '12', undefined],
    ['/lost', 'strict', '14', undefined],
    ['/', 'empty', '14', 'no healthy upstream'],
    ['/timed', 'strict', '14', 'upstream request timeout'],
    ['/', 'down', '14', reset('remote connection failure')],
    ['/', 'full', '14', reset('overflow')],
    ['/fault', 'strict', '2', 'fault filter abort'],
  ]
  for (const type of ['application/grpc', 'application/grpc+json']) {
    for (const [target, host, status, message] of rows) {
      const answer = await askAny(t, proxy.port(), { method: 'POST', target, host, headers: { 'Content-Type': type } })
      const what = `${host}${target} ${type}`
      t.same([answer.status, answer.body.length, header(answer, 'content-type')], [200, 0, 'application/grpc'], what)
      t.same([header(answer, 'grpc-status'), header(answer, 'grpc-message')], [status, message], what)
    }
  }
  const refusedUpgrade = await askAny(t, proxy.port(), {
    method: 'POST',
    host: 'web',
    headers: { 'Content-Type': 'application/grpc', Connection: 'Upgrade', Upgrade: 'foo' },
  })
  t.same(
    [refusedUpgrade.status, header(refusedUpgrade, 'grpc-status'), header(refusedUpgrade, 'connection')],
    [200, '7', 'close'],
  )
  for (const type of ['application/grpc; charset=utf-8', 'application/grpc-web', 'application/grpcx']) {
    const answer = await askAny(t, proxy.port(), {
      method: 'POST',
      target: '/nowhere',
      host: 'strict',
      headers: { 'Content-Type': type },
    })
    t.same([answer.status, header(answer, 'grpc-status')], [404, undefined], type)
  }
})

t.test('an unread body: the answer says that the connection closes', async (t) => {
  const client = await connectAny(t, proxy.port())
  const bytes = requestBytes({ method: 'POST', target: '/nowhere', host: 'strict', headers: { 'Content-Length': '100000' } })
  await client.write(bytes)
  const answer = await client.response()
  t.same([answer.status, header(answer, 'connection')], [404, 'close'])
  t.equal(await client.closed(), 'end')
})

import t from 'tap'
import { applyEdits, compileEdits } from '../../../lib/route/header-edits.ts'
import type { EditContext, TlsView } from '../../../lib/route/header-operators.ts'
import { checkTemplate, emptyOperators } from '../../../lib/route/header-template.ts'
import type { HeaderEdit } from '../../../lib/state/route.ts'
import { DI, URX } from '../../../lib/telemetry/response-flags.ts'
import { HeaderList } from './world.ts'

type Headers = readonly (readonly [string, string])[]

function context(headers: HeaderList, over: Partial<EditContext> = {}): EditContext {
  return {
    method: 'GET',
    scheme: 'http',
    authority: 'a:9080',
    pathWithQuery: '/h4?q=1',
    sentPath: over.pathWithQuery ?? '/h4?q=1',
    protocol: 'HTTP/1.1',
    downstreamRemoteAddress: '127.0.0.1:5555',
    downstreamDirectRemoteAddress: '10.0.0.1:6666',
    downstreamLocalAddress: '127.0.0.2:8080',
    upstreamHost: '',
    upstreamCluster: 'outbound|9080||a',
    upstreamLocalAddress: '',
    requestedServerName: '',
    upstreamTransportFailureReason: '',
    connectionTerminationDetails: '',
    downstreamTls: null,
    upstreamTls: null,
    routeName: 'template',
    virtualHostName: 'a:9080',
    grpcStatus: -2,
    metadata: null,
    uniqueId: () => 'unique',
    environment: (name) => (name === 'REGION' ? 'eu' : ''),
    responseCode: 0,
    responseFlags: 0,
    responseCodeDetails: '',
    startTimeMs: Date.UTC(2026, 10, 21, 10, 22, 8, 94),
    durationMs: 12,
    bytesReceived: 3,
    bytesSent: 4,
    attempts: 1,
    hostname: 'box',
    requestHeaders: headers,
    responseHeaders: null,
    ...over,
  }
}

const only = (op: HeaderEdit['op'], name: string): HeaderEdit => ({ op, name, value: 'new' })
const set = (name: string, value: string): HeaderEdit => ({ op: 'set', name, value })
const add = (name: string, value: string): HeaderEdit => ({ op: 'add', name, value })
const remove = (name: string): HeaderEdit => ({ op: 'remove', name, value: '' })

function edited(edits: readonly HeaderEdit[], before: Headers, over: Partial<EditContext> = {}): Headers {
  const headers = new HeaderList(before)
  const compiled = compileEdits(edits)
  if (compiled !== null) applyEdits(compiled, headers, context(headers, over))
  return headers.entries
}

t.test('remove, set, add', async (t) => {
  const client: Headers = [
    ['x-set', 'c'],
    ['x-add', 'c'],
    ['x-both', 'c'],
    ['x-rm', 'c'],
  ]
  const level = [remove('x-rm'), set('x-both', 's'), set('x-set', 's'), add('x-add', 'a'), add('x-both', 'a')]
  t.strictSame(edited(level, client), [
    ['x-add', 'c'],
    ['x-both', 's'],
    ['x-set', 's'],
    ['x-add', 'a'],
    ['x-both', 'a'],
  ])
})

t.test('levels: the later ones find what those before them have made', async (t) => {
  const then: HeaderEdit = { op: 'then', name: '', value: '' }
  const rows: [title: string, edits: readonly HeaderEdit[], expected: Headers][] = [
    ['what was added is set', [add('x', 'inner'), then, set('x', 'outer')], [['x', 'outer']]],
    ['and removed', [add('x', 'inner'), set('y', '1'), then, remove('x')], [['y', '1']]],
    ['is there', [add('x', 'inner'), then, { op: 'addIfAbsent', name: 'x', value: 'outer' }], [['x', 'inner']]],
    ['is read', [set('x', '%REQ(a)%'), then, set('y', '%REQ(x)%-%REQ(y)%'), then, then, set('z', '%REQ(y)%')], [['y', 'in-'], ['z', 'in-'], ['x', 'in']]],
    ['nothing in the first', [then, set('x', 'outer')], [['x', 'outer']]],
    ['nothing at all', [then], []],
  ] // biome-ignore format: a table
  for (const [title, edits, expected] of rows) {
    const found = edited(edits, title === 'is read' ? [['a', 'in']] : []).filter(([name]) => name !== 'a')
    t.strictSame(found.toSorted(), [...expected].toSorted(), title)
  }
})

t.test('rows', async (t) => {
  const rows: [edits: readonly HeaderEdit[], before: Headers, after: Headers, what: string][] = [
    [[set('X-UPPER', 'V')], [], [['x-upper', 'V']], 'names are sent in lower case'],
    [[set('x-e', '')], [], [], 'set to nothing adds nothing'],
    [[set('x-e', '')], [['x-e', 'c']], [['x-e', 'c']], 'and leaves what is there'],
    [[set('x-e', '%REQ(x-none)%')], [['x-e', 'c']], [['x-e', 'c']], 'a template that is empty does so too'],
    [
      [add('cookie', 'b=2')],
      [['cookie', 'a=1']],
      [
        ['cookie', 'a=1'],
        ['cookie', 'b=2'],
      ],
      'add keeps what is there',
    ],
    [
      [remove('x')],
      [
        ['x', '1'],
        ['x', '2'],
        ['y', '3'],
      ],
      [['y', '3']],
      'remove takes all values',
    ],
    [
      [set('x-a', 'new'), set('x-b', '%REQ(x-a)%')],
      [['x-a', 'old']],
      [
        ['x-a', 'new'],
        ['x-b', 'old'],
      ],
      'templates do not see what the same level sets',
    ],
    [[remove('x-a'), set('x-b', 'was:%REQ(x-a)%')], [['x-a', 'old']], [['x-b', 'was:']], 'but what it removes is gone'],
    [
      [add('x-a', 'added'), set('x-a', 'set')],
      [['x-a', 'old']],
      [
        ['x-a', 'set'],
        ['x-a', 'added'],
      ],
      'what is added stays, also before what is set (as seen of Envoy 1.40)',
    ],
    [[only('addIfAbsent', 'x-a')], [], [['x-a', 'new']], 'added where there is none'],
    [[only('addIfAbsent', 'x-a')], [['x-a', 'old']], [['x-a', 'old']], 'not added where there is one'],
    [[only('setIfPresent', 'x-a')], [['x-a', 'old']], [['x-a', 'new']], 'set where there is one'],
    [[only('setIfPresent', 'x-a')], [], [], 'not set where there is none'],
    [[remove('x-a'), only('addIfAbsent', 'x-a')], [['x-a', 'old']], [['x-a', 'new']], 'what is removed is not there'],
    [
      [set('x-a', 'first'), only('addIfAbsent', 'x-a')],
      [],
      [
        ['x-a', 'first'],
        ['x-a', 'new'],
      ],
      'what the same level sets is not there yet',
    ],
  ]
  for (const [edits, before, after, what] of rows) t.strictSame(edited(edits, before), after, what)
})

t.test('no edits compile to null, constants need no context', async (t) => {
  t.equal(compileEdits([]), null)
  t.equal(compileEdits([set('x', '')]), null)
  t.equal(compileEdits([set('x', 'v'), add('y', '100%%'), remove('z')])?.constant, true)
  t.equal(compileEdits([set('x', '%PROTOCOL%')])?.constant, false)
})

t.test('operators', async (t) => {
  const request: Headers = [
    ['x-in', 'inval'],
    ['x-two', 'one'],
    ['x-two', 'two'],
  ]
  const response = new HeaderList([['server', 'app']])
  const answered = { responseCode: 200, responseHeaders: response, responseCodeDetails: 'via_upstream' }
  const rows: [value: string, expected: string, over?: Partial<EditContext>][] = [
    ['plain', 'plain'],
    ['100%%', '100%'],
    ['%%REQ%%', '%REQ%'],
    ['a-%REQ(x-none)%-b', 'a--b'],
    ['%REQ(:path)%', '/h4?q=1'],
    ['%REQ(:METHOD)%', 'GET'],
    ['%REQ(:authority)%', 'a:9080'],
    ['%REQ(host)%', 'a:9080'],
    ['%REQ(:scheme)%', 'http'],
    ['%REQ(X-IN)%', 'inval'],
    ['%REQ(x-two)%', 'one'],
    ['%REQ(X-NONE?X-IN):3%', 'inv'],
    ['%REQ(x-in?x-two):2%', 'in'],
    ['%REQ(x-in):0%x', 'x'],
    ['%RESP(server)%', 'app', answered],
    ['x%RESP(server)%', 'x'],
    ['%RESP(:status)%', '200', answered],
    ['%PROTOCOL%', 'HTTP/1.1'],
    ['%DOWNSTREAM_REMOTE_ADDRESS%', '127.0.0.1:5555'],
    ['%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', '127.0.0.1'],
    ['%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', '::1', { downstreamRemoteAddress: '[::1]:5' }],
    ['%DOWNSTREAM_REMOTE_PORT%', '5555'],
    ['%DOWNSTREAM_LOCAL_ADDRESS%', '127.0.0.2:8080'],
    ['%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%', '127.0.0.2'],
    ['%DOWNSTREAM_LOCAL_PORT%', '8080'],
    ['%RESPONSE_CODE%', '0'],
    ['%RESPONSE_CODE%', '200', answered],
    ['%RESPONSE_FLAGS%', '-'],
    ['%RESPONSE_FLAGS%', 'DI,URX', { responseFlags: URX | DI }],
    ['%RESPONSE_CODE_DETAILS%', 'via_upstream', answered],
    ['%UPSTREAM_HOST%|', '|'],
    ['%UPSTREAM_HOST%', '127.0.2.1:9080', { upstreamHost: '127.0.2.1:9080' }],
    ['%UPSTREAM_CLUSTER%', 'outbound|9080||a'],
    ['%ROUTE_NAME%/%VIRTUAL_HOST_NAME%', 'template/a:9080'],
    ['%HOSTNAME%', 'box'],
    ['%BYTES_RECEIVED%-%BYTES_SENT%-%DURATION%', '3-4-12'],
    ['%START_TIME%', '2026-11-21T10:22:08.094Z'],
    ['%START_TIME(%s.%3f)%', '1795256528.094'],
    ['%START_TIME(%Y/%m/%dT%H:%M:%S%z %3f)%', '2026/11/21T10:22:08+0000 094'],
  ]
  for (const [value, expected, over] of rows) {
    t.strictSame(edited([set('x-t', value)], request, over), [...request, ['x-t', expected]], value)
  }
})

const CERTIFICATE = {
  facts: {
    uris: ['spiffe://a/ns/b/sa/c'],
    dnsNames: ['web.test', 'www.web.test'],
    ipAddresses: ['0a000001', '20010db8000000000000000000000001'],
    subjectRfc2253: 'CN=web,O=shop',
    issuerRfc2253: 'CN=root',
    serial: '01ff',
  },
  pem: 'PEM',
  fingerprint: (algorithm: string) => algorithm,
} as unknown as TlsView['peerCertificate']
const TLS: TlsView = {
  version: 'TLSv1.3',
  cipher: 'TLS_AES_128_GCM_SHA256',
  peerIdentity: 'spiffe://td/ns/x/sa/client',
  localIdentity: 'spiffe://td/ns/x/sa/us',
  peerCertificate: CERTIFICATE,
}

t.test('operators of connections, certificates and what is around a request', async (t) => {
  const downstream = { downstreamTls: TLS }
  const metadata = new Map([['envoy.filters.http.jwt_authn', { payload: { sub: 'anna', groups: ['a', 'b'] } }]])
  const rows: [value: string, expected: string, over?: Partial<EditContext>][] = [
    ['%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%', '10.0.0.1:6666'],
    ['%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%:%DOWNSTREAM_DIRECT_REMOTE_PORT%', '10.0.0.1:6666'],
    ['%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER%', 'TLSv1.3 TLS_AES_128_GCM_SHA256', downstream],
    ['%DOWNSTREAM_PEER_URI_SAN%', 'spiffe://td/ns/x/sa/client', downstream],
    ['%DOWNSTREAM_PEER_URI_SAN%', 'spiffe://a/ns/b/sa/c', { downstreamTls: { ...TLS, peerIdentity: '' } }],
    ['%DOWNSTREAM_LOCAL_URI_SAN%', 'spiffe://td/ns/x/sa/us', downstream],
    ['%DOWNSTREAM_PEER_DNS_SAN%', 'web.test,www.web.test', downstream],
    ['%DOWNSTREAM_PEER_IP_SAN%', '10.0.0.1,2001:db8:0:0:0:0:0:1', downstream],
    ['%DOWNSTREAM_PEER_SUBJECT%', 'CN=web,O=shop', downstream],
    ['%DOWNSTREAM_PEER_ISSUER%/%DOWNSTREAM_PEER_SERIAL%', 'CN=root/01ff', downstream],
    ['%DOWNSTREAM_PEER_CERT%', 'PEM', downstream],
    ['%DOWNSTREAM_PEER_FINGERPRINT_256% %DOWNSTREAM_PEER_FINGERPRINT_1%', 'sha256 sha1', downstream],
    ['-%DOWNSTREAM_PEER_SUBJECT%-', '--'],
    ['%UPSTREAM_PEER_SUBJECT%', 'CN=web,O=shop', { upstreamTls: TLS }],
    ['%UPSTREAM_TLS_VERSION%', 'TLSv1.3', { upstreamTls: TLS }],
    ['%UPSTREAM_REMOTE_PORT%', '9080', { upstreamHost: '127.0.2.1:9080' }],
    ['%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%', '::1', { upstreamLocalAddress: '[::1]:9' }],
    ['%UPSTREAM_CLUSTER_RAW%', 'outbound|9080||a'],
    ['%RESPONSE_FLAGS_LONG%', 'DelayInjected,UpstreamRetryLimitExceeded', { responseFlags: URX | DI }],
    ['%GRPC_STATUS%', 'DeadlineExceeded', { grpcStatus: 4 }],
    ['%GRPC_STATUS(SNAKE_STRING)%', 'DEADLINE_EXCEEDED', { grpcStatus: 4 }],
    ['%GRPC_STATUS(NUMBER)%%GRPC_STATUS_NUMBER%', '44', { grpcStatus: 4 }],
    ['-%GRPC_STATUS%-', '--'],
    ['%REQUEST_HEADER(x-id?x-request-id)%', 'id-1'],
    ['%REQ_WITHOUT_QUERY(:path)%', '/h4'],
    ['%STREAM_ID% %UNIQUE_ID%', 'id-1 unique'],
    ['%TRACE_ID%', '0af7651916cd43dd8448eb211c80319c'],
    ['%PATH%', '/h4?q=1&r'],
    ['%REQ(:path)%', '/new?q=1', { sentPath: '/new?q=1' }],
    ['%PATH(NQ)%', '/h4'],
    ['%QUERY_PARAM(q)%-%QUERY_PARAM(r)%-%QUERY_PARAM(s)%', '1--'],
    ['%ENVIRONMENT(REGION)%', 'eu'],
    ['%EMIT_TIME(%3f)%', '106'],
    ['%REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)%', 'a'],
    ['%REQUESTED_SERVER_NAME(SNI_FIRST)%', 'sni.test', { requestedServerName: 'sni.test' }],
    ['%FILTER_STATE(io.istio.peer_principal:PLAIN)%', 'spiffe://td/ns/x/sa/client', downstream],
    ['%PER_REQUEST_STATE(io.istio.local_principal)%', 'spiffe://td/ns/x/sa/us', downstream],
    ['%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:sub)%', 'anna', { metadata }],
    ['%DYNAMIC_METADATA(["envoy.filters.http.jwt_authn", "payload", "groups"])%', '["a","b"]', { metadata }],
    ['-%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:iss)%-', '--', { metadata }],
    ['-%CONNECTION_ID%%UPSTREAM_METADATA(a:b)%%TLS_JA3_FINGERPRINT%-', '--'],
  ]
  const request: Headers = [
    ['x-request-id', 'id-1'],
    ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ]
  for (const [value, expected, over] of rows)
    t.strictSame(edited([set('x-t', value)], request, { pathWithQuery: '/h4?q=1&r', ...over }).at(-1), ['x-t', expected], value)
})

/** As Envoy's page on access logging lists them, by what a header can have of them. */
const DOCUMENTED = `START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL REQUEST_HEADERS_BYTES BYTES_RECEIVED PROTOCOL UPSTREAM_PROTOCOL RESPONSE_CODE
RESPONSE_CODE_DETAILS CONNECTION_TERMINATION_DETAILS RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES BYTES_SENT UPSTREAM_REQUEST_ATTEMPT_COUNT
UPSTREAM_WIRE_BYTES_SENT UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT
DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_HEADER_BYTES_RECEIVED DURATION COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)
REQUEST_DURATION REQUEST_TX_DURATION RESPONSE_DURATION RESPONSE_TX_DURATION DOWNSTREAM_HANDSHAKE_DURATION ROUNDTRIP_DURATION
UPSTREAM_CONNECTION_POOL_READY_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG UPSTREAM_HOST_NAME UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_HOST
UPSTREAM_CONNECTION_ID UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_PORT
UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT UPSTREAM_TRANSPORT_FAILURE_REASON
DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT
DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_LOCAL_ADDRESS
DOWNSTREAM_DIRECT_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_PORT CONNECTION_ID STREAM_ID GRPC_STATUS GRPC_STATUS_NUMBER
REQ(x?y):9 RESP(x?y):9 TRAILER(x?y):9 DYNAMIC_METADATA(a:b):9 CLUSTER_METADATA(a:b) UPSTREAM_METADATA(a:b) FILTER_STATE(a:PLAIN):9
UPSTREAM_FILTER_STATE(a:TYPED) REQUESTED_SERVER_NAME DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_PEER_DNS_SAN
DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_PEER_EMAIL_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN
DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_ISSUER DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_CIPHER
DOWNSTREAM_TLS_VERSION DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256
DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CERT_V_END
TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT UPSTREAM_TLS_CIPHER UPSTREAM_TLS_VERSION UPSTREAM_TLS_SESSION_ID UPSTREAM_PEER_ISSUER UPSTREAM_PEER_CERT
UPSTREAM_PEER_SUBJECT UPSTREAM_PEER_URI_SAN UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN UPSTREAM_LOCAL_SUBJECT UPSTREAM_LOCAL_URI_SAN
UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN HOSTNAME LOCAL_REPLY_BODY FILTER_CHAIN_NAME VIRTUAL_CLUSTER_NAME ACCESS_LOG_TYPE UNIQUE_ID
ENVIRONMENT(X):9 TRACE_ID SPAN_ID QUERY_PARAM(x):9 QUERY_PARAMS(DECODED) PATH(NQ:PATH) CUSTOM_FLAGS BYTES_RETRANSMITTED PACKETS_RETRANSMITTED ROUTE_NAME
METADATA(CLUSTER:a:b) REQ_WITHOUT_QUERY(x) CEL(x) PER_REQUEST_STATE(x)`

t.test('no operator that Envoy documents is refused', async (t) => {
  for (const command of DOCUMENTED.split(/\s+/)) t.equal(checkTemplate(`%${command}%`), null, command)
  t.strictSame(emptyOperators('a %CONNECTION_ID% %PROTOCOL% %SPAN_ID%'), ['CONNECTION_ID', 'SPAN_ID'])
  t.strictSame(emptyOperators('100%'), [])
})

t.test('faults of templates', async (t) => {
  const rows: [value: string, message: string | null][] = [
    ['fine %REQ(x)%', null],
    ['50%', 'un-escaped % at character 3; write %% for a percent sign'],
    ['%REQ(x)', 'un-escaped % at character 1; write %% for a percent sign'],
    ['%REQ%', '%REQ% wants a header name, as in %REQ(x-name)% or %REQ(x-name?x-other)%'],
    ['%RESP()%', '%RESP% wants a header name, as in %RESP(x-name)% or %RESP(x-name?x-other)%'],
    ['%PROTOCOL(x)%', '%PROTOCOL% takes no parameter'],
    ['%PROTOCL%', 'unknown operator %PROTOCL%; did you mean `PROTOCOL`?'],
    ['%NONSENSE_HERE%', 'unknown operator %NONSENSE_HERE%'],
    ['%a b%', '%a b% is not of the form %COMMAND%, %COMMAND(parameter)% or %COMMAND(parameter):length%'],
  ]
  for (const [value, message] of rows) t.equal(checkTemplate(value), message, value)
})

t.test('with several destinations the destination runs first, so that the route wins', async (t) => {
  const destination = [set('x-l', 'dest'), add('x-a', 'dest')]
  const ofRoute = [set('x-l', 'route'), add('x-a', 'route')]
  const client: Headers = [
    ['x-l', 'c'],
    ['x-a', 'c'],
  ]
  t.strictSame(edited(ofRoute, edited(destination, client)), [
    ['x-a', 'c'],
    ['x-a', 'dest'],
    ['x-l', 'route'],
    ['x-a', 'route'],
  ])
})

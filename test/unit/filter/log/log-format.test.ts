// Formats of access logs. Expected values are those of Envoy's documentation ("Access logging", command operators) and of Istio's of its formats.
import t from 'tap'
import { LogFormat } from '../../../../lib/filter/log/log-format.ts'
import { logCommands } from '../../../../lib/filter/log/log-operators.ts'
import { parseLogTemplate } from '../../../../lib/filter/log/log-template.ts'
import { DEFAULT_FORMAT, type LogLineFormat } from '../../../../lib/state/access-log.ts'
import { NR, UF, URX } from '../../../../lib/telemetry/response-flags.ts'
import { type ContextParts, logContext } from './context.ts'

const text = (format: string, omitsEmpty = false): LogLineFormat => ({ kind: 'text', text: format, omitsEmpty })
const json = (fields: (LogLineFormat & { kind: 'json' })['fields'], omitsEmpty = false): LogLineFormat => ({
  kind: 'json',
  fields,
  omitsEmpty,
})

function line(format: LogLineFormat, parts: ContextParts = {}): string {
  return new LogFormat(format).line(logContext(parts))
}

const NO_ANSWER: ContextParts = {
  answer: null,
  upstreamHost: '',
  upstreamLocalAddress: '',
  requestSentMs: -1,
  responseBeginMs: -1,
  responseCode: 0,
}
const TCP: ContextParts = {
  ...NO_ANSWER,
  logType: 'TcpConnectionEnd',
  method: '',
  originalPath: '',
  sentPath: '',
  authority: '',
  scheme: '',
  protocol: '',
  requestEndMs: -1,
  overMs: -1,
}

t.test('operators', async (t) => {
  const rows: readonly (readonly [format: string, expected: string, parts?: ContextParts])[] = [
    ['%REQ(:METHOD)% %REQ(:AUTHORITY)% %REQ(:SCHEME)% %REQ(:PATH)%', 'GET reviews:9080 http /r?id=1'],
    [
      '%REQ(:PATH)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
      '/new /r?id=1',
      { sentPath: '/new', headers: [['x-envoy-original-path', '/r?id=1']] },
    ],
    // A token in the header of the upstream is not in what is logged.
    ['%REQ(X-ENVOY-ORIGINAL-PATH)%', '/r', { originalPath: '/r', headers: [['x-envoy-original-path', '/r?token=secret']] }],
    ['%REQ(X-A)% %REQ(x-b)% %REQ(X-B?X-A)%', 'one - one', { headers: [['x-a', 'one']] }],
    ['%REQUEST_HEADER(X-A)%', 'one', { headers: [['x-a', 'one']] }],
    ['%REQ(X-A):2%|%REQ(X-A):9%|%REQ(X-A):0%', 'on|one|', { headers: [['x-a', 'one']] }],
    ['%REQ_WITHOUT_QUERY(:PATH)% %REQ_WITHOUT_QUERY(X-NO)%', '/r -'],
    ['%RESP(CONTENT-TYPE)% %RESP(:STATUS)% %RESP(X-NO)%', 'text/html 200 -', { answer: [['content-type', 'text/html']] }],
    ['%RESP(CONTENT-TYPE)% %RESP(:STATUS)%', '- -', NO_ANSWER],
    ['%TRAILER(GRPC-STATUS)% %TRAILER(X)%', '0 -', { trailers: { 'grpc-status': '0' } }],
    ['%START_TIME%', '2026-11-21T10:22:08.094Z'],
    ['%START_TIME(%s.%3f)% %START_TIME(%Y/%m/%dT%H:%M:%S%z %9f)%', '1795256528.094 2026/11/21T10:22:08+0000 094000000'],
    ['%PROTOCOL% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%', 'HTTP/1.1 200 via_upstream'],
    ['%RESPONSE_CODE_DETAILS% %RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%', 'a_b a b', { responseCodeDetails: 'a b' }],
    ['%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%', '- -'],
    [
      '%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%',
      'URX,UF UpstreamRetryLimitExceeded,UpstreamConnectionFailure',
      { responseFlags: URX | UF },
    ],
    ['%BYTES_RECEIVED% %BYTES_SENT% %DURATION%', '3 1024 12'],
    ['%DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_SENT%', '130 1300'],
    ['%REQUEST_DURATION% %REQUEST_TX_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%', '1 2 8 3'],
    ['%REQUEST_DURATION% %REQUEST_TX_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%', '1 - - -', NO_ANSWER],
    [
      '%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:ms)% %COMMON_DURATION(US_TX_END:US_RX_BEG:us)% %COMMON_DURATION(DS_RX_END:DS_TX_END:ns)%',
      '8 6500 11000000',
    ],
    ['%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:ms)%', '-', NO_ANSWER],
    ['%COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)%', '-', TCP],
    [
      '%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS%',
      '10.0.0.9:9080 outbound|9080||reviews outbound|9080||reviews 10.0.0.1:40000',
    ],
    ['%UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_PORT%', '10.0.0.9:9080 9080'],
    // Of a connection that did not come to be there is no remote address, but a host.
    ['%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_PORT%', '10.0.0.9:9080 - -', { upstreamLocalAddress: '' }],
    ['%UPSTREAM_REQUEST_ATTEMPT_COUNT%', '1'],
    [
      '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
      'delayed_connect_error:_Connection_refused',
      { upstreamTransportFailureReason: 'delayed connect error: Connection refused' },
    ],
    [
      '%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%',
      '10.0.0.2:5555 10.0.0.2 5555',
    ],
    [
      '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_LOCAL_ADDRESS%',
      '10.0.0.3:6666 10.0.0.1:9080 10.0.0.1:15006',
    ],
    ['%REQUESTED_SERVER_NAME% %ROUTE_NAME% %VIRTUAL_CLUSTER_NAME%', '- default -'],
    ['%HOSTNAME% %ENVIRONMENT(REGION)% %ENVIRONMENT(NO)%', 'box eu -'],
    [
      '%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%',
      'NotFound NOT_FOUND 5 5',
      { grpcStatus: 5 },
    ],
    ['%GRPC_STATUS%', '-'],
    // A call whose answer says nothing of it (gRPC, "HTTP to gRPC Status Code Mapping").
    ['%GRPC_STATUS%', 'Unavailable', { grpcStatus: -1, responseCode: 503 }],
    [
      '%DYNAMIC_METADATA(a:b:c)% %METADATA(DYNAMIC:a:b:c)% %DYNAMIC_METADATA(a:x)%',
      'deep deep -',
      { metadata: new Map([['a', { b: { c: 'deep' } }]]) },
    ],
    ['%DYNAMIC_METADATA(a:b)%', '{\\"c\\":1}', { metadata: new Map([['a', { b: { c: 1 } }]]) }],
    ['%ACCESS_LOG_TYPE%', 'DownstreamEnd'],
    [
      '%ACCESS_LOG_TYPE% %REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %REQUEST_DURATION%',
      'TcpConnectionEnd - - - 0 -',
      TCP,
    ],
    // Of a connection what a flag says already is not said twice.
    ['%CONNECTION_TERMINATION_DETAILS%', 'rbac_access_denied', { ...TCP, connectionTerminationDetails: 'rbac_access_denied' }],
    ['%CONNECTION_TERMINATION_DETAILS%', '-', { ...TCP, connectionTerminationDetails: 'connect_failure', responseFlags: UF }],
    ['%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_SUBJECT%', '- - -'],
    [
      '%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_LOCAL_URI_SAN%',
      'TLSv1.3 TLS_AES_128_GCM_SHA256 spiffe://a/ns/b/sa/c spiffe://a/ns/d/sa/e',
      {
        downstreamTls: {
          version: 'TLSv1.3',
          cipher: 'TLS_AES_128_GCM_SHA256',
          peerIdentity: 'spiffe://a/ns/b/sa/c',
          localIdentity: 'spiffe://a/ns/d/sa/e',
          peerCertificate: null,
        },
      },
    ],
    ['100%% of %PROTOCOL%', '100% of HTTP/1.1'],
    ['no operator', 'no operator'],
    ['', ''],
  ]
  for (const [format, expected, parts] of rows) t.equal(line(text(format), parts), expected, format)
})

t.test('what is no operator is a dash, and is told', async (t) => {
  const rows: readonly (readonly [format: string, expected: string, problems: readonly string[], silent?: readonly string[]])[] =
    [
      ['a %PROTOKOL% b', 'a - b', ['%PROTOKOL% is no operator that is known; did you mean `PROTOCOL`?']],
      ['%lower% x', '- x', ['%lower% is not of the form %COMMAND%, %COMMAND(parameter)% or %COMMAND(parameter):length%']],
      ['50% off', '50% off', ['the % at character 3 begins no operator; %% is a percent sign']],
      ['%CEL(request.headers["x"])% %PROTOCOL%', '- HTTP/1.1', [], ['%CEL(request.headers["x"])%']],
      ['%FILTER_STATE(wasm.x:PLAIN)%', '-', [], ['%FILTER_STATE(wasm.x:PLAIN)%']],
      ['%COMMON_DURATION(DS_RX_BEG:US_CX_BEG:ms)%', '-', [], ['%COMMON_DURATION(DS_RX_BEG:US_CX_BEG:ms)%']],
    ]
  for (const [format, expected, problems, silent = []] of rows) {
    t.equal(line(text(format)), expected, format)
    const parsed = parseLogTemplate(format)
    t.same([parsed.problems, parsed.silent], [problems, silent], format)
  }
  for (const command of logCommands()) t.same(parseLogTemplate(`%${command}%`).problems, [], command)
})

t.test('what a client has sent ends neither a field nor a line', async (t) => {
  const headers = [
    ['user-agent', 'a" 200 "\n[x\\'],
    ['x-u', '\xc3\xbc'],
  ] as const
  t.equal(line(text('"%REQ(USER-AGENT)%" "%REQ(X-U)%"\n'), { headers }), '"a\\" 200 \\"\\n[x\\\\" "\\xc3\\xbc"\n')
  const said = line(json({ agent: '%REQ(USER-AGENT)%', mixed: 'is %REQ(USER-AGENT)%', u: '%REQ(X-U)%' }), { headers })
  t.same(JSON.parse(said), { agent: 'a" 200 "\n[x\\', mixed: 'is a" 200 "\n[x\\', u: 'ü' })
  t.match(said, /^[\x20-\x7e]+\n$/, 'ASCII')
  // One character of a line is one byte.
  t.equal(line(text('grüße %PROTOCOL%')), `${Buffer.from('grüße').toString('latin1')} HTTP/1.1`)
})

t.test('what is missing', async (t) => {
  const format = 'a=%REQ(X-A)% b=%REQ(X-EMPTY)% c=%CEL(x)%'
  const parts: ContextParts = { headers: [['x-empty', '']] }
  t.equal(line(text(format), parts), 'a=- b= c=-')
  t.equal(line(text(format, true), parts), 'a= b= c=')
})

t.test('JSON', async (t) => {
  const fields = {
    code: '%RESPONSE_CODE%',
    b: '%BYTES_SENT%',
    ms: '%RESPONSE_DURATION%',
    port: '%DOWNSTREAM_REMOTE_PORT%',
    address: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%',
    grpc: '%GRPC_STATUS(NUMBER)%',
    mixed: '%RESPONSE_CODE% %REQ(X-A)%',
    missing: '%REQ(X-A)%',
    silent: '%CEL(x)%',
    flags: '%RESPONSE_FLAGS%',
    literal: 'x "y"',
    percent: '100%%',
    number: 5,
    yes: true,
    nothing: null,
    list: ['%PROTOCOL%', '%REQ(X-A)%', 1],
    nested: { z: '%RESPONSE_CODE%', a: '%REQ(X-A)%', empty: {} },
    Z: 'sorted by bytes',
  }
  t.equal(
    line(json(fields), { responseFlags: NR }),
    '{"Z":"sorted by bytes","address":"10.0.0.2","b":1024,"code":200,"flags":"NR","grpc":null,"list":["HTTP/1.1",null,1],"literal":"x \\"y\\"","missing":null,' +
      '"mixed":"200 -","ms":8,"nested":{"a":null,"empty":{},"z":200},"nothing":null,"number":5,"percent":"100%","port":5555,"silent":null,"yes":true}\n',
  )
  t.equal(
    line(json(fields, true), { responseFlags: NR }),
    '{"Z":"sorted by bytes","address":"10.0.0.2","b":1024,"code":200,"flags":"NR","list":["HTTP/1.1",1],"literal":"x \\"y\\"",' +
      '"mixed":"200 ","ms":8,"nested":{"empty":{},"z":200},"number":5,"percent":"100%","port":5555,"yes":true}\n',
  )
  t.equal(line(json({})), '{}\n')
  t.equal(line(json({ 'k"ü': '%PROTOCOL%' })), '{"k\\"\\u00fc":"HTTP/1.1"}\n')
})

t.test('a line says what its own request was, whatever the one before it was', async (t) => {
  const format = new LogFormat(DEFAULT_FORMAT)
  const contexts = [
    logContext({
      headers: [
        ['user-agent', 'a'],
        ['x-request-id', '1'],
      ],
      answer: [['x-envoy-upstream-service-time', '7']],
    }),
    logContext({ method: 'POST', responseCode: 404, answer: null, upstreamHost: '', durationMs: 1 }),
    logContext({ ...TCP, startTimeMs: Date.UTC(2026, 10, 21, 10, 22, 9) }),
  ]
  const expected = [
    '[2026-11-21T10:22:08.094Z] "GET /r?id=1 HTTP/1.1" 200 - 3 1024 12 7 "-" "a" "1" "reviews:9080" "10.0.0.9:9080"\n',
    '[2026-11-21T10:22:08.094Z] "POST /r?id=1 HTTP/1.1" 404 - 3 1024 1 - "-" "-" "-" "reviews:9080" "-"\n',
    '[2026-11-21T10:22:09.000Z] "- - -" 0 - 3 1024 12 - "-" "-" "-" "-" "-"\n',
  ]
  for (const i of [0, 1, 2, 0, 2, 1, 1, 0]) t.equal(format.line(contexts[i] as never), expected[i])
})

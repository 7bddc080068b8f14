// Access loggers as a control plane writes them: which of them are carried out, in which form, for which requests, and what is told of the others. Never a fault.
import t from 'tap'
import { type AccessLogFilter, type AccessLogger, DEFAULT_FORMAT } from '../../../../lib/state/access-log.ts'
import type { HttpChain, TcpChain } from '../../../../lib/state/listener.ts'
import type { JsonObject } from '../../../../lib/xds/proto/json.ts'
import { celLogFilter } from '../../../../lib/xds/translate/cel-log-filter.ts'
import { findingsText } from '../../../../lib/xds/translate/findings.ts'
import { chains, filters, hcm, tcp, translated, typed } from './listener-json.ts'

const LOGGERS = 'envoy.extensions.access_loggers.'
const FILE = `${LOGGERS}file.v3.FileAccessLog`
const AT = 'filter_chains[0].filters[0].access_log[0]'

const file = (more: JsonObject = {}): JsonObject => typed('file', FILE, { path: '/dev/stdout', ...more })
const textSource = (inline_string: string, more: JsonObject = {}): JsonObject => ({
  log_format: { text_format_source: { inline_string }, ...more },
})

function inHttp(...logs: readonly JsonObject[]): {
  readonly loggers: readonly AccessLogger[]
  readonly notes: string
  readonly faults: string
} {
  const { listener, notes, faults } = translated(filters(hcm({ access_log: logs })))
  const chain = listener?.filterChains[0]?.network as HttpChain | undefined
  return { loggers: chain?.settings.accessLogs ?? [], notes: findingsText(notes), faults: findingsText(faults) }
}

t.test('formats', async (t) => {
  const rows: readonly (readonly [title: string, log: JsonObject, format: AccessLogger['format'], path?: string])[] = [
    ['none is Envoy’s', file(), DEFAULT_FORMAT],
    ['text', file(textSource('%PROTOCOL%\n')), { kind: 'text', text: '%PROTOCOL%\n', omitsEmpty: false }],
    [
      'bytes',
      file({ log_format: { text_format_source: { inline_bytes: Buffer.from('x\n').toString('base64') } } }),
      { kind: 'text', text: 'x\n', omitsEmpty: false },
    ],
    ['without what is empty', file(textSource('x', { omit_empty_values: true })), { kind: 'text', text: 'x', omitsEmpty: true }],
    ['text, deprecated', file({ log_format: { text_format: 'x' } }), { kind: 'text', text: 'x', omitsEmpty: false }],
    ['text, long deprecated', file({ format: 'x' }), { kind: 'text', text: 'x', omitsEmpty: false }],
    [
      'JSON',
      file({ log_format: { json_format: { a: '%PROTOCOL%', b: { c: 1 } } } }),
      { kind: 'json', fields: { a: '%PROTOCOL%', b: { c: 1 } }, omitsEmpty: false },
    ],
    ['JSON, deprecated', file({ json_format: { a: 'x' } }), { kind: 'json', fields: { a: 'x' }, omitsEmpty: false }],
    ['typed JSON, deprecated', file({ typed_json_format: { a: 'x' } }), { kind: 'json', fields: { a: 'x' }, omitsEmpty: false }],
    ['standard output', typed('o', `${LOGGERS}stream.v3.StdoutAccessLog`), DEFAULT_FORMAT],
    [
      'standard error',
      typed('e', `${LOGGERS}stream.v3.StderrAccessLog`, textSource('x')),
      { kind: 'text', text: 'x', omitsEmpty: false },
      '/dev/stderr',
    ],
  ]
  for (const [title, log, format, path = '/dev/stdout'] of rows) {
    const { loggers, notes, faults } = inHttp(log)
    t.same(loggers, [{ path, format, filter: null }], title)
    t.equal(notes + faults, '', title)
  }
})

t.test('what is not understood is told, and keeps nothing from serving', async (t) => {
  const rows: readonly (readonly [title: string, log: JsonObject, note: string, loggers: number])[] = [
    [
      'a stream of logs',
      typed('als', `${LOGGERS}grpc.v3.HttpGrpcAccessLogConfig`),
      `${AT}: the access logger als (${LOGGERS}grpc.v3.HttpGrpcAccessLogConfig) is not understood: it gets nothing`,
      0,
    ],
    [
      'OpenTelemetry',
      typed('otel', `${LOGGERS}open_telemetry.v3.OpenTelemetryAccessLogConfig`),
      `${AT}: the access logger otel (${LOGGERS}open_telemetry.v3.OpenTelemetryAccessLogConfig) is not understood: it gets nothing`,
      0,
    ],
    ['no configuration', { name: 'bare' }, `${AT}: the access logger bare (nothing) is not understood: it gets nothing`, 0],
    ['no path', typed('file', FILE), `${AT}: it has no path: nothing is logged`, 0],
    [
      'an operator that is none',
      file(textSource('%PROTOKOL% %X%')),
      `${AT}.log_format: %PROTOKOL% is no operator that is known; did you mean \`PROTOCOL\`?; %X% is no operator that is known: nothing is logged for it`,
      1,
    ],
    [
      'operators that say nothing',
      file({ log_format: { json_format: { a: '%CEL(x)%', b: ['%UPSTREAM_METADATA(a)%'], c: '%VIRTUAL_CLUSTER_NAME%' } } }),
      `${AT}.log_format.json_format: nothing is known here of %CEL(x)%, %UPSTREAM_METADATA(a)%`,
      1,
    ],
    [
      'a format in a file',
      file({ log_format: { text_format_source: { filename: '/x' } } }),
      `${AT}.log_format.text_format_source: it is not in the message itself: Envoy's default format is used`,
      1,
    ],
    [
      'metadata',
      { ...file(), filter: { metadata_filter: {} } },
      `${AT}.filter: a condition on metadata is not carried out: all is logged`,
      1,
    ],
    [
      'traces',
      { ...file(), filter: { or_filter: { filters: [{ traceable_filter: {} }] } } },
      `${AT}.filter.or_filter.filters[0]: a condition on traces is not carried out: all is logged`,
      1,
    ],
    [
      'a range of numbers',
      { ...file(), filter: { header_filter: { header: { name: 'n', range_match: { start: 1, end: 2 } } } } },
      `${AT}.filter.header_filter: a range of numbers for the header n is not understood: all is logged`,
      1,
    ],
    [
      'an extension',
      { ...file(), filter: { extension_filter: typed('x', 'google.protobuf.Empty') } },
      `${AT}.filter.extension_filter: the condition x (google.protobuf.Empty) is not understood: all is logged`,
      1,
    ],
    [
      'CEL that says more',
      {
        ...file(),
        filter: {
          extension_filter: typed('cel', `${LOGGERS}filters.cel.v3.ExpressionFilter`, { expression: 'response.size > 1' }),
        },
      },
      `${AT}.filter.extension_filter: the expression \`response.size > 1\` is not understood: all is logged`,
      1,
    ],
  ]
  for (const [title, log, note, count] of rows) {
    const { loggers, notes, faults } = inHttp(log)
    t.equal(notes, note, title)
    t.equal(faults, '', title)
    t.equal(loggers.length, count, title)
  }
})

const comparison = (op: string, value: number): JsonObject => ({
  comparison: { op, value: { default_value: value, runtime_key: 'k' } },
})

t.test('filters', async (t) => {
  const rows: readonly (readonly [sent: JsonObject, filter: AccessLogFilter])[] = [
    [{ status_code_filter: comparison('GE', 400) }, { kind: 'status', op: 'GE', value: 400 }],
    [{ duration_filter: comparison('LE', 5) }, { kind: 'duration', op: 'LE', valueMs: 5 }],
    [{ not_health_check_filter: {} }, { kind: 'all' }],
    [{ response_flag_filter: { flags: ['NR'] } }, { kind: 'flags', flags: ['NR'] }],
    [{ grpc_status_filter: { statuses: ['OK', 'NOT_FOUND'], exclude: true } }, { kind: 'grpc', statuses: [0, 5], exclude: true }],
    [{ log_type_filter: { types: ['DownstreamEnd'] } }, { kind: 'type', types: ['DownstreamEnd'], exclude: false }],
    [
      {
        runtime_filter: {
          runtime_key: 'k',
          percent_sampled: { numerator: 5, denominator: 'TEN_THOUSAND' },
          use_independent_randomness: true,
        },
      },
      { kind: 'sample', numerator: 5, denominator: 10_000, independent: true },
    ],
    [
      {
        and_filter: {
          filters: [{ status_code_filter: comparison('EQ', 1) }, { or_filter: { filters: [{ response_flag_filter: {} }] } }],
        },
      },
      {
        kind: 'and',
        filters: [
          { kind: 'status', op: 'EQ', value: 1 },
          { kind: 'or', filters: [{ kind: 'flags', flags: [] }] },
        ],
      },
    ],
    [
      { header_filter: { header: { name: 'X-A', string_match: { prefix: 'b' }, invert_match: true } } },
      {
        kind: 'header',
        match: {
          name: 'x-a',
          field: 'withoutHeaders[X-A]',
          match: { kind: 'prefix', value: 'b', ignoreCase: false },
          invert: true,
          missingIsEmpty: false,
        },
      },
    ],
  ]
  for (const [sent, filter] of rows) {
    const { loggers, notes } = inHttp({ ...file(), filter: sent })
    t.same(loggers[0]?.filter, filter)
    t.equal(notes, '')
  }
})

t.test('of connections, of those that nobody takes, and of those that are refused', async (t) => {
  const logged = translated({
    ...chains({ filters: [tcp({ access_log: [file()] })] }),
    access_log: [file(), file({ path: '/x' })],
  })
  t.equal((logged.listener?.filterChains[0]?.network as TcpChain).accessLogs[0]?.path, '/dev/stdout')
  t.same(
    logged.listener?.accessLogs.map((l) => l.path),
    ['/dev/stdout', '/x'],
  )
  const refused = translated(chains({ name: 'virtualOutbound-blackhole', filters: [tcp({ access_log: [file()] })] }))
  t.match(refused.listener?.filterChains[0]?.network, { kind: 'refuse', accessLogs: [{ path: '/dev/stdout' }] })
})

t.test('expressions', async (t) => {
  const status = (op: 'EQ' | 'NE' | 'GE' | 'LE' | 'GT' | 'LT', value: number): AccessLogFilter => ({
    kind: 'and',
    filters: [
      { kind: 'status', op: 'NE', value: 0 },
      { kind: 'status', op, value },
    ],
  })
  const header = (
    name: string,
    kind: 'exact' | 'prefix' | 'suffix' | 'contains',
    value: string,
    invert = false,
  ): AccessLogFilter => ({
    kind: 'header',
    match: { name, field: `headers[${name}]`, match: { kind, value, ignoreCase: false }, invert, missingIsEmpty: false },
  })
  const rows: readonly (readonly [expression: string, filter: AccessLogFilter | null])[] = [
    ['response.code >= 400', status('GE', 400)],
    ['  response.code==404 ', status('EQ', 404)],
    ['response.code != 200', status('NE', 200)],
    ['response.code > 399 && response.code < 500', { kind: 'and', filters: [status('GT', 399), status('LT', 500)] }],
    ["request.method == 'GET'", header(':method', 'exact', 'GET')],
    ['request.host != "a"', header(':authority', 'exact', 'a', true)],
    ["request.path.startsWith('/api')", header(':path', 'prefix', '/api')],
    ["request.useragent.contains('bot')", header('user-agent', 'contains', 'bot')],
    ["request.headers['X-Debug'] == '1'", header('x-debug', 'exact', '1')],
    [
      "!(response.code == 200 || request.path.endsWith('.js')) && request.method == 'GET'",
      {
        kind: 'and',
        filters: [
          { kind: 'not', filter: { kind: 'or', filters: [status('EQ', 200), header(':path', 'suffix', '.js')] } },
          header(':method', 'exact', 'GET'),
        ],
      },
    ],
    [
      "connection.mtls && request.url_path.contains('v1')",
      { kind: 'and', filters: [{ kind: 'mtls' }, { kind: 'path', match: { kind: 'contains', value: 'v1', ignoreCase: false } }] },
    ],
    ['', null],
    ['response.code', null],
    ['response.code >=', null],
    ['response.code >= 400 &&', null],
    ['response.code >= 400)', null],
    ['(response.code >= 400', null],
    ['400 <= response.code', null],
    ["request.method.matches('G.*')", null],
    ["request.method > 'A'", null],
    ["request.headers['a'].startsWith('b')", null],
    ["request.headers['a\\'b'] == 'x'", null],
    ['size(request.path) > 3', null],
    ['source.port == 1 && response.code >= 400', null],
  ]
  for (const [expression, filter] of rows) t.same(celLogFilter(expression), filter, expression)
})

// Which requests a log is about (envoy.config.accesslog.v3.AccessLogFilter).
import t from 'tap'
import { compileLogFilter } from '../../../../lib/filter/log/log-filter.ts'
import type { AccessLogFilter, Comparison } from '../../../../lib/state/access-log.ts'
import type { HeaderMatch } from '../../../../lib/state/route.ts'
import { DI, NR, UF, URX_TCP } from '../../../../lib/telemetry/response-flags.ts'
import { type ContextParts, logContext } from './context.ts'

const status = (op: Comparison, value: number): AccessLogFilter => ({ kind: 'status', op, value })
const flags = (...names: readonly string[]): AccessLogFilter => ({ kind: 'flags', flags: names })
const header = (name: string, kind: HeaderMatch['match']['kind'], value: string, invert = false): AccessLogFilter => ({
  kind: 'header',
  match: { name, field: name, match: { kind, value, ignoreCase: false }, invert, missingIsEmpty: false },
})
const grpc = (exclude: boolean, ...statuses: readonly number[]): AccessLogFilter => ({ kind: 'grpc', statuses, exclude })
const sample = (numerator: number, independent = false): AccessLogFilter => ({
  kind: 'sample',
  numerator,
  denominator: 100,
  independent,
})
const id = (digits: string): ContextParts => ({ headers: [['x-request-id', `${digits}-0000-4000-8000-000000000000`]] })

const ROWS: readonly (readonly [title: string, filter: AccessLogFilter, parts: ContextParts, logged: boolean])[] = [
  ['all', { kind: 'all' }, {}, true],
  ['EQ', status('EQ', 200), {}, true],
  ['EQ of another', status('EQ', 201), {}, false],
  ['GE', status('GE', 400), { responseCode: 400 }, true],
  ['GE of less', status('GE', 400), { responseCode: 399 }, false],
  ['LE', status('LE', 200), {}, true],
  ['NE', status('NE', 200), {}, false],
  ['GT', status('GT', 200), {}, false],
  ['LT', status('LT', 201), {}, true],
  ['no answer is 0', status('EQ', 0), { responseCode: 0, answer: null }, true],
  ['duration', { kind: 'duration', op: 'GE', valueMs: 12 }, {}, true],
  ['duration of less', { kind: 'duration', op: 'GE', valueMs: 13 }, {}, false],
  ['no flag', flags(), {}, false],
  ['any flag', flags(), { responseFlags: DI }, true],
  ['one of the flags', flags('NR', 'UF'), { responseFlags: UF | DI }, true],
  ['none of the flags', flags('NR'), { responseFlags: UF }, false],
  ['URX of TCP is URX, too', flags('URX'), { responseFlags: URX_TCP }, true],
  ['a header', header('x-a', 'exact', 'b'), { headers: [['x-a', 'b']] }, true],
  ['a header that is not there', header('x-a', 'exact', 'b'), {}, false],
  ['a header that has to be there', header('x-a', 'present', ''), { headers: [['x-a', 'b']] }, true],
  ['the method', header(':method', 'exact', 'GET', true), {}, false],
  ['a path', header(':path', 'prefix', '/r'), {}, true],
  ['the path without its query', { kind: 'path', match: { kind: 'exact', value: '/r', ignoreCase: false } }, {}, true],
  ['no TLS', { kind: 'mtls' }, {}, false],
  ['gRPC', grpc(false, 5), { grpcStatus: 5 }, true],
  ['another status of gRPC', grpc(false, 5), { grpcStatus: 0 }, false],
  ['all but', grpc(true, 0), { grpcStatus: 0 }, false],
  ['no gRPC: by the status of HTTP', grpc(false, 14), { responseCode: 503 }, true],
  ['nothing is UNKNOWN', grpc(false, 2), { responseCode: 0, answer: null }, true],
  ['and', { kind: 'and', filters: [status('GE', 400), flags('NR')] }, { responseCode: 404, responseFlags: NR }, true],
  ['and, of which one', { kind: 'and', filters: [status('GE', 400), flags('NR')] }, { responseCode: 404 }, false],
  ['or, of which one', { kind: 'or', filters: [status('GE', 400), flags('NR')] }, { responseCode: 404 }, true],
  ['or, of which none', { kind: 'or', filters: [status('GE', 400), flags('NR')] }, {}, false],
  ['not', { kind: 'not', filter: status('EQ', 200) }, {}, false],
  // 0x31 is 49, 0x32 is 50: modulo 100.
  ['sampled', sample(50), id('00000031'), true],
  ['not sampled', sample(50), id('00000032'), false],
  ['by chance (7), the id says nothing', sample(8, true), id('00000032'), true],
  ['by chance (7)', sample(7, true), id('00000031'), false],
  ['no id: by chance (7)', sample(8), {}, true],
  ['type', { kind: 'type', types: ['DownstreamEnd'], exclude: false }, {}, true],
  ['another type', { kind: 'type', types: ['TcpConnectionEnd'], exclude: false }, {}, false],
  ['all types but', { kind: 'type', types: ['DownstreamEnd'], exclude: true }, {}, false],
]

t.test('filters', async (t) => {
  for (const [title, filter, parts, logged] of ROWS) t.equal(compileLogFilter(filter, () => 7)(logContext(parts)), logged, title)
})

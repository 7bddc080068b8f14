// Conditions of access loggers (envoy.config.accesslog.v3.AccessLogFilter). What cannot be told lets everything through: a log that says too much is better than one
// that keeps quiet.
import type { AccessLogFilter, Comparison } from '../../state/access-log.ts'
import {
  CelExpressionFilter,
  type ComparisonFilter,
  GRPC_STATUS_NUMBERS,
  type AccessLogFilter as SentFilter,
} from '../proto/access-log.ts'
import { type Any, TYPE_URL_PREFIX, typeUrlOf } from '../proto/schema.ts'
import { celLogFilter } from './cel-log-filter.ts'
import { Findings } from './findings.ts'
import { headerMatchOf } from './route-match.ts'

const ALL: AccessLogFilter = { kind: 'all' }

export function accessLogFilter(filter: SentFilter, at: Findings): AccessLogFilter {
  if (filter.and_filter !== null) return combined('and', filter.and_filter.filters, at.at('and_filter'))
  if (filter.or_filter !== null) return combined('or', filter.or_filter.filters, at.at('or_filter'))
  if (filter.status_code_filter !== null) {
    const { op, value } = comparisonOf(filter.status_code_filter.comparison)
    return { kind: 'status', op, value }
  }
  if (filter.duration_filter !== null) {
    const { op, value } = comparisonOf(filter.duration_filter.comparison)
    return { kind: 'duration', op, valueMs: value }
  }
  if (filter.response_flag_filter !== null) return { kind: 'flags', flags: filter.response_flag_filter.flags }
  if (filter.grpc_status_filter !== null) {
    const { statuses, exclude } = filter.grpc_status_filter
    return { kind: 'grpc', statuses: statuses.flatMap((s) => GRPC_STATUS_NUMBERS[s] ?? []), exclude }
  }
  if (filter.header_filter !== null) return header(filter.header_filter, at.at('header_filter'))
  if (filter.runtime_filter !== null) {
    const { percent_sampled: percent, use_independent_randomness: independent } = filter.runtime_filter
    const denominator = DENOMINATORS[percent?.denominator ?? 'HUNDRED'] ?? 100
    return { kind: 'sample', numerator: percent?.numerator ?? 0, denominator, independent }
  }
  if (filter.log_type_filter !== null) return { kind: 'type', ...filter.log_type_filter }
  // heddle tells no health checks from other requests; Envoy neither, without its filter for them.
  if (filter.not_health_check_filter !== null) return ALL
  if (filter.extension_filter !== null) return extension(filter.extension_filter, at.at('extension_filter'))
  const what = filter.metadata_filter !== null ? 'on metadata' : filter.traceable_filter !== null ? 'on traces' : 'of this kind'
  at.note(`a condition ${what} is not carried out: all is logged`)
  return ALL
}

const DENOMINATORS: Readonly<Record<string, number>> = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 }

function combined(kind: 'and' | 'or', filters: readonly SentFilter[], at: Findings): AccessLogFilter {
  return { kind, filters: filters.map((f, i) => accessLogFilter(f, at.at('filters', i))) }
}

/** There is no runtime that could say otherwise than the default. */
function comparisonOf(comparison: ComparisonFilter | null): { readonly op: Comparison; readonly value: number } {
  const op = comparison?.op ?? 'EQ'
  return { op: op === 'GE' || op === 'LE' || op === 'EQ' ? op : 'NE', value: comparison?.value?.default_value ?? 0 }
}

function header({ header }: NonNullable<SentFilter['header_filter']>, at: Findings): AccessLogFilter {
  // What would be a fault of a route is none of a log.
  const own = new Findings()
  const match = header === null ? null : headerMatchOf(header, own)
  if (match !== null) return { kind: 'header', match }
  at.note(`${own.faults.map((f) => f.text).join('; ') || 'a header is missing'}: all is logged`)
  return ALL
}

function extension({ name, typed_config: config }: { name: string; typed_config: Any | null }, at: Findings): AccessLogFilter {
  if (config?.typeUrl !== typeUrlOf(CelExpressionFilter)) {
    const type = config === null ? 'nothing' : config.typeUrl.replace(TYPE_URL_PREFIX, '')
    at.note(`the condition ${name} (${type}) is not understood: all is logged`)
    return ALL
  }
  const expression = new Findings().decode(config.value, CelExpressionFilter)?.expression ?? null
  const filter = expression === null ? null : celLogFilter(expression)
  if (filter !== null) return filter
  at.note(`the expression \`${expression ?? ''}\` is not understood: all is logged`)
  return ALL
}

// istio.stats: Istio's standard metrics (`metrics` of Telemetry). What is not understood of a label says nothing less than `unknown`, as where Envoy cannot evaluate it.
import {
  ALL_METRICS,
  DEFAULT_REPORT_MS,
  type MetricTerms,
  type MetricValue,
  type RequestAttribute,
} from '../../state/metric-terms.ts'
import { StatsPlugin } from '../proto/filters.ts'
import type { Any } from '../proto/schema.ts'
import type { Findings } from './findings.ts'

export function metricTermsOf(config: Any | null, findings: Findings): MetricTerms {
  const plugin = config === null ? null : findings.unpack(config, StatsPlugin)
  if (plugin === null) return ALL_METRICS
  if (plugin.definitions.length > 0) findings.at('definitions').note('metrics of their own are not counted')
  const changes = plugin.metrics.map((metric, i) => {
    const at = findings.at('metrics', i)
    if (metric.match !== '') at.at('match').note('it holds for all requests')
    return {
      metric: metric.name,
      drop: metric.drop,
      remove: metric.tags_to_remove,
      set: [...metric.dimensions].map(
        ([label, expression]) => [label, labelValue(expression, at.at(`dimensions[${label}]`))] as const,
      ),
    }
  })
  if (changes.length === 0 && plugin.tcp_reporting_duration === null) return ALL_METRICS
  return { on: true, changes, tcpReportMs: plugin.tcp_reporting_duration ?? DEFAULT_REPORT_MS }
}

const ATTRIBUTES: Readonly<Record<string, MetricValue>> = {
  ...Object.fromEntries(
    (['host', 'method', 'path', 'url_path', 'query', 'scheme', 'protocol', 'useragent', 'id'] as const).map(
      (what: RequestAttribute) => [`request.${what}`, { kind: 'request', what }],
    ),
  ),
  'request.referer': { kind: 'header', name: 'referer' },
  'response.code': { kind: 'code' },
  'destination.port': { kind: 'port' },
  'connection.requested_server_name': { kind: 'serverName' },
  'xds.route_name': { kind: 'route' },
  'xds.cluster_name': { kind: 'cluster' },
}

const UNKNOWN: MetricValue = { kind: 'text', text: 'unknown' }

/** Of CEL: a text, an attribute, a header, each within `string()` or without, and the first of them with a default. */
function labelValue(expression: string, findings: Findings): MetricValue {
  const text = expression.trim()
  const string = /^string\((.*)\)$/.exec(text)
  if (string !== null) return labelValue(string[1] as string, findings)
  const literal = /^(?:'([^'\\]*)'|"([^"\\]*)")$/.exec(text)
  if (literal !== null) return { kind: 'text', text: literal[1] ?? literal[2] ?? '' }
  const header = /^request\.headers\[(?:'([^'\\]+)'|"([^"\\]+)")\]$/.exec(text)
  if (header !== null) return { kind: 'header', name: (header[1] ?? header[2] ?? '').toLowerCase() }
  const known = ATTRIBUTES[text]
  if (known !== undefined) return known
  // What is not there is unknown in any case.
  const guarded = /^has\(([^()]+)\)\s*\?\s*(.+?)\s*:\s*(?:'unknown'|"unknown")$/.exec(text)
  if (guarded !== null && guarded[1] === guarded[2]) return labelValue(guarded[2] as string, findings)
  findings.note(`\`${text}\` is not evaluated: the label is unknown`)
  return UNKNOWN
}

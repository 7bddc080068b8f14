// How Istio's standard metrics of a filter chain differ from what they are by default (the filter istio.stats, `metrics` of Telemetry).

export interface MetricTerms {
  /** false: nothing of it is in them. */
  readonly on: boolean
  /** In order; of a label the last one counts. */
  readonly changes: readonly MetricChange[]
  /** How often the bytes of connections that stay open are counted. */
  readonly tcpReportMs: number
}

export interface MetricChange {
  /** Without `istio_`: `requests_total`. Empty: all. */
  readonly metric: string
  /** It is not there. */
  readonly drop: boolean
  /** Names of labels. */
  readonly remove: readonly string[]
  /** Labels that are new, or have another value. */
  readonly set: readonly (readonly [label: string, value: MetricValue])[]
}

/** Where the value of a label comes from; what is not there is `unknown`. */
export type MetricValue =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'request'; readonly what: RequestAttribute }
  /** Of the request; lower case. */
  | { readonly kind: 'header'; readonly name: string }
  /** Of the response. */
  | { readonly kind: 'code' }
  /** That the client dialled. */
  | { readonly kind: 'port' }
  | { readonly kind: 'route' }
  | { readonly kind: 'cluster' }
  | { readonly kind: 'serverName' }

export type RequestAttribute = 'host' | 'method' | 'path' | 'url_path' | 'query' | 'scheme' | 'protocol' | 'useragent' | 'id'

export const DEFAULT_REPORT_MS = 5000
export const ALL_METRICS: MetricTerms = { on: true, changes: [], tcpReportMs: DEFAULT_REPORT_MS }
export const NO_METRICS: MetricTerms = { on: false, changes: [], tcpReportMs: DEFAULT_REPORT_MS }

// Access logs that configuration asks for (envoy.config.accesslog.v3.AccessLog): to which file, in which form, of which requests. The one of heddle.yaml is not
// among them.
import type { JsonValue } from '../base/json-value.ts'
import type { HeaderMatch, StringMatch } from './route.ts'

export interface AccessLogger {
  /** A file, which is appended to; `/dev/stdout` and `/dev/stderr` mean the process's own. */
  readonly path: string
  readonly format: LogLineFormat
  /** null: all. */
  readonly filter: AccessLogFilter | null
}

/** Texts have operators as `%REQ(:METHOD)%` (Envoy substitution formatter). */
export type LogLineFormat =
  /** As it is: a line ends where the text says so. `omitsEmpty`: what is missing is nothing, and not `-`. */
  | { readonly kind: 'text'; readonly text: string; readonly omitsEmpty: boolean }
  /**
   * An object with these keys, sorted; a text that is one operator and no more keeps the operator's type. What is missing is null, and with `omitsEmpty` not there.
   */
  | { readonly kind: 'json'; readonly fields: Readonly<Record<string, JsonValue>>; readonly omitsEmpty: boolean }

export type Comparison = 'EQ' | 'NE' | 'GE' | 'LE' | 'GT' | 'LT'

/** Which requests and connections are logged. */
export type AccessLogFilter =
  | { readonly kind: 'and' | 'or'; readonly filters: readonly AccessLogFilter[] }
  | { readonly kind: 'not'; readonly filter: AccessLogFilter }
  /** What cannot be told is logged. */
  | { readonly kind: 'all' }
  /** 0: there was no answer. */
  | { readonly kind: 'status'; readonly op: Comparison; readonly value: number }
  | { readonly kind: 'duration'; readonly op: Comparison; readonly valueMs: number }
  | { readonly kind: 'header'; readonly match: HeaderMatch }
  /** Of the path without its query. */
  | { readonly kind: 'path'; readonly match: StringMatch }
  /** The client has shown a certificate. */
  | { readonly kind: 'mtls' }
  /** Short names, of which one is there; none: any flag. */
  | { readonly kind: 'flags'; readonly flags: readonly string[] }
  | { readonly kind: 'grpc'; readonly statuses: readonly number[]; readonly exclude: boolean }
  /** `numerator` of `denominator`, the same ones for the same x-request-id unless `independent`. */
  | { readonly kind: 'sample'; readonly numerator: number; readonly denominator: number; readonly independent: boolean }
  /** As `%ACCESS_LOG_TYPE%` says it. */
  | { readonly kind: 'type'; readonly types: readonly string[]; readonly exclude: boolean }

/** Envoy's own, where no format is said. */
export const DEFAULT_FORMAT: LogLineFormat = {
  kind: 'text',
  text:
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
    '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" ' +
    '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n',
  omitsEmpty: false,
}

// Values of header edits: text with `%COMMAND(parameter):length%` operators (Envoy substitution formatter). Parsed when
// configuration changes; `evaluate` is the hot half and runs only for values that have an operator at all.
import { didYouMean } from '../base/nearest.ts'
import { flagsText } from '../telemetry/response-flags.ts'
import type { HeaderView } from './request-view.ts'

/** What a handshake with the client said. */
export interface DownstreamTlsView {
  readonly version: string
  readonly cipher: string
  readonly peerIdentity: string
  readonly localIdentity: string
}

/**
 * What operators read. The HTTP stream implements it. Text that is not known (yet) is empty, and so is what the operator
 * makes of it: in headers Envoy leaves it out where an access log would print `-`.
 */
export interface EditContext {
  readonly method: string
  readonly scheme: string
  readonly authority: string
  /** Path with query as routed: normalised, before rewrites. `%REQ(:path)%`. */
  readonly pathWithQuery: string
  readonly protocol: string
  /** `ip:port`. */
  readonly downstreamRemoteAddress: string
  readonly downstreamLocalAddress: string
  readonly upstreamHost: string
  readonly upstreamCluster: string
  readonly upstreamLocalAddress: string
  readonly requestedServerName: string
  /** null: plaintext. */
  readonly downstreamTls: DownstreamTlsView | null
  readonly routeName: string
  readonly virtualHostName: string
  /** 0 before the response. */
  readonly responseCode: number
  /** Bits of telemetry/response-flags.ts. */
  readonly responseFlags: number
  readonly responseCodeDetails: string
  /** ms since the epoch. */
  readonly startTimeMs: number
  readonly durationMs: number
  readonly bytesReceived: number
  readonly bytesSent: number
  readonly attempts: number
  /** Name of this machine. */
  readonly hostname: string
  readonly requestHeaders: HeaderView
  /** null while a request is edited. */
  readonly responseHeaders: HeaderView | null
}

/** One operator. `argument` and `alternative` are lower-case header names, `argument` a time format for START_TIME. */
interface Operator {
  readonly command: Command
  readonly argument: string
  readonly alternative: string
  /** Characters to keep; -1: all. */
  readonly maxLength: number
}

/** Text and operators by turns; without operators a constant. */
export interface HeaderTemplate {
  /** One more than `operators`. */
  readonly texts: readonly string[]
  readonly operators: readonly Operator[]
}

/** Commands without a parameter. */
const PLAIN = {
  PROTOCOL: (c: EditContext) => c.protocol,
  DOWNSTREAM_REMOTE_ADDRESS: (c: EditContext) => c.downstreamRemoteAddress,
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (c: EditContext) => ipOf(c.downstreamRemoteAddress),
  DOWNSTREAM_REMOTE_PORT: (c: EditContext) => portOf(c.downstreamRemoteAddress),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: (c: EditContext) => c.downstreamRemoteAddress,
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: (c: EditContext) => ipOf(c.downstreamRemoteAddress),
  DOWNSTREAM_LOCAL_ADDRESS: (c: EditContext) => c.downstreamLocalAddress,
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (c: EditContext) => ipOf(c.downstreamLocalAddress),
  DOWNSTREAM_LOCAL_PORT: (c: EditContext) => portOf(c.downstreamLocalAddress),
  RESPONSE_CODE: (c: EditContext) => String(c.responseCode),
  RESPONSE_FLAGS: (c: EditContext) => flagsText(c.responseFlags),
  RESPONSE_CODE_DETAILS: (c: EditContext) => c.responseCodeDetails,
  UPSTREAM_HOST: (c: EditContext) => c.upstreamHost,
  UPSTREAM_REMOTE_ADDRESS: (c: EditContext) => c.upstreamHost,
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (c: EditContext) => ipOf(c.upstreamHost),
  UPSTREAM_LOCAL_ADDRESS: (c: EditContext) => c.upstreamLocalAddress,
  UPSTREAM_CLUSTER: (c: EditContext) => c.upstreamCluster,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: (c: EditContext) => String(c.attempts),
  ROUTE_NAME: (c: EditContext) => c.routeName,
  VIRTUAL_HOST_NAME: (c: EditContext) => c.virtualHostName,
  HOSTNAME: (c: EditContext) => c.hostname,
  BYTES_RECEIVED: (c: EditContext) => String(c.bytesReceived),
  BYTES_SENT: (c: EditContext) => String(c.bytesSent),
  DURATION: (c: EditContext) => String(c.durationMs),
  REQUESTED_SERVER_NAME: (c: EditContext) => c.requestedServerName,
  DOWNSTREAM_PEER_URI_SAN: (c: EditContext) => c.downstreamTls?.peerIdentity ?? '',
  DOWNSTREAM_LOCAL_URI_SAN: (c: EditContext) => c.downstreamTls?.localIdentity ?? '',
  DOWNSTREAM_TLS_VERSION: (c: EditContext) => c.downstreamTls?.version ?? '',
  DOWNSTREAM_TLS_CIPHER: (c: EditContext) => c.downstreamTls?.cipher ?? '',
} as const

type PlainCommand = keyof typeof PLAIN
type Command = PlainCommand | 'REQ' | 'RESP' | 'START_TIME'

export type ParseTemplateResult =
  | { readonly ok: true; readonly template: HeaderTemplate }
  | { readonly ok: false; readonly message: string }

/** Parses a value. `%%` is a percent sign. */
export function parseTemplate(value: string): ParseTemplateResult {
  const texts: string[] = []
  const operators: Operator[] = []
  let text = ''
  for (let i = 0; i < value.length; ) {
    if (value.charAt(i) !== '%') {
      text += value.charAt(i++)
    } else if (value.charAt(i + 1) === '%') {
      text += '%'
      i += 2
    } else {
      const end = operatorEnd(value, i + 1)
      if (end < 0) return { ok: false, message: `un-escaped % at character ${i + 1}; write %% for a percent sign` }
      const operator = parseOperator(value.substring(i + 1, end))
      if (typeof operator === 'string') return { ok: false, message: operator }
      texts.push(text)
      operators.push(operator)
      text = ''
      i = end + 1
    }
  }
  texts.push(text)
  return { ok: true, template: { texts, operators } }
}

/** What is wrong with the value of a header edit, or null. */
export function checkTemplate(value: string): string | null {
  const parsed = parseTemplate(value)
  return parsed.ok ? null : parsed.message
}

/** Every command that a template may name. */
export function templateCommands(): readonly string[] {
  return ['REQ', 'RESP', 'START_TIME', ...Object.keys(PLAIN)]
}

/** Index of the closing percent sign; those inside parentheses belong to a time format. */
function operatorEnd(value: string, from: number): number {
  let depth = 0
  for (let i = from; i < value.length; i++) {
    const c = value.charAt(i)
    if (c === '(') depth++
    else if (c === ')') depth--
    else if (c === '%' && depth <= 0) return i
  }
  return -1
}

function parseOperator(text: string): Operator | string {
  const parts = /^([A-Z_]+)(?:\(([^)]*)\))?(?::([0-9]{1,6}))?$/.exec(text)
  if (parts === null) return `%${text}% is not of the form %COMMAND%, %COMMAND(parameter)% or %COMMAND(parameter):length%`
  const command = parts[1] as string
  const argument = parts[2]
  const maxLength = parts[3] === undefined ? -1 : Number(parts[3])
  if (command === 'REQ' || command === 'RESP') {
    const names = /^([^?]+)(?:\?([^?]+))?$/.exec((argument ?? '').toLowerCase())
    if (names === null) return `%${command}% wants a header name, as in %${command}(x-name)% or %${command}(x-name?x-other)%`
    return { command, argument: names[1] as string, alternative: names[2] ?? '', maxLength }
  }
  if (command === 'START_TIME') return { command, argument: argument ?? '', alternative: '', maxLength }
  if (!Object.hasOwn(PLAIN, command)) return `unknown operator %${command}%${didYouMean(command, templateCommands())}`
  if (argument !== undefined) return `%${command}% takes no parameter`
  return { command: command as PlainCommand, argument: '', alternative: '', maxLength }
}

/** The value for this request. */
export function evaluate(template: HeaderTemplate, ctx: EditContext): string {
  let out = template.texts[0] as string
  for (let i = 0; i < template.operators.length; i++) {
    const operator = template.operators[i] as Operator
    const value = operatorValue(operator, ctx)
    out += operator.maxLength >= 0 && value.length > operator.maxLength ? value.substring(0, operator.maxLength) : value
    out += template.texts[i + 1] as string
  }
  return out
}

function operatorValue(o: Operator, ctx: EditContext): string {
  switch (o.command) {
    case 'REQ':
      return requestHeader(o.argument, ctx) ?? (o.alternative === '' ? '' : (requestHeader(o.alternative, ctx) ?? ''))
    case 'RESP':
      return responseHeader(o.argument, ctx) ?? (o.alternative === '' ? '' : (responseHeader(o.alternative, ctx) ?? ''))
    case 'START_TIME':
      return timeText(ctx.startTimeMs, o.argument)
    default:
      return PLAIN[o.command](ctx)
  }
}

function requestHeader(name: string, ctx: EditContext): string | null {
  switch (name) {
    case ':method':
      return ctx.method
    case ':path':
      return ctx.pathWithQuery
    case ':authority':
    case 'host':
      return ctx.authority
    case ':scheme':
      return ctx.scheme
    default:
      return ctx.requestHeaders.get(name)
  }
}

function responseHeader(name: string, ctx: EditContext): string | null {
  if (name === ':status') return ctx.responseCode === 0 ? null : String(ctx.responseCode)
  return ctx.responseHeaders === null ? null : ctx.responseHeaders.get(name)
}

/** `ip` of `ip:port`; brackets of IPv6 go too. */
function ipOf(address: string): string {
  const colon = address.lastIndexOf(':')
  const ip = colon < 0 ? address : address.substring(0, colon)
  return ip.startsWith('[') ? ip.substring(1, ip.length - 1) : ip
}

function portOf(address: string): string {
  return address.substring(address.lastIndexOf(':') + 1)
}

/** ISO 8601 with milliseconds in UTC, or by a strftime format with Envoy's `%f` and `%3f` for fractions. */
function timeText(ms: number, format: string): string {
  const date = new Date(ms)
  const iso = date.toISOString()
  if (format === '') return iso
  return format.replace(/%([0-9]?)([A-Za-z%])/g, (whole, digits: string, letter: string) => {
    switch (letter) {
      case 'Y':
        return iso.substring(0, 4)
      case 'm':
        return iso.substring(5, 7)
      case 'd':
        return iso.substring(8, 10)
      case 'H':
        return iso.substring(11, 13)
      case 'M':
        return iso.substring(14, 16)
      case 'S':
        return iso.substring(17, 19)
      case 'F':
        return iso.substring(0, 10)
      case 'T':
        return iso.substring(11, 19)
      case 's':
        return String(Math.floor(ms / 1000))
      case 'f': {
        // Milliseconds are all we measure; the digits after them are noughts.
        const fraction = `${iso.substring(20, 23)}000000`
        return fraction.substring(0, digits === '' ? 9 : Number(digits))
      }
      case '%':
        return '%'
      default:
        return whole
    }
  })
}

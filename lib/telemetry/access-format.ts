// Hot lane: an access record as one line of text or JSON. The line is pure ASCII, so that its length is its size in bytes, and
// what a client sent can neither end a field nor a line: control characters, quotes, backslashes and non-ASCII are escaped.
import type { AccessRecord } from './access-record.ts'
import { flagsText } from './response-flags.ts'

/** One line with its newline. */
export type AccessFormat = (rec: AccessRecord) => string

/**
 * Envoy's default format:
 * `[START_TIME] "METHOD PATH PROTOCOL" CODE FLAGS BYTES_RECEIVED BYTES_SENT DURATION UPSTREAM_SERVICE_TIME "XFF" "UA" "REQUEST_ID"
 * "AUTHORITY" "UPSTREAM_HOST"`; what is missing is `-`.
 */
export function textLine(rec: AccessRecord): string {
  const xff = rec.requestHeader('x-forwarded-for')
  const agent = rec.requestHeader('user-agent')
  const id = rec.requestHeader('x-request-id')
  return (
    '[' +
    timeText(rec.startTimeMs) +
    '] "' +
    word(rec.method) +
    ' ' +
    word(rec.originalPath) +
    ' ' +
    (rec.protocol === '' ? '-' : rec.protocol) +
    '" ' +
    rec.responseCode +
    ' ' +
    (rec.responseFlags === 0 ? '-' : flagsText(rec.responseFlags)) +
    ' ' +
    rec.bytesReceived +
    ' ' +
    rec.bytesSent +
    ' ' +
    rec.durationMs +
    ' ' +
    (rec.upstreamServiceTimeMs < 0 ? '-' : rec.upstreamServiceTimeMs) +
    ' "' +
    (xff === null ? '-' : phrase(xff)) +
    '" "' +
    (agent === null ? '-' : phrase(agent)) +
    '" "' +
    (id === null ? '-' : phrase(id)) +
    '" "' +
    phrase(rec.authority) +
    '" "' +
    (rec.upstreamHost === '' ? '-' : rec.upstreamHost) +
    '"\n'
  )
}

/**
 * Istio's JSON keys, sorted as its encoder sorts them. Numbers are numbers, what is missing is null. upstream_service_time is a
 * string, because to Envoy it is a header.
 */
export function jsonLine(rec: AccessRecord): string {
  return (
    '{"authority":' +
    json(rec.authority) +
    ',"bytes_received":' +
    rec.bytesReceived +
    ',"bytes_sent":' +
    rec.bytesSent +
    ',"connection_termination_details":' +
    json(rec.connectionTerminationDetails) +
    ',"downstream_local_address":' +
    json(rec.downstreamLocalAddress) +
    ',"downstream_remote_address":' +
    json(rec.downstreamRemoteAddress) +
    ',"duration":' +
    rec.durationMs +
    ',"method":' +
    json(rec.method) +
    ',"path":' +
    json(rec.originalPath) +
    ',"protocol":' +
    json(rec.protocol) +
    ',"request_id":' +
    json(rec.requestHeader('x-request-id')) +
    ',"requested_server_name":' +
    json(rec.requestedServerName) +
    ',"response_code":' +
    rec.responseCode +
    ',"response_code_details":' +
    json(rec.responseCodeDetails) +
    ',"response_flags":"' +
    flagsText(rec.responseFlags) +
    '","route_name":' +
    json(rec.routeName) +
    ',"start_time":"' +
    timeText(rec.startTimeMs) +
    '","upstream_cluster":' +
    json(rec.upstreamCluster) +
    ',"upstream_host":' +
    json(rec.upstreamHost) +
    ',"upstream_local_address":' +
    json(rec.upstreamLocalAddress) +
    ',"upstream_service_time":' +
    (rec.upstreamServiceTimeMs < 0 ? 'null' : `"${rec.upstreamServiceTimeMs}"`) +
    ',"upstream_transport_failure_reason":' +
    json(rec.upstreamTransportFailureReason) +
    ',"user_agent":' +
    json(rec.requestHeader('user-agent')) +
    ',"x_forwarded_for":' +
    json(rec.requestHeader('x-forwarded-for')) +
    '}\n'
  )
}

let lastSecond = -1
let lastSecondText = ''

/** ISO 8601 with milliseconds; the part up to the second is kept for the next call. */
export function timeText(timeMs: number): string {
  const second = Math.floor(timeMs / 1000)
  if (second !== lastSecond) {
    lastSecondText = new Date(second * 1000).toISOString().slice(0, -4)
    lastSecond = second
  }
  const ms = Math.floor(timeMs) - second * 1000
  return `${lastSecondText}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}Z`
}

// Printable ASCII without `"` and `\`. In a word the space goes too: it separates the words of the request line.
const PLAIN_PHRASE = /^[ !#-[\]-~]+$/
const PLAIN_WORD = /^[!#-[\]-~]+$/

/**
 * A value is cut here (and ends in `...`), so that a client cannot keep its request out of the log with a line that no buffer
 * holds: seven values of a line are the client's.
 */
const MAX_VALUE_CHARS = 8000

function phrase(value: string): string {
  return value.length <= MAX_VALUE_CHARS && PLAIN_PHRASE.test(value) ? value : escaped(value, false)
}

function word(value: string): string {
  return value.length <= MAX_VALUE_CHARS && PLAIN_WORD.test(value) ? value : escaped(value, false).replaceAll(' ', '\\x20')
}

function json(value: string | null): string {
  if (value === null || value === '') return 'null'
  return value.length <= MAX_VALUE_CHARS && PLAIN_PHRASE.test(value) ? `"${value}"` : `"${escaped(value, true)}"`
}

function escaped(value: string, forJson: boolean): string {
  if (value === '') return '-'
  let text = ''
  for (let i = 0; i < value.length; i++) {
    if (text.length >= MAX_VALUE_CHARS) return `${text}...`
    text += escapedChar(value.charCodeAt(i), forJson)
  }
  return text
}

function escapedChar(code: number, forJson: boolean): string {
  if (code === 0x22 || code === 0x5c) return `\\${String.fromCharCode(code)}`
  if (code >= 0x20 && code < 0x7f) return String.fromCharCode(code)
  if (code === 0x0a) return '\\n'
  if (code === 0x0d) return '\\r'
  if (code === 0x09) return '\\t'
  // JSON knows no \x.
  return forJson || code > 0xff ? `\\u${code.toString(16).padStart(4, '0')}` : `\\x${code.toString(16).padStart(2, '0')}`
}

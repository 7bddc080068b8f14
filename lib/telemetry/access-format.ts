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
  const id = rec.requestHeader('x-request-id')
  // Few and long pieces: each `+` of two long strings is an object that has to be copied out later.
  return (
    headText(rec.startTimeMs, rec.method) +
    word(rec.originalPath) +
    outcomeText(rec) +
    (rec.durationMs + (rec.upstreamServiceTimeMs < 0 ? ' -' : ` ${rec.upstreamServiceTimeMs}`)) +
    (xff === null ? ' "-" "' : ` "${phrase(xff)}" "`) +
    agentText(rec.requestHeader('user-agent')) +
    (id === null ? '-' : phrase(id)) +
    tailText(rec.authority, rec.upstreamHost)
  )
}

/**
 * Istio's default format (`accessLogFormat`, EnvoyTextLogFormat of its pilot), which readers of sidecars' logs such as Kiali know:
 * `[START_TIME] "METHOD PATH PROTOCOL" CODE FLAGS RESPONSE_CODE_DETAILS CONNECTION_TERMINATION_DETAILS "UPSTREAM_TRANSPORT_FAILURE_REASON" BYTES_RECEIVED
 * BYTES_SENT DURATION UPSTREAM_SERVICE_TIME "XFF" "UA" "REQUEST_ID" "AUTHORITY" "UPSTREAM_HOST" UPSTREAM_CLUSTER UPSTREAM_LOCAL_ADDRESS
 * DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_REMOTE_ADDRESS REQUESTED_SERVER_NAME ROUTE_NAME`; what is missing is `-`.
 */
export function istioLine(rec: AccessRecord): string {
  const xff = rec.requestHeader('x-forwarded-for')
  const id = rec.requestHeader('x-request-id')
  return (
    headText(rec.startTimeMs, rec.method) +
    word(rec.originalPath) +
    ` ${rec.protocol || '-'}" ${rec.responseCode} ${flagsText(rec.responseFlags)} ${optionalWord(rec.responseCodeDetails)} ` +
    `${optionalWord(rec.connectionTerminationDetails)} "${optionalPhrase(rec.upstreamTransportFailureReason)}" ` +
    `${rec.bytesReceived} ${rec.bytesSent} ${rec.durationMs} ` +
    (rec.upstreamServiceTimeMs < 0 ? '-' : rec.upstreamServiceTimeMs) +
    (xff === null ? ' "-" "' : ` "${phrase(xff)}" "`) +
    agentText(rec.requestHeader('user-agent')) +
    (id === null ? '-' : phrase(id)) +
    `" "${phrase(rec.authority)}" "${rec.upstreamHost || '-'}" ${optionalWord(rec.upstreamCluster)} ` +
    `${rec.upstreamLocalAddress || '-'} ${rec.downstreamLocalAddress || '-'} ${rec.downstreamPeerAddress || '-'} ` +
    `${optionalWord(rec.requestedServerName)} ${optionalWord(rec.routeName)}\n`
  )
}

function optionalWord(value: string): string {
  return value === '' ? '-' : word(value)
}

function optionalPhrase(value: string): string {
  return value === '' ? '-' : phrase(value)
}

// What one request has in common with the one before it is checked and joined once.

const NOTHING = /$^/

/** Joins the pieces of a string now and not again with each line that it is part of: an expression wants it whole. */
export function joined(text: string): string {
  NOTHING.test(text)
  return text
}

let lastHeadMs = -1
let lastMethod = ''
let lastHead = ''

function headText(timeMs: number, method: string): string {
  if (timeMs !== lastHeadMs || method !== lastMethod) {
    lastHead = joined(`[${timeText(timeMs)}] "${word(method)} `)
    lastHeadMs = timeMs
    lastMethod = method
  }
  return lastHead
}

let lastProtocol = ''
let lastCode = -1
let lastFlags = 0
let lastReceived = 0
let lastSent = 0
let lastOutcome = ''

function outcomeText(rec: AccessRecord): string {
  if (
    rec.responseCode !== lastCode ||
    rec.bytesSent !== lastSent ||
    rec.bytesReceived !== lastReceived ||
    rec.responseFlags !== lastFlags ||
    rec.protocol !== lastProtocol
  ) {
    lastProtocol = rec.protocol
    lastCode = rec.responseCode
    lastFlags = rec.responseFlags
    lastReceived = rec.bytesReceived
    lastSent = rec.bytesSent
    lastOutcome = joined(` ${lastProtocol || '-'}" ${lastCode} ${flagsText(lastFlags)} ${lastReceived} ${lastSent} `)
  }
  return lastOutcome
}

let lastAgent: string | null = null
let lastAgentText = '-" "'

function agentText(agent: string | null): string {
  if (agent !== lastAgent) {
    lastAgentText = joined(`${agent === null ? '-' : phrase(agent)}" "`)
    lastAgent = agent
  }
  return lastAgentText
}

let lastAuthority = ''
let lastHost = ''
let lastTail = '" "-" "-"\n'

function tailText(authority: string, host: string): string {
  if (authority !== lastAuthority || host !== lastHost) {
    lastTail = joined(`" "${phrase(authority)}" "${host || '-'}"\n`)
    lastAuthority = authority
    lastHost = host
  }
  return lastTail
}

/**
 * Istio's JSON keys, sorted as its encoder sorts them. Numbers are numbers, what is missing is null. upstream_service_time is a
 * string, because to Envoy it is a header.
 */
export function jsonLine(rec: AccessRecord): string {
  return (
    '{"authority":' +
    repeatedJson(rec.authority) +
    ',"bytes_received":' +
    rec.bytesReceived +
    ',"bytes_sent":' +
    rec.bytesSent +
    ',"connection_termination_details":' +
    repeatedJson(rec.connectionTerminationDetails) +
    ',"downstream_local_address":' +
    addressJson(rec.downstreamLocalAddress) +
    ',"downstream_remote_address":' +
    addressJson(rec.downstreamPeerAddress) +
    ',"duration":' +
    rec.durationMs +
    ',"method":' +
    repeatedJson(rec.method) +
    ',"path":' +
    json(rec.originalPath) +
    ',"protocol":' +
    repeatedJson(rec.protocol) +
    ',"request_id":' +
    json(rec.requestHeader('x-request-id')) +
    ',"requested_server_name":' +
    repeatedJson(rec.requestedServerName) +
    ',"response_code":' +
    rec.responseCode +
    ',"response_code_details":' +
    repeatedJson(rec.responseCodeDetails) +
    ',"response_flags":"' +
    flagsText(rec.responseFlags) +
    '","route_name":' +
    repeatedJson(rec.routeName) +
    ',"start_time":"' +
    timeText(rec.startTimeMs) +
    '","upstream_cluster":' +
    repeatedJson(rec.upstreamCluster) +
    ',"upstream_host":' +
    addressJson(rec.upstreamHost) +
    ',"upstream_local_address":' +
    addressJson(rec.upstreamLocalAddress) +
    ',"upstream_service_time":' +
    (rec.upstreamServiceTimeMs < 0 ? 'null' : `"${rec.upstreamServiceTimeMs}"`) +
    ',"upstream_transport_failure_reason":' +
    repeatedJson(rec.upstreamTransportFailureReason) +
    ',"user_agent":' +
    repeatedJson(rec.requestHeader('user-agent')) +
    ',"x_forwarded_for":' +
    json(rec.requestHeader('x-forwarded-for')) +
    '}\n'
  )
}

/** JSON text of values that come again and again; emptied when full, so that clients cannot make it grow. */
const jsonTexts = new Map<string, string>()
const MAX_JSON_TEXTS = 1000
/** Longer ones are not kept. */
const MAX_KEPT_CHARS = 256

function repeatedJson(value: string | null): string {
  if (value === null || value === '') return 'null'
  const known = jsonTexts.get(value)
  if (known !== undefined) return known
  const text = json(value)
  if (value.length > MAX_KEPT_CHARS) return text
  if (jsonTexts.size >= MAX_JSON_TEXTS) jsonTexts.clear()
  jsonTexts.set(value, text)
  return text
}

/** `ip:port` that we have made. */
function addressJson(value: string): string {
  return value === '' ? 'null' : `"${value}"`
}

let lastTimeMs = -1
let lastTimeText = ''
let lastSecond = -1
let lastSecondText = ''

/** ISO 8601 with milliseconds; the part up to the second is kept for the next call. */
export function timeText(timeMs: number): string {
  if (timeMs === lastTimeMs) return lastTimeText
  const second = Math.floor(timeMs / 1000)
  if (second !== lastSecond) {
    lastSecondText = new Date(second * 1000).toISOString().slice(0, -4)
    lastSecond = second
  }
  const ms = Math.floor(timeMs) - second * 1000
  lastTimeText = `${lastSecondText}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}Z`
  lastTimeMs = timeMs
  return lastTimeText
}

// Printable ASCII without `"` and `\`. In a word the space goes too: it separates the words of the request line.
const PLAIN_PHRASE = /^[ !#-[\]-~]+$/
const PLAIN_WORD = /^[!#-[\]-~]+$/

/**
 * A value is cut here (and ends in `...`), so that a client cannot keep its request out of the log with a line that no buffer
 * holds: seven values of a line are the client's.
 */
const MAX_VALUE_CHARS = 8000

/** A value as part of a line: it ends neither the line nor a field in quotes. */
export function phrase(value: string): string {
  return value.length <= MAX_VALUE_CHARS && PLAIN_PHRASE.test(value) ? value : escaped(value, false)
}

/** Without spaces, too. */
export function word(value: string): string {
  return value.length <= MAX_VALUE_CHARS && PLAIN_WORD.test(value) ? value : escaped(value, false).replaceAll(' ', '\\x20')
}

function json(value: string | null): string {
  return value === null || value === '' ? 'null' : jsonText(value)
}

/** In its quotes. */
export function jsonText(value: string): string {
  if (value === '') return '""'
  return value.length <= MAX_VALUE_CHARS && PLAIN_PHRASE.test(value) ? `"${value}"` : `"${escaped(fromUtf8(value), true)}"`
}

/** Bytes that are UTF-8, as headers have them, are the characters that they mean. */
function fromUtf8(value: string): string {
  if (!BEYOND_ASCII.test(value) || NO_BYTE.test(value)) return value
  const text = Buffer.from(value, 'latin1').toString('utf8')
  return text.includes('\ufffd') ? value : text
}

const BEYOND_ASCII = /[\x80-\xff]/
const NO_BYTE = /[\u0100-\uffff]/

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

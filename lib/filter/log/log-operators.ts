// Hot lane: what the operators of access logs stand for (Envoy substitution formatter): those of headers, and what is known only at the end. Looked up when
// configuration changes; a reader runs for each line.

import { H_OTHER, H_X_ENVOY_ORIGINAL_PATH, knownId } from '../../http/known-headers.ts'
import { grpcStatusOf } from '../../route/grpc-status-names.ts'
import {
  type EditContext,
  PLAIN as OF_EDITS,
  WITH_PARAMETER as OF_EDITS_WITH_PARAMETER,
  WITHOUT_VALUE,
} from '../../route/header-operators.ts'
import { timeText } from '../../telemetry/access-format.ts'
import type { LogContext } from './log-context.ts'

/** null: there is nothing. */
export type Read = (c: LogContext) => string | null

/** How often it is another than in the line before. */
export const ALWAYS = 0
/** With each connection. */
export const OFTEN = 1
export const SELDOM = 2
export type Changes = typeof ALWAYS | typeof OFTEN | typeof SELDOM

export interface Reader {
  readonly read: Read
  /** In JSON it is a number. */
  readonly numeric: boolean
  readonly changes: Changes
}

/** null: Envoy has it and it says nothing here. undefined: Envoy does not have it. */
export function readerOf(command: string, argument: string | null): Reader | null | undefined {
  const header = ofHeader(command, (argument ?? '').toLowerCase())
  if (header !== null) return header
  if (Object.hasOwn(PLAIN, command)) return made(command, PLAIN[command] as Read)
  if (Object.hasOwn(WITH_PARAMETER, command)) {
    const read = (WITH_PARAMETER[command] as (argument: string) => Read | null)(argument ?? '')
    return read === null ? null : made(command, read, argument === 'NUMBER' || NUMERIC.test(command))
  }
  if (Object.hasOwn(OF_EDITS, command)) {
    const of = OF_EDITS[command] as (c: EditContext) => string
    return made(command, (c) => of(c) || null)
  }
  if (Object.hasOwn(OF_EDITS_WITH_PARAMETER, command)) {
    const of = OF_EDITS_WITH_PARAMETER[command] as (c: EditContext, parameter: string) => string
    const parameter = argument ?? ''
    return made(command, (c) => of(c, parameter) || null)
  }
  return WITHOUT_VALUE.has(command) || ALSO_WITHOUT_VALUE.has(command) ? null : undefined
}

export function logCommands(): readonly string[] {
  return [
    ...['REQ', 'RESP', 'TRAILER', 'REQ_WITHOUT_QUERY'],
    ...[PLAIN, WITH_PARAMETER, OF_EDITS, OF_EDITS_WITH_PARAMETER].flatMap((table) => Object.keys(table)),
    ...WITHOUT_VALUE,
  ]
}

function made(command: string, read: Read, numeric = NUMERIC.test(command)): Reader {
  return { read, numeric, changes: ALWAYS_ANOTHER.test(command) ? ALWAYS : OFTEN_ANOTHER.test(command) ? OFTEN : SELDOM }
}

const NUMERIC =
  /^(?:RESPONSE_CODE|GRPC_STATUS_NUMBER|UPSTREAM_REQUEST_ATTEMPT_COUNT|CONNECTION_ID|.*BYTES_(?:SENT|RECEIVED)|.*DURATION|.*(?<!WITHOUT)_PORT)$/
const ALWAYS_ANOTHER = /DURATION$|^UNIQUE_ID$|^STREAM_ID$|^TRACE_ID$|^PATH$|^QUERY_PARAM/
const OFTEN_ANOTHER = /_ADDRESS|_PORT$|^UPSTREAM_HOST/
const ALSO_WITHOUT_VALUE: ReadonlySet<string> = new Set(['VIRTUAL_CLUSTER_NAME', 'COALESCE', 'TYPED_CEL', 'SPIFFE'])

// ---- headers -----------------------------------------------------------------------------------------------------------

/** `X?Y`, of which the first that is there. */
function ofHeader(command: string, names: string): Reader | null {
  const of = FIELDS[command]
  if (of === undefined) return null
  const [name = '', alternative = ''] = names.split('?')
  const first = of(name)
  const changes = SELDOM_HEADERS.test(names) ? SELDOM : ALWAYS
  const header: Omit<Reader, 'read'> = { numeric: false, changes }
  if (alternative === '') return { ...header, read: first }
  const second = of(alternative)
  return { ...header, read: (c) => first(c) ?? second(c) }
}

const SELDOM_HEADERS = /^(?::method|:authority|:scheme|host|user-agent|content-type|:status|server)$/

const FIELDS: Readonly<Record<string, (name: string) => Read>> = {
  REQ: requestHeader,
  REQUEST_HEADER: requestHeader,
  REQ_WITHOUT_QUERY: (name) => {
    const whole = requestHeader(name)
    return (c) => {
      const value = whole(c)
      const mark = value === null ? -1 : value.indexOf('?')
      return value === null || mark < 0 ? value : value.substring(0, mark)
    }
  },
  RESP: responseHeader,
  RESPONSE_HEADER: responseHeader,
  TRAILER: (name) => (c) => c.responseTrailer(name),
  RESPONSE_TRAILER: (name) => (c) => c.responseTrailer(name),
}

function requestHeader(name: string): Read {
  switch (name) {
    case ':method':
      return (c) => c.method || null
    case ':path':
      return (c) => c.sentPath || null
    case ':authority':
    case 'host':
      return (c) => c.authority || null
    case ':scheme':
      return (c) => c.scheme || null
    case 'x-envoy-original-path':
      // What the upstream is told may have a token in it that is not to be logged.
      return (c) => (c.requestField(H_X_ENVOY_ORIGINAL_PATH, name) === null ? null : c.originalPath)
    default: {
      const id = knownId(name)
      return id === H_OTHER ? (c) => c.requestHeaders.get(name) : (c) => c.requestField(id, name)
    }
  }
}

function responseHeader(name: string): Read {
  if (name === ':status') return (c) => (c.responseCode === 0 ? null : String(c.responseCode))
  return (c) => (c.responseHeaders === null ? null : c.responseHeaders.get(name))
}

// ---- what is known at the end ------------------------------------------------------------------------------------------

const PLAIN: Readonly<Record<string, Read>> = {
  ACCESS_LOG_TYPE: (c) => c.logType,
  REQUEST_DURATION: (c) => whole(c.requestEndMs),
  REQUEST_TX_DURATION: (c) => whole(c.requestSentMs),
  RESPONSE_DURATION: (c) => whole(c.responseBeginMs),
  RESPONSE_TX_DURATION: (c) => between(c.responseBeginMs, c.overMs, 1),
  UPSTREAM_TRANSPORT_FAILURE_REASON: (c) => oneWord(c.upstreamTransportFailureReason),
  // Of connections a flag says it already, and Envoy has no words beside it.
  CONNECTION_TERMINATION_DETAILS: (c) =>
    c.logType === 'TcpConnectionEnd' && c.responseFlags !== 0 ? null : c.connectionTerminationDetails || null,
  GRPC_STATUS_NUMBER: (c) => {
    const status = grpcStatus(c)
    return status < 0 ? null : String(status)
  },
  // Of a connection that was made, where UPSTREAM_HOST is who was chosen.
  UPSTREAM_REMOTE_ADDRESS: connected('UPSTREAM_HOST'),
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: connected('UPSTREAM_HOST_NAME_WITHOUT_PORT'),
  UPSTREAM_REMOTE_PORT: connected('UPSTREAM_REMOTE_PORT'),
  DOWNSTREAM_DIRECT_LOCAL_ADDRESS: (c) => c.downstreamDirectLocalAddress || null,
  DOWNSTREAM_WIRE_BYTES_RECEIVED: (c) => String(c.requestWireBytes),
  DOWNSTREAM_WIRE_BYTES_SENT: (c) => String(c.responseWireBytes),
}

/** With a parameter; null: with this one there is nothing. */
const WITH_PARAMETER: Readonly<Record<string, (argument: string) => Read | null>> = {
  START_TIME: (format) => {
    if (format === '') return (c) => timeText(c.startTimeMs)
    const of = OF_EDITS_WITH_PARAMETER['START_TIME'] as (c: EditContext, format: string) => string
    return (c) => of(c, format)
  },
  RESPONSE_CODE_DETAILS: (form) =>
    form === 'ALLOW_WHITESPACES' ? (c) => c.responseCodeDetails || null : (c) => oneWord(c.responseCodeDetails),
  GRPC_STATUS: (form) => {
    const of = OF_EDITS_WITH_PARAMETER['GRPC_STATUS'] as (c: Pick<EditContext, 'grpcStatus'>, form: string) => string
    return (c) => of({ grpcStatus: grpcStatus(c) }, form) || null
  },
  COMMON_DURATION: (terms) => {
    const [from = '', to = '', unit = ''] = terms.split(':')
    const [first, last, scale] = [POINTS[from], POINTS[to], PER_MS[unit]]
    if (first === undefined || last === undefined || scale === undefined) return null
    return (c) => between(first(c), last(c), scale)
  },
  /** What is not set is a dash, and in JSON, too. */
  ENVIRONMENT: (name) => (c) => c.environment(name) || '-',
  FILTER_STATE: (key) => (/^io\.istio\.(?:peer|local)_principal/.test(key) ? edit('FILTER_STATE', key) : null),
  METADATA: (terms) => (terms.startsWith('DYNAMIC:') ? edit('DYNAMIC_METADATA', terms.slice('DYNAMIC:'.length)) : null),
}

function connected(command: string): Read {
  const of = OF_EDITS[command] as (c: EditContext) => string
  return (c) => (c.upstreamLocalAddress === '' ? null : of(c) || null)
}

function edit(command: string, parameter: string): Read {
  const of = OF_EDITS_WITH_PARAMETER[command] as (c: EditContext, parameter: string) => string
  return (c) => of(c, parameter) || null
}

/** Of COMMON_DURATION, those that are measured here. */
const POINTS: Readonly<Record<string, (c: LogContext) => number>> = {
  DS_RX_BEG: (c) => (c.logType === 'DownstreamEnd' ? 0 : -1),
  DS_RX_END: (c) => c.requestEndMs,
  US_TX_END: (c) => c.requestSentMs,
  US_RX_BEG: (c) => c.responseBeginMs,
  DS_TX_END: (c) => c.overMs,
}

const PER_MS: Readonly<Record<string, number>> = { ms: 1, us: 1000, ns: 1_000_000 }

function whole(ms: number): string | null {
  return ms < 0 ? null : String(Math.floor(ms))
}

function between(first: number, last: number, scale: number): string | null {
  return first < 0 || last < first ? null : String(Math.floor((last - first) * scale))
}

/** Of a call whose answer says nothing of it, by the status of HTTP. */
export function grpcStatus({ grpcStatus: said, responseCode }: Pick<LogContext, 'grpcStatus' | 'responseCode'>): number {
  return said === -1 && responseCode !== 0 ? grpcStatusOf(responseCode) : said
}

/** Envoy writes sentences in one word. */
function oneWord(text: string): string | null {
  return text === '' ? null : text.includes(' ') ? text.replaceAll(' ', '_') : text
}

// Hot lane: what a router settles before its first attempt, and the words its attempts leave in the steps.

import type { LiveHost } from '../../cluster/live-host.ts'
import type { Attempted } from '../../cluster/outlier-detector.ts'
import * as S from '../../decide/steps.ts'
import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'
import { RESET_OVERFLOW, RESET_WORDS } from '../../pool/exchange.ts'
import type { ForwardAction } from '../../state/route.ts'
import type { HttpStream } from './http-stream.ts'

/** Envoy timeouts: route timeout, lowered by grpc-timeout for gRPC; a per-try timeout that is not below it does not count. 0: none. */
export function timeoutsOf(stream: HttpStream, action: ForwardAction): { overallMs: number; perTryMs: number } {
  const grpc = stream.grpcStatus === -2 || action.grpcStreamMaxMs !== null ? 0 : grpcTimeout(stream)
  const overallMs = grpc === 0 ? action.timeoutMs : action.timeoutMs === 0 ? grpc : Math.min(grpc, action.timeoutMs)
  const perTryMs = action.retry === null ? 0 : action.retry.perTryTimeoutMs
  return { overallMs, perTryMs: overallMs !== 0 && perTryMs >= overallMs ? 0 : perTryMs }
}

const UNITS_MS: Readonly<Record<string, number>> = { H: 3600000, M: 60000, S: 1000, m: 1, u: 0.001, n: 0.000001 }

/** gRPC over HTTP/2, "Timeout": at most eight digits and a unit. 0: absent, malformed or infinite. */
export function grpcTimeout(stream: HttpStream): number {
  const i = stream.headers.firstKnown(H.H_GRPC_TIMEOUT)
  if (i < 0) return 0
  const found = /^(\d{1,8})([HMSmun])$/.exec(stream.headers.valueAt(i))
  return found === null ? 0 : Math.ceil(Number(found[1]) * (UNITS_MS[found[2] as string] as number))
}

/** gRPC over HTTP/2, "Timeout": at most eight digits. */
const MAX_GRPC_TIMEOUT = 99_999_999

function grpcTimeoutText(ms: number): string {
  if (ms <= MAX_GRPC_TIMEOUT) return `${ms}m`
  const seconds = Math.floor(ms / 1000)
  if (seconds <= MAX_GRPC_TIMEOUT) return `${seconds}S`
  const minutes = Math.floor(seconds / 60)
  return minutes <= MAX_GRPC_TIMEOUT ? `${minutes}M` : `${Math.min(Math.floor(minutes / 60), MAX_GRPC_TIMEOUT)}H`
}

/**
 * Tells the upstream how long it has: the per-try timeout, else the overall one, and no more than what is left of that `elapsedMs` after the end of the
 * request. 0 would mean for ever, so at least 1 ms. Nothing is said without a timeout (Envoy timeouts).
 */
export function sayTimeouts(stream: HttpStream, perTryMs: number, overallMs: number, elapsedMs: number): void {
  let expected = perTryMs !== 0 ? perTryMs : overallMs
  if (expected === 0) return
  if (overallMs !== 0) expected = Math.max(1, Math.min(expected, overallMs - elapsedMs))
  if (stream.manager.config.settings.envoyHeaders) stream.headers.set('x-envoy-expected-rq-timeout-ms', String(expected))
  if (stream.grpcStatus !== -2) stream.headers.set('grpc-timeout', grpcTimeoutText(expected))
}

const OUTCOMES: readonly number[] = [
  0,
  S.OUTCOME_CONNECT_FAILED,
  S.OUTCOME_CONNECT_TIMEOUT,
  S.OUTCOME_CLOSED,
  S.OUTCOME_OVERFLOW,
  S.OUTCOME_PROTOCOL_ERROR,
  S.OUTCOME_CANCELLED,
  S.OUTCOME_REFUSED_STREAM,
  S.OUTCOME_GOAWAY,
  S.OUTCOME_RESET,
  S.OUTCOME_PROTOCOL_ERROR,
]

/** The step's outcome for a reset of pool/exchange.ts. */
export function outcomeOf(reset: number): number {
  return OUTCOMES[reset] ?? S.OUTCOME_RESET
}

/** grpc-status of response headers; -1 for none. */
export function readGrpcStatus(headers: HeaderMap): number {
  const i = headers.firstKnown(H.H_GRPC_STATUS)
  if (i < 0) return -1
  const status = Number(headers.valueAt(i))
  return Number.isInteger(status) && status >= 0 ? status : -1
}

/** Tells outlier detection of the failed connect of a CONNECT; to the router every failed connect is a 503 (Envoy). */
export function noteFailedConnect(host: LiveHost, reset: number, request: Attempted): void {
  if (host.detector !== null && reset !== RESET_OVERFLOW) host.detector.onLocalFailure(503, RESET_WORDS[reset] as string, request)
}

/** grpc-status of trailers, which are field lines; -1 for none. */
export function grpcStatusOfTrailers(lines: string): number {
  // What servers nearly always send: this field first, one digit, this spelling.
  if (lines.startsWith('grpc-status: ') && lines.charCodeAt(14) === 13) {
    const digit = lines.charCodeAt(13) - 48
    if (digit >= 0 && digit <= 9) return digit
  }
  const found = /(?:^|\n)grpc-status:[ \t]*(\d{1,9})[ \t]*\r/i.exec(lines)
  return found === null ? -1 : Number(found[1])
}

// Hot lane: the faults that a request asks for itself (Envoy fault filter, header_delay and header_abort). Read only where the bootstrap
// allows it: any client may hold or fail its requests then, and nothing but its own.
import type { HeaderMap } from '../../http/header-map.ts'
import type { Fault } from '../../state/route.ts'

/** A request cannot ask to be held for longer; every request that is held takes a connection. */
export const MAX_ASKED_DELAY_MS = 60_000

/**
 * The route's fault with what the request asks for in place of it. Of a policy remains how often: a request can lower its percentage, never
 * raise it; without a policy the limit is 100. Values that are not numbers, or out of range, count as absent. Of several values the
 * first one counts.
 */
export function faultAskedFor(headers: HeaderMap, policy: Fault | null): Fault | null {
  const delayMs = numberOf(headers, 'x-envoy-fault-delay-request')
  const status = numberOf(headers, 'x-envoy-fault-abort-request')
  const grpc = numberOf(headers, 'x-envoy-fault-abort-grpc-request')
  const byStatus = status >= 200 && status < 600
  if (delayMs < 0 && !byStatus && grpc < 0) return policy
  let delay = policy === null ? null : policy.delay
  let abort = policy === null ? null : policy.abort
  if (delayMs >= 0) {
    const percent = lowered(headers, 'x-envoy-fault-delay-request-percentage', delay === null ? 100 : delay.percent)
    delay = { percent, fixedMs: Math.min(delayMs, MAX_ASKED_DELAY_MS) }
  }
  if (byStatus || grpc >= 0) {
    const percent = lowered(headers, 'x-envoy-fault-abort-request-percentage', abort === null ? 100 : abort.percent)
    abort = { percent, httpStatus: byStatus ? status : 0, grpcStatus: byStatus ? -1 : grpc }
  }
  return { delay, abort }
}

function lowered(headers: HeaderMap, name: string, limit: number): number {
  const asked = numberOf(headers, name)
  return asked < 0 ? limit : Math.min(asked, limit)
}

/** -1: absent, or no whole number from 0 to 2³²−1. */
function numberOf(headers: HeaderMap, name: string): number {
  const text = headers.get(name)
  if (text === null || !/^\+?\d{1,10}$/.test(text)) return -1
  const value = Number(text)
  return value <= 0xffff_ffff ? value : -1
}

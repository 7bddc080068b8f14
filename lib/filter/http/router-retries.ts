// Hot lane: runs when an attempt has failed: asks for another one, and leaves the evidence why there was one or not.
import type { LiveCluster } from '../../cluster/live-cluster.ts'
import * as E from '../../decide/retry-steps.ts'
import * as S from '../../decide/steps.ts'
import { originText } from '../../state/origin.ts'
import * as F from '../../telemetry/response-flags.ts'
import { safetyOf } from '../../upstream/retry-safety.ts'
import { RETRY, type RetryState } from '../../upstream/retry-state.ts'
import type { UpstreamRequest } from '../../upstream/upstream-request.ts'
import type { HttpStream } from './http-stream.ts'

/** One line in this time for each route whose retries are held back. */
const LOG_INTERVAL_MS = 60_000

/**
 * Whether the attempt, whose outcome `keyword` repeats, is followed by another one. `reset` is that of pool/exchange.ts, RESET_NONE for a response.
 * Counts, flags and notes the answer.
 */
export function claimRetry(
  stream: HttpStream,
  cluster: LiveCluster,
  retry: RetryState,
  attempt: UpstreamRequest,
  keyword: number,
  reset: number,
): boolean {
  const { policy } = retry
  const safety = safetyOf(policy, attempt.method, isKeyed(stream), reset, attempt.written)
  const answer = retry.claim(safety)
  const { values } = stream.manager
  const { stats } = cluster
  switch (answer) {
    case RETRY:
      values[stats.rqRetry]!++
      retry.noteTried(attempt.host)
      stream.manager.steps.addTo(stream.decision.steps, S.RETRIED, E.retriedStep(keyword, safety), retry.delayMs)
      return true
    case E.USED_UP:
      stream.responseFlags |= F.URX
      values[stats.rqRetryLimitExceeded]!++
      break
    case E.HELD_BACK:
      stream.manager.worker.retryHeldBack(cluster.balanced.name)
      logHeldBack(stream, cluster, retry)
      break
    default:
      stream.responseFlags |= F.UO
      values[stats.rqRetryOverflow]!++
  }
  noteNotRetried(stream, keyword, answer)
  return false
}

/** A client that gives its request a key asks for it to be done once however often it comes (draft-ietf-httpapi-idempotency-key-header). */
function isKeyed(stream: HttpStream): boolean {
  const key = stream.headers.get('idempotency-key')
  return key !== null && key !== ''
}

export function noteNotRetried(stream: HttpStream, keyword: number, why: number): void {
  stream.manager.steps.addTo(stream.decision.steps, S.NOT_RETRIED, keyword, why)
}

function logHeldBack(stream: HttpStream, cluster: LiveCluster, retry: RetryState): void {
  const { logger } = stream.manager.parts
  const { route } = stream.decision
  if (route === null || !logger.enabled('warning')) return
  const where = originText(route.config.origin)
  if (!logger.every(`held back ${where}`, LOG_INTERVAL_MS, stream.manager.io.clock.monotonicMs)) return
  logger.warning('held back a retry that is not known to be safe; heddle.io/unsafe-retries: allow on its object would allow it', {
    method: stream.method,
    route: stream.routeName,
    at: where,
    retries: originText(retry.policy.origin),
    cluster: cluster.balanced.name,
  })
}

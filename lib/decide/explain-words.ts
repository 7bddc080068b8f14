// Words for the numbers in steps. Loaded only when somebody asks.
import { BY_EXACT, BY_PREFIX, BY_STAR, BY_SUFFIX } from '../route/domain-index.ts'
import type { Cluster } from '../state/cluster.ts'
import * as S from './steps.ts'

export const OUTCOMES: Readonly<Record<number, string>> = {
  [S.OUTCOME_CONNECT_FAILED]: 'connect-failed',
  [S.OUTCOME_CONNECT_TIMEOUT]: 'connect-timeout',
  [S.OUTCOME_CLOSED]: 'closed-before-response',
  [S.OUTCOME_RESET]: 'reset',
  [S.OUTCOME_REFUSED_STREAM]: 'refused-stream',
  [S.OUTCOME_PROTOCOL_ERROR]: 'protocol-error',
  [S.OUTCOME_PER_TRY_TIMEOUT]: 'per-try-timeout',
  [S.OUTCOME_TIMEOUT]: 'timeout',
  [S.OUTCOME_OVERFLOW]: 'overflow',
  [S.OUTCOME_CANCELLED]: 'cancelled',
  [S.OUTCOME_STALE_CONNECTION]: 'stale-connection',
  [S.OUTCOME_GOAWAY]: 'goaway',
}

/** Of a host that the cluster does not list. */
export function unknownHost(id: number, cluster: Cluster | undefined): string {
  return cluster?.type === 'ORIGINAL_DST' ? 'the address that was dialled' : `host ${id}, no longer in the cluster`
}

export function howText(how: number): string {
  switch (how) {
    case BY_EXACT:
      return 'is one of its names'
    case BY_SUFFIX:
      return 'ends as one of its *.suffixes'
    case BY_PREFIX:
      return 'begins as one of its prefixes.*'
    case BY_STAR:
      return 'is unknown to the others, and it takes any host'
    default:
      return ''
  }
}

export function noTableText(port: number, why: number): string {
  if (why === S.TABLE_FIXED) return 'the route table of the listener does not exist'
  if (port < 0) return 'what stands behind the colon of the authority is no port'
  return `there is no route table for port ${port}: no service has it`
}

/** `1h`, `2.5s`, `250ms`. */
export function durationText(ms: number): string {
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000}h`
  if (ms % 60_000 === 0) return `${ms / 60_000}m`
  return ms % 1000 === 0 || ms > 1000 ? `${ms / 1000}s` : `${ms}ms`
}

export function noneOf(n: number): string {
  if (n === 0) return 'no endpoint'
  return n === 1 ? 'not even the only endpoint' : `none of the ${n} endpoints`
}

export function plural(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`
}

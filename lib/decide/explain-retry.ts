// Why an attempt was followed by another one, or not, in words.
import { RETRY_KEYWORDS } from '../state/retry-keywords.ts'
import * as E from './retry-steps.ts'

const SAFE: Readonly<Record<number, string>> = {
  [E.SAFE_UNSENT]: 'safe, nothing of it was written',
  [E.SAFE_REFUSED]: 'safe, the upstream said that it did nothing with it',
  [E.SAFE_BY_METHOD]: 'safe, METHOD is idempotent',
  [E.SAFE_BY_KEY]: 'safe, the request has an Idempotency-Key',
  [E.SAFE_BY_ROUTE]: 'not known to be safe, but allowed',
}

const REASONS: Readonly<Record<number, string>> = {
  [E.NOT_ASKED_FOR]: 'no condition of retryOn fits',
  [E.USED_UP]: 'KEYWORD fits, but the attempts are used up',
  [E.BREAKER_FULL]: 'KEYWORD fits, but maxRetries are in progress',
  [E.BUDGET_FULL]: 'KEYWORD fits, but the retry budget is used up',
  [E.HELD_BACK]: 'KEYWORD fits, but it is held back: METHOD is not idempotent, and the upstream may have done it',
  [E.RESPONSE_BEGUN]: 'KEYWORD fits, but the response had begun',
  [E.BODY_GONE]: 'KEYWORD fits, but the body was too large to be kept',
}

/** Of a RETRIED step: `repeated after 12 ms on 5xx: safe, GET is idempotent`. */
export function retriedText(what: number, delayMs: number, method: string): string {
  const why = (SAFE[what >> 8] ?? `reason ${what >> 8}`).replace('METHOD', method)
  return `repeated after ${delayMs} ms on ${keywordText(what & 0xff)}: ${why}`
}

/** Of a NOT_RETRIED step. */
export function notRetriedText(keyword: number, reason: number, method: string): string {
  const text = REASONS[reason] ?? `reason ${reason}`
  return `not repeated: ${text.replace('KEYWORD', keywordText(keyword)).replace('METHOD', method)}`
}

export function writtenText(written: boolean): string {
  return written ? 'bytes of it had been written' : 'nothing of it was written'
}

function keywordText(keyword: number): string {
  return RETRY_KEYWORDS[keyword] ?? 'its condition'
}

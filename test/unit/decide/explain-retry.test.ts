// What is said of retries: each keyword, each reason why another attempt was safe, each why there was none.
import t from 'tap'
import { notRetriedText, retriedText } from '../../../lib/decide/explain-retry.ts'
import * as E from '../../../lib/decide/retry-steps.ts'
import { RETRY_KEYWORDS } from '../../../lib/state/retry-keywords.ts'

t.test('every keyword and reason comes through a step and back', (t) => {
  const safe: Readonly<Record<number, RegExp>> = {
    [E.SAFE_UNSENT]: /nothing of it was written/,
    [E.SAFE_REFUSED]: /the upstream said that it did nothing with it/,
    [E.SAFE_BY_METHOD]: /PUT is idempotent/,
    [E.SAFE_BY_KEY]: /the request has an Idempotency-Key/,
    [E.SAFE_BY_ROUTE]: /not known to be safe, but allowed/,
  }
  for (const [keyword, word] of RETRY_KEYWORDS.entries()) {
    for (const [safety, reason] of Object.entries(safe)) {
      const text = retriedText(E.retriedStep(keyword, Number(safety)), 12, 'PUT')
      t.match(text, reason)
      t.ok(text.startsWith(`repeated after 12 ms on ${word}: `), text)
    }
  }
  t.end()
})

t.test('why not', (t) => {
  const reset = RETRY_KEYWORDS.indexOf('reset')
  const rows: readonly [keyword: number, reason: number, text: string][] = [
    [-1, E.NOT_ASKED_FOR, 'not repeated: no condition of retryOn fits'],
    [reset, E.USED_UP, 'not repeated: reset fits, but the attempts are used up'],
    [reset, E.BREAKER_FULL, 'not repeated: reset fits, but maxRetries are in progress'],
    [reset, E.BUDGET_FULL, 'not repeated: reset fits, but the retry budget is used up'],
    [
      reset,
      E.HELD_BACK,
      'not repeated: reset fits, but it is held back: POST is not idempotent, and the upstream may have done it',
    ],
    [reset, E.RESPONSE_BEGUN, 'not repeated: reset fits, but the response had begun'],
    [reset, E.BODY_GONE, 'not repeated: reset fits, but the body was too large to be kept'],
  ]
  for (const [keyword, reason, text] of rows) t.equal(notRetriedText(keyword, reason, 'POST'), text)
  t.end()
})

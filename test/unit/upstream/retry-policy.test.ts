// Which outcome each word of retryOn repeats (Istio HTTPRetry, Envoy retry state), every word with every outcome.
import t from 'tap'
import { HeaderMap } from '../../../lib/http/header-map.ts'
import * as X from '../../../lib/pool/exchange.ts'
import { RETRY_KEYWORDS } from '../../../lib/state/retry-keywords.ts'
import type { HeaderMatch, RetryPolicy } from '../../../lib/state/route.ts'
import {
  CompiledRetryPolicy,
  compiledRetryPolicy,
  keywordForReset,
  keywordForResponse,
  NO_KEYWORD,
} from '../../../lib/upstream/retry-policy.ts'
import { aRetryPolicy } from '../../support/nouns.ts'

type Fields = Readonly<Record<string, string>>
type Outcome =
  | { readonly status: number; readonly headers: Fields; readonly grpc: number }
  | { readonly reset: number; readonly written: boolean }

const answer = (status: number, headers: Fields = {}, grpc = -1): Outcome => ({ status, headers, grpc })
const reset = (reason: number, written: boolean): Outcome => ({ reset: reason, written })
const LIMITED = { 'x-envoy-ratelimited': 'true' }

const OUTCOMES: Readonly<Record<string, Outcome>> = {
  '200': answer(200),
  '404': answer(404),
  '409': answer(409),
  '418': answer(418),
  '429': answer(429),
  '499': answer(499),
  '500': answer(500),
  '501': answer(501),
  '502': answer(502),
  '503': answer(503),
  '504': answer(504),
  '505': answer(505),
  '599': answer(599),
  '600': answer(600),
  'limited 200': answer(200, LIMITED),
  'limited 409': answer(409, LIMITED),
  'limited 418': answer(418, LIMITED),
  'limited 429': answer(429, LIMITED),
  'limited 503': answer(503, LIMITED),
  'limited header': answer(200, { ...LIMITED, 'x-again': 'yes' }),
  'limited unavailable': answer(200, LIMITED, 14),
  header: answer(200, { 'x-again': 'yes' }),
  'another header': answer(200, { 'x-again': 'no' }),
  ...Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`grpc ${n}`, answer(200, {}, n)])),
  'connect failure': reset(X.RESET_CONNECT_FAILURE, false),
  'connect timeout': reset(X.RESET_CONNECT_TIMEOUT, false),
  'closed, written': reset(X.RESET_TERMINATION, true),
  'closed, unwritten': reset(X.RESET_TERMINATION, false),
  overflow: reset(X.RESET_OVERFLOW, false),
  'no HTTP': reset(X.RESET_PROTOCOL_ERROR, true),
  'per-try timeout': reset(X.RESET_LOCAL, true),
  'refused stream': reset(X.RESET_REFUSED_STREAM, true),
  goaway: reset(X.RESET_GOAWAY, true),
  'remote reset': reset(X.RESET_REMOTE, true),
}

const RESETS = Object.keys(OUTCOMES).filter((name) => 'reset' in OUTCOMES[name]! && name !== 'overflow')
const UNWRITTEN = ['connect failure', 'connect timeout', 'closed, unwritten']

/** Word → the outcomes that it repeats; no others. `418` is the code of the policy, `x-again: yes` its header. */
const REPEATS: Readonly<Record<string, readonly string[]>> = {
  '5xx': ['500', '501', '502', '503', '504', '505', '599', ...RESETS],
  'gateway-error': ['502', '503', '504', ...RESETS],
  reset: RESETS,
  'reset-before-request': UNWRITTEN,
  'connect-failure': ['connect failure', 'connect timeout'],
  'http3-post-connect-failure': [],
  'envoy-ratelimited': Object.keys(OUTCOMES).filter((name) => name.startsWith('limited')),
  'retriable-4xx': ['409'],
  'refused-stream': ['refused stream', 'goaway'],
  'retriable-status-codes': ['418'],
  'retriable-headers': ['header'],
  cancelled: ['grpc 1'],
  'deadline-exceeded': ['grpc 4'],
  internal: ['grpc 13'],
  'resource-exhausted': ['grpc 8'],
  unavailable: ['grpc 14'],
}

const AGAIN: HeaderMatch = {
  name: 'x-again',
  field: 'headers[x-again]',
  match: { kind: 'exact', value: 'yes', ignoreCase: false },
  invert: false,
  missingIsEmpty: false,
}

function keywordFor(policy: RetryPolicy, outcome: Outcome): number {
  const on = new CompiledRetryPolicy(policy)
  if ('reset' in outcome) return keywordForReset(on, outcome.reset, outcome.written)
  const headers = new HeaderMap()
  for (const [name, value] of Object.entries(outcome.headers)) headers.add(name, value)
  return keywordForResponse(on, outcome.status, headers, outcome.grpc)
}

t.test('every word, every outcome', (t) => {
  t.same(Object.keys(REPEATS), RETRY_KEYWORDS, 'the table has every word')
  for (const word of RETRY_KEYWORDS) {
    const policy = aRetryPolicy({
      on: [word],
      statusCodes: word === 'retriable-status-codes' ? [418] : [],
      responseHeaders: word === 'retriable-headers' ? [AGAIN] : [],
    })
    const repeated = Object.keys(OUTCOMES).filter((name) => keywordFor(policy, OUTCOMES[name]!) !== NO_KEYWORD)
    t.same(repeated.sort(), [...REPEATS[word]!].sort(), word)
    for (const name of repeated)
      t.equal(RETRY_KEYWORDS[keywordFor(policy, OUTCOMES[name]!)], word, `${word} is what is said of ${name}`)
  }
  t.end()
})

t.test('words together repeat what one of them does, except what says that it is rate limited', (t) => {
  const all = RETRY_KEYWORDS.filter((word) => word !== 'envoy-ratelimited')
  const policy = aRetryPolicy({ on: all, statusCodes: [418], responseHeaders: [AGAIN] })
  const expected = new Set(all.flatMap((word) => REPEATS[word]!))
  for (const [name, outcome] of Object.entries(OUTCOMES))
    t.equal(keywordFor(policy, outcome) !== NO_KEYWORD, expected.has(name), name)
  t.end()
})

t.test('codes count without their word; words that nobody knows and lists that are empty do nothing', (t) => {
  const said = (policy: RetryPolicy, name: string) => RETRY_KEYWORDS[keywordFor(policy, OUTCOMES[name]!)] ?? ''
  t.equal(said(aRetryPolicy({ on: [], statusCodes: [503] }), '503'), 'retriable-status-codes')
  t.equal(said(aRetryPolicy({ on: ['retriable-status-codes'] }), '503'), '')
  t.equal(said(aRetryPolicy({ on: ['retriable-headers'] }), 'header'), '')
  t.equal(said(aRetryPolicy({ on: ['5XX', 'sometimes', ''] }), '503'), '')
  t.equal(said(aRetryPolicy({ on: [], responseHeaders: [AGAIN] }), 'header'), '', 'headers need their word')
  t.end()
})

t.test(
  'conditions on response headers: any value of any of them; inverted, absent, by presence; no name stands for something else',
  (t) => {
    const on = (match: Partial<HeaderMatch>) =>
      aRetryPolicy({ on: ['retriable-headers'], responseHeaders: [{ ...AGAIN, ...match }] })
    const holds = (match: Partial<HeaderMatch>, ...fields: readonly (readonly [string, string])[]) => {
      const headers = new HeaderMap()
      for (const [name, value] of fields) headers.add(name, value)
      return keywordForResponse(compiledRetryPolicy(on(match)), 200, headers, -1) !== NO_KEYWORD
    }
    const present = { kind: 'present', value: '', ignoreCase: false } as const
    t.equal(holds({}, ['x-again', 'no'], ['x-again', 'yes']), true)
    t.equal(holds({ match: present }, ['X-Again', '']), true)
    t.equal(holds({ match: present }), false)
    t.equal(holds({ match: present, invert: true }), true)
    t.equal(holds({ invert: true }, ['x-again', 'no']), true)
    t.equal(holds({ invert: true }, ['x-again', 'yes']), false)
    t.equal(holds({ match: { kind: 'regex', value: 'y.*', ignoreCase: false } }, ['x-again', 'yes']), true)
    t.equal(holds({ name: 'host', match: { kind: 'exact', value: 'h', ignoreCase: false } }, ['host', 'h']), true)
    t.end()
  },
)

t.test('a policy is made ready once', (t) => {
  const policy = aRetryPolicy({ on: ['5xx'] })
  t.equal(compiledRetryPolicy(policy), compiledRetryPolicy(policy))
  t.end()
})

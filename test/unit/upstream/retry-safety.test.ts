// When an attempt may be repeated without doing twice what was asked for once (RFC 9110 §9.2.2): method × outcome × written × key × policy.
import t from 'tap'
import * as E from '../../../lib/decide/retry-steps.ts'
import * as X from '../../../lib/pool/exchange.ts'
import { isIdempotent, safetyOf } from '../../../lib/upstream/retry-safety.ts'
import { aRetryPolicy } from '../../support/nouns.ts'

const IDEMPOTENT = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']
const NOT = ['POST', 'PATCH', 'CONNECT', 'LOCK', 'PURGE', 'get', 'Get', 'GETS', '']

t.test('methods', (t) => {
  for (const method of IDEMPOTENT) t.equal(isIdempotent(method), true, method)
  for (const method of NOT) t.equal(isIdempotent(method), false, method === '' ? 'an empty one' : method)
  t.end()
})

const held = aRetryPolicy({})
const allowed = aRetryPolicy({ unsafe: 'allowed' })
/** Outcomes after which the upstream may have done something. */
const DOUBTFUL = {
  response: X.RESET_NONE,
  closed: X.RESET_TERMINATION,
  'no HTTP': X.RESET_PROTOCOL_ERROR,
  'per-try timeout': X.RESET_LOCAL,
  'remote reset': X.RESET_REMOTE,
  // A connection that could not be made and has carried bytes all the same would be a bug; then it is not safe.
  'connect failure': X.RESET_CONNECT_FAILURE,
}
const CERTAIN = { 'refused stream': X.RESET_REFUSED_STREAM, goaway: X.RESET_GOAWAY }

t.test('nothing written: always', (t) => {
  for (const method of [...IDEMPOTENT, ...NOT]) {
    for (const [name, reset] of Object.entries({ ...DOUBTFUL, ...CERTAIN }))
      t.equal(safetyOf(held, method, false, reset, false), E.SAFE_UNSENT, `${method} ${name}`)
  }
  t.end()
})

t.test('refused by the upstream: always', (t) => {
  for (const method of [...IDEMPOTENT, ...NOT]) {
    for (const [name, reset] of Object.entries(CERTAIN))
      t.equal(safetyOf(held, method, false, reset, true), E.SAFE_REFUSED, `${method} ${name}`)
  }
  t.end()
})

t.test('written: idempotent methods, requests with a key, and what the route allows', (t) => {
  for (const [name, reset] of Object.entries(DOUBTFUL)) {
    for (const method of IDEMPOTENT) t.equal(safetyOf(held, method, false, reset, true), E.SAFE_BY_METHOD, `${method} ${name}`)
    for (const method of NOT) {
      t.equal(safetyOf(held, method, false, reset, true), E.UNSAFE, `${method} ${name}`)
      t.equal(safetyOf(held, method, true, reset, true), E.SAFE_BY_KEY, `${method} ${name} with a key`)
      t.equal(safetyOf(allowed, method, false, reset, true), E.SAFE_BY_ROUTE, `${method} ${name} allowed`)
    }
  }
  t.end()
})

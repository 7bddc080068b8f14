// Where heddle answers otherwise than Envoy did, on purpose. Each entry says for which recorded cases (`folder: name`), why, and
// what heddle answers instead; the fields it does not mention must be as recorded. An entry that no longer differs fails.
import type { Field } from './compare.ts'
import type { Outcome } from './recording.ts'

export interface Difference {
  readonly cases: RegExp
  readonly reason: string
  /** Ours, in place of what was recorded. */
  readonly instead: Partial<Outcome>
  /** Fields that follow from the difference and are not compared. */
  readonly ignore?: readonly Field[]
}

/** What a refusal of the codec looks like from outside; the body names the reason. */
const refused = (details: string): Partial<Outcome> => ({
  status: 400,
  flags: 'DPE',
  details,
  cluster: null,
  route: null,
  upstreamHost: null,
  upstream: [],
})

const FOLLOWS: readonly Field[] = ['headers', 'body', 'log', 'clientError']

export const DIFFERS: readonly Difference[] = [
  { cases: /^never: /, reason: 'a placeholder that matches nothing', instead: refused(''), ignore: FOLLOWS },
]

/** Objects that `check` judges otherwise than Istio's validator, as `Kind/name`. */
export const REFUSED_OTHERWISE: readonly { readonly object: string; readonly state: string; readonly reason: string }[] = []

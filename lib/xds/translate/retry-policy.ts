// RetryPolicy of envoy.config.route.v3 to the noun of the same name.

import type { Origin } from '../../state/origin.ts'
import { RETRY_KEYWORDS } from '../../state/retry-keywords.ts'
import type { RetryPolicy as RetryPolicyNoun } from '../../state/route.ts'
import { PreviousHostsPredicate, PreviousPrioritiesConfig } from '../proto/retry-extensions.ts'
import type { RetryPolicy } from '../proto/route.ts'
import { typeUrlOf } from '../proto/schema.ts'
import type { Findings } from './findings.ts'
import { headerMatchOf } from './route-match.ts'

const BASE_INTERVAL_MS = 25
/** Envoy caps the back-off at ten times its base. */
const MAX_INTERVAL_FACTOR = 10
/** The one that the data path knows (decide's prioritiesToAvoid), and the one that Istio writes. */
const UPDATE_FREQUENCY = 2

/** Routes by the thousand have the same policy: what is worked out from the object is then worked out once. */
const interned = new Map<string, RetryPolicyNoun>()
const MAX_INTERNED = 1000

/** null: nothing is repeated. */
export function retryPolicyOf(
  policy: RetryPolicy,
  unsafe: RetryPolicyNoun['unsafe'],
  origin: Origin,
  findings: Findings,
): RetryPolicyNoun | null {
  const words = wordsOf(policy.retry_on, findings)
  const attempts = policy.num_retries ?? 1
  noteWhatIsLeftOut(policy, findings)
  const avoidPreviousHosts = avoidsPreviousHosts(policy, findings)
  const remoteLocalities = avoidsPreviousPriorities(policy, findings)
  const responseHeaders = policy.retriable_headers.flatMap((h, i) => headerMatchOf(h, findings.at('retriable_headers', i)) ?? [])
  if (attempts === 0 || words.length === 0) return null
  const baseIntervalMs = policy.retry_back_off?.base_interval ?? BASE_INTERVAL_MS
  return intern({
    on: words,
    // Without the word nobody looks at them.
    statusCodes: words.includes('retriable-status-codes') ? policy.retriable_status_codes : [],
    attempts,
    perTryTimeoutMs: policy.per_try_timeout ?? 0,
    baseIntervalMs,
    maxIntervalMs: policy.retry_back_off?.max_interval ?? baseIntervalMs * MAX_INTERVAL_FACTOR,
    hostSelectionAttempts: policy.host_selection_retry_max_attempts || (avoidPreviousHosts ? 1 : 0),
    avoidPreviousHosts,
    remoteLocalities,
    responseHeaders,
    unsafe,
    origin,
  })
}

/** The same few lists, over and over. */
const wordLists = new Map<string, readonly string[]>()

function wordsOf(retryOn: string, findings: Findings): readonly string[] {
  const known = wordLists.get(retryOn)
  if (known !== undefined) return known
  const words = new Set(
    retryOn
      .split(',')
      .map((w) => w.trim())
      .filter((w) => w !== ''),
  )
  let unknown = false
  for (const word of words) {
    if (RETRY_KEYWORDS.includes(word)) continue
    // Envoy has it so.
    findings.at('retry_on').note(`\`${word}\` has no effect`)
    words.delete(word)
    unknown = true
  }
  const list = [...words]
  // Those that have something to say say it each time.
  if (!unknown && wordLists.size < MAX_INTERNED) wordLists.set(retryOn, list)
  return list
}

function noteWhatIsLeftOut(policy: RetryPolicy, findings: Findings): void {
  if (policy.retriable_request_headers.length > 0)
    findings.at('retriable_request_headers').fault('headers of the request do not decide on retries here')
  if (policy.retry_options_predicates.length > 0) findings.at('retry_options_predicates').fault('they are not understood')
  if (policy.per_try_idle_timeout !== null) findings.at('per_try_idle_timeout').note('it has no effect')
}

const PREVIOUS_HOSTS = typeUrlOf(PreviousHostsPredicate)
const PREVIOUS_PRIORITIES = typeUrlOf(PreviousPrioritiesConfig)

function avoidsPreviousHosts(policy: RetryPolicy, findings: Findings): boolean {
  for (const [i, { name, typed_config }] of policy.retry_host_predicate.entries()) {
    if (typed_config?.typeUrl !== PREVIOUS_HOSTS)
      findings.at('retry_host_predicate', i).fault(`the predicate ${name} is not understood`)
  }
  return policy.retry_host_predicate.length > 0
}

function avoidsPreviousPriorities(policy: RetryPolicy, findings: Findings): boolean {
  const priority = policy.retry_priority
  if (priority === null) return false
  const at = findings.at('retry_priority')
  if (priority.typed_config?.typeUrl !== PREVIOUS_PRIORITIES) {
    at.fault(`the priority ${priority.name} is not understood`)
    return false
  }
  const config = at.decode(priority.typed_config.value, PreviousPrioritiesConfig)
  if (config !== null && config.update_frequency !== UPDATE_FREQUENCY)
    at.note(`priorities are looked at after every second attempt, not after ${config.update_frequency}`)
  return true
}

function intern(policy: RetryPolicyNoun): RetryPolicyNoun {
  if (policy.responseHeaders.length > 0) return policy
  const { kind, namespace, name } = policy.origin
  // Lists become texts with commas, what is left of objects says nothing.
  const key = `${Object.values(policy).join(' ')} ${kind} ${namespace} ${name}`
  const known = interned.get(key)
  if (known !== undefined) return known
  if (interned.size >= MAX_INTERNED) interned.clear()
  interned.set(key, policy)
  return policy
}

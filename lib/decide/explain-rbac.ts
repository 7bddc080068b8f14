// What authorization said of a request, in sentences: who let it pass, who refused it, and of those that might have let it pass the one that came nearest.
import { ALLOWED, DENIED, LOGGED, NOT_ALLOWED, NOT_DENIED } from '../policy/rbac.ts'
import type { RbacFacts } from '../policy/rbac-facts.ts'
import { nearestPolicy } from '../policy/rbac-near-miss.ts'
import { originText } from '../state/origin.ts'
import type { RbacFilter, RbacPolicy, RbacRules } from '../state/rbac.ts'
import { rbacCondition } from './explain-rbac-condition.ts'
import { plural } from './explain-words.ts'
import { type ExplainedStep, type Explanation, refOf } from './explanation.ts'
import * as S from './steps.ts'

/** The explanation with what authorization said in front of it, and as its verdict where that was a refusal. */
export function withAuthorization(
  explanation: Explanation,
  taken: Int32Array,
  filters: readonly RbacFilter[],
  facts: RbacFacts,
): Explanation {
  const told: ExplainedStep[] = []
  let denied = false
  for (let i = 0; i + 2 < taken.length; i += 3) {
    if (taken[i] !== S.RBAC) continue
    const a = taken[i + 1] as number
    const filter = filters[Math.floor(a / S.RBAC_FILTER)]
    const shadow = (a & S.RBAC_SHADOW) !== 0
    const rules = shadow ? filter?.shadow : filter?.rules
    const said = a & (S.RBAC_SHADOW - 1)
    if (rules === null || rules === undefined) continue
    if (!shadow && (said === DENIED || said === NOT_ALLOWED)) denied = true
    told.push(stepOf(rules, said, taken[i + 2] as number, shadow, facts))
  }
  if (told.length === 0) return explanation
  const objects = told.flatMap(({ object }) => (object === null ? [] : [{ role: 'authorization', ...object }]))
  const all = { ...explanation, objects: [...explanation.objects, ...objects], steps: [...told, ...explanation.steps] }
  if (!denied) return all
  const text = `denied: answered ${explanation.answer?.status ?? 403}; nothing went further`
  const verdict: ExplainedStep = { step: 'verdict', text, condition: null, object: null }
  return { ...all, verdict: 'denied', sends: null, steps: [...all.steps.slice(0, -1), verdict] }
}

function stepOf(rules: RbacRules, said: number, fitting: number, shadow: boolean, facts: RbacFacts): ExplainedStep {
  const policy = rules.policies[fitting] ?? null
  const words = shadow ? 'dry run, nothing comes of it: ' : ''
  if (said === NOT_ALLOWED) return missStep(rules, words, facts)
  const text = `${words}${sentence(rules, said, policy)}`
  return { step: 'authorization', text, condition: null, object: policy === null ? null : refOf(policy.origin) }
}

function sentence({ policies }: RbacRules, said: number, policy: RbacPolicy | null): string {
  const name = policy === null ? '' : `${policy.name}, ${originText(policy.origin)},`
  switch (said) {
    case ALLOWED:
      return `${name} allows it`
    case DENIED:
      return `${name} denies it`
    case NOT_DENIED:
      return `none of ${plural(policies.length, 'rule')} that deny fits`
    case LOGGED:
      return `${name} asks for it to be audited`
    default:
      return `none of ${plural(policies.length, 'rule')} that audit fits`
  }
}

function missStep(rules: RbacRules, words: string, facts: RbacFacts): ExplainedStep {
  const none = `${words}none of ${plural(rules.policies.length, 'rule')} that allow fits`
  const miss = nearestPolicy(rules, facts)
  if (miss === null) return { step: 'authorization', text: none, condition: null, object: null }
  const conditions = miss.failed.map((m) => rbacCondition(m, facts))
  const failed = conditions.map(({ field, seen, wanted }) => `${field}: seen ${seen}, wanted ${wanted}`)
  const share = `${miss.failed.length} of ${plural(miss.of, 'condition')}`
  const text = `${none}; the nearest is ${miss.policy.name}, ${originText(miss.policy.origin)}, which lacks ${share}: ${failed.join('; ')}`
  return { step: 'authorization', text, condition: conditions[0] ?? null, object: refOf(miss.policy.origin) }
}

// The annotation of Istio by which an AuthorizationPolicy is only tried out.
import type { ResourceObject } from '../../resource-object.ts'

export const DRY_RUN = 'istio.io/dry-run'

/** As Go reads booleans. What is none does not make a policy a rehearsal: it is enforced. */
const TRUE = ['1', 't', 'T', 'true', 'TRUE', 'True']
const FALSE = ['0', 'f', 'F', 'false', 'FALSE', 'False']

export function isDryRun({ annotations, spec }: ResourceObject<'AuthorizationPolicy'>): boolean {
  // The authorizer decides all the same.
  if (spec.action === 'CUSTOM') return false
  return TRUE.includes(annotations[DRY_RUN] ?? '')
}

/** null: it is one, or there is none. */
export function dryRunProblem({ annotations }: ResourceObject<'AuthorizationPolicy'>): string | null {
  const value = annotations[DRY_RUN]
  if (value === undefined || TRUE.includes(value) || FALSE.includes(value)) return null
  return `expected "true" or "false", found "${value}": the policy is enforced`
}

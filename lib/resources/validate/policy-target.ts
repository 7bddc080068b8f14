// What a policy is for. Istio validateOneOfSelectorType, validatePolicyTargetReference.
import { didYouMean } from '../../base/nearest.ts'
import type { Path, Report } from '../finding.ts'
import type { PolicyTargetSpec, TargetReference } from '../schema/policy-target.ts'
import { checkSelectorLabels } from './workload-selector.ts'

const MAX_TARGETS = 16

/** Kinds that a policy can be for, by the group that they are of. */
const TARGET_GROUPS: Readonly<Record<string, string>> = {
  Service: '',
  ServiceEntry: 'networking.istio.io',
  Gateway: 'gateway.networking.k8s.io',
  GatewayClass: 'gateway.networking.k8s.io',
}

export function checkPolicyTarget(spec: PolicyTargetSpec, report: Report): void {
  const { selector, targetRef, targetRefs } = spec
  const set = [
    ...(selector === undefined ? [] : ['selector']),
    ...(targetRef === undefined ? [] : ['targetRef']),
    ...(targetRefs === undefined || targetRefs.length === 0 ? [] : ['targetRefs']),
  ]
  if (set.length > 1)
    report([set[1]!], `only one of selector, targetRef and targetRefs can be set, found ${set.join(' and ')}`, true)
  checkSelectorLabels(selector?.matchLabels ?? {}, ['selector', 'matchLabels'], report)
  if (targetRef !== undefined) checkReference(targetRef, ['targetRef'], report)
  for (const [i, ref] of (targetRefs ?? []).entries()) checkReference(ref, ['targetRefs', i], report)
  if ((targetRefs ?? []).length > MAX_TARGETS)
    report(['targetRefs'], `expected ${MAX_TARGETS} at most, found ${targetRefs?.length}`)
}

function checkReference({ group = '', kind = '', name = '', namespace = '' }: TargetReference, path: Path, report: Report): void {
  if (name === '') report(path, 'expected the name of an object in `name`')
  if (namespace !== '') report([...path, 'namespace'], 'a policy is for objects of its own namespace: leave the field out', true)
  const wanted = Object.hasOwn(TARGET_GROUPS, kind) ? TARGET_GROUPS[kind] : undefined
  if (wanted === undefined) {
    const kinds = Object.keys(TARGET_GROUPS)
    report([...path, 'kind'], `expected one of ${kinds.join(', ')}, found \`${kind}\`${didYouMean(kind, kinds)}`)
  } else if (group !== wanted && !(wanted === '' && group === 'core'))
    report([...path, 'group'], `${kind} is of the group \`${wanted}\`, found \`${group}\``)
}

// What a policy is for (istio/api type/v1beta1): workloads by their labels, or objects by reference.
import type * as v from 'valibot'
import { list, opt, strict, text, textMap } from './fields.ts'

export const workloadSelector = strict({ matchLabels: opt(textMap) })

const reference = strict({ group: opt(text), kind: opt(text), name: opt(text), namespace: opt(text) })

/** The three of which a policy has one at most. */
export const policyTarget = { selector: opt(workloadSelector), targetRef: opt(reference), targetRefs: opt(list(reference)) }

export type TargetReference = v.InferOutput<typeof reference>

export interface PolicyTargetSpec {
  readonly selector?: v.InferOutput<typeof workloadSelector> | undefined
  readonly targetRef?: TargetReference | undefined
  readonly targetRefs?: readonly TargetReference[] | undefined
}

/** `targetRef` is the older way to write a list of one. */
export function targetsOf({ targetRef, targetRefs = [] }: PolicyTargetSpec): readonly TargetReference[] {
  return targetRefs.length === 0 && targetRef !== undefined ? [targetRef] : targetRefs
}

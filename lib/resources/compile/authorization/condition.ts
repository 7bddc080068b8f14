// One field or condition of a rule: values of which one has to fit, and others of which none may.
import type { RbacMatch } from '../../../state/rbac.ts'

/** What a value, or all of them together, come to. One of the two is there. */
export interface Generator {
  /** A connection of which nothing but bytes is known has no such thing. */
  readonly httpOnly: boolean
  readonly one: ((value: string) => RbacMatch) | null
  readonly together: ((values: readonly string[]) => RbacMatch) | null
}

export interface Condition {
  readonly generator: Generator
  readonly values: readonly string[]
  readonly notValues: readonly string[]
}

/** null where it says nothing. */
export function condition(
  generator: Generator,
  values: readonly string[] | undefined,
  notValues: readonly string[] | undefined,
): Condition[] {
  const [yes, no] = [values ?? [], notValues ?? []]
  return yes.length === 0 && no.length === 0 ? [] : [{ generator, values: yes, notValues: no }]
}

export function matchesOf({ generator, values, notValues }: Condition): RbacMatch[] {
  return [
    ...(values.length === 0 ? [] : [anyOf(generator, values)]),
    ...(notValues.length === 0 ? [] : [{ kind: 'not', of: anyOf(generator, notValues) } as const]),
  ]
}

function anyOf({ one, together }: Generator, values: readonly string[]): RbacMatch {
  if (together !== null) return together(values)
  return { kind: 'or', of: one === null ? [] : values.map(one) }
}

// The annotation by which a VirtualService allows retries that are not known to be safe: `heddle.io/unsafe-retries: allow`, or `allow: a, b` for the
// routes of these names.
import { didYouMean } from '../../base/nearest.ts'
import type { VirtualServiceSpec } from '../schema/virtual-service.ts'

export const UNSAFE_RETRIES = 'heddle.io/unsafe-retries'

/** Names of the routes; null: all of them. Only for a value that `unsafeRetriesProblem` finds no fault with. */
export function allowedRoutes(value: string): readonly string[] | null {
  const colon = value.indexOf(':')
  if (colon < 0) return null
  return value
    .slice(colon + 1)
    .split(',')
    .map((name) => name.trim())
}

/** Whether the annotations of a VirtualService allow them for its http rule of this name; empty: it has none. */
export function allowsUnsafeRetries(annotations: Readonly<Record<string, string>>, routeName: string): boolean {
  const value = annotations[UNSAFE_RETRIES]
  if (value === undefined) return false
  const names = allowedRoutes(value)
  return names === null || (routeName !== '' && names.includes(routeName))
}

/** null when fine. */
export function unsafeRetriesProblem(value: string, spec: VirtualServiceSpec): string | null {
  if (value.trim() === 'allow') return null
  const routes = /^\s*allow\s*:(.*)$/s.exec(value)
  if (routes === null) return `expected \`allow\`, or \`allow: route-a, route-b\` with names of its http routes, found "${value}"`
  const known = (spec.http ?? []).flatMap((rule) => (rule.name === undefined || rule.name === '' ? [] : [rule.name]))
  for (const word of (routes[1] as string).split(',')) {
    const name = word.trim()
    if (name === '') return 'expected a name of one of its http routes between the commas; `allow` alone is for all of them'
    if (known.includes(name)) continue
    const none = known.length === 0 ? '; none of its http routes has a name' : `; there are: ${known.join(', ')}`
    return `no http route has the name \`${name}\`${didYouMean(name, known) || none}`
  }
  return null
}

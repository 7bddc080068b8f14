// What filters have found out of a request, as conditions of routes and of authorization (envoy.type.matcher.v3.MetadataMatcher).
import type { MetadataMatch, ValueMatch } from '../../state/route.ts'
import type { MetadataMatcher, ValueMatcher } from '../proto/matcher.ts'
import type { Findings } from './findings.ts'
import { stringMatchOf } from './string-match.ts'

/** null with a fault. */
export function metadataMatchOf(
  { filter, path, value, invert }: MetadataMatcher,
  at: Findings,
): Omit<MetadataMatch, 'field'> | null {
  const match = value === null ? null : valueMatchOf(value, at.at('value'))
  if (value === null) at.fault('it says nothing of the value')
  if (path.length === 0 || path.some((segment) => segment.key === null)) at.at('path').fault('keys are expected')
  return match === null ? null : { filter, path: path.map((segment) => segment.key ?? ''), value: match, invert }
}

function valueMatchOf(v: ValueMatcher, at: Findings): ValueMatch | null {
  if (v.string_match !== null) {
    const match = stringMatchOf(v.string_match, at.at('string_match'))
    return match === null ? null : { kind: 'text', match }
  }
  if (v.or_match !== null) return anyOf(v.or_match.value_matchers, at.at('or_match'))
  if (v.list_match !== null) {
    const { one_of: element } = v.list_match
    const of = element === null ? null : valueMatchOf(element, at.at('list_match.one_of'))
    if (element === null) at.at('list_match').fault('it says nothing of the elements')
    return of === null ? null : { kind: 'element', of }
  }
  if (v.present_match !== null) return { kind: 'present', value: v.present_match }
  if (v.bool_match !== null) return { kind: 'bool', value: v.bool_match }
  if (v.null_match !== null) return { kind: 'null' }
  const exact = v.double_match?.exact ?? null
  if (exact !== null) return { kind: 'number', first: exact, end: exact }
  const range = v.double_match?.range ?? null
  if (range !== null) return { kind: 'number', first: range.start, end: range.end }
  at.fault('a value of this kind is not understood')
  return null
}

function anyOf(values: readonly ValueMatcher[], at: Findings): ValueMatch | null {
  const of = values.map((v, i) => valueMatchOf(v, at.at('value_matchers', i)))
  const known = of.filter((v) => v !== null)
  return known.length < of.length ? null : { kind: 'or', of: known }
}

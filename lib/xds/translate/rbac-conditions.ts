// What permissions and principals are made of: headers, addresses, and what filters have found out.
import { canonicalIp } from '../../base/ip-address.ts'
import type { IpPrefix } from '../../base/ip-prefix.ts'
import { headerField } from '../../policy/rbac-fields.ts'
import type { RbacMatch, ValueMatch } from '../../state/rbac.ts'
import type { StringMatch } from '../../state/route.ts'
import type { CidrRange } from '../proto/core.ts'
import type { MetadataMatcher, ValueMatcher } from '../proto/matcher.ts'
import type { HeaderMatcher } from '../proto/route.ts'
import type { Findings } from './findings.ts'
import { PRESENT, regexMatchOf, stringMatchOf } from './string-match.ts'

/** All of them null with a fault. */
export function headerOf(matcher: HeaderMatcher, at: Findings): RbacMatch | null {
  const match = headerTextOf(matcher, at)
  if (match === null) return null
  const lower = matcher.name.toLowerCase()
  const name = lower === 'host' ? ':authority' : lower
  // Asked to be absent.
  const invert = matcher.present_match === false ? !matcher.invert_match : matcher.invert_match
  const { treat_missing_header_as_empty: missingIsEmpty } = matcher
  return { kind: 'header', header: { name, field: headerField(name), match, invert, missingIsEmpty } }
}

function headerTextOf(matcher: HeaderMatcher, at: Findings): StringMatch | null {
  if (matcher.string_match !== null) return stringMatchOf(matcher.string_match, at.at('string_match'))
  if (matcher.safe_regex_match !== null) return regexMatchOf(matcher.safe_regex_match.regex, at.at('safe_regex_match'))
  for (const kind of ['exact', 'prefix', 'suffix', 'contains'] as const) {
    const value = matcher[`${kind}_match`]
    if (value !== null) return { kind, value, ignoreCase: false }
  }
  if (matcher.range_match === null) return PRESENT
  at.at('range_match').fault('ranges of numbers are not understood')
  return null
}

/** Without a length it is 0, which is every address of the family. */
export function prefixOf({ address_prefix: address, prefix_len: length }: CidrRange, at: Findings): IpPrefix | null {
  const canonical = canonicalIp(address)
  const bits = length ?? 0
  if (canonical !== null && !address.includes('%') && bits <= (canonical.includes(':') ? 128 : 32))
    return { address: canonical, length: bits }
  at.fault(`${address}/${bits} is no range of addresses`)
  return null
}

export function metadataOf({ filter, path, value, invert }: MetadataMatcher, at: Findings): RbacMatch | null {
  const match = value === null ? null : valueMatchOf(value, at.at('value'))
  if (value === null) at.fault('it says nothing of the value')
  if (path.length === 0 || path.some((segment) => segment.key === null)) at.at('path').fault('keys are expected')
  return match === null
    ? null
    : { kind: 'metadata', filter, path: path.map((segment) => segment.key ?? ''), value: match, invert }
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

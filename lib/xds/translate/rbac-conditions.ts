// What permissions and principals are made of: headers, addresses, and what filters have found out.
import { canonicalIp } from '../../base/ip-address.ts'
import type { IpPrefix } from '../../base/ip-prefix.ts'
import { headerField } from '../../policy/rbac-fields.ts'
import type { RbacMatch } from '../../state/rbac.ts'
import type { StringMatch } from '../../state/route.ts'
import type { CidrRange } from '../proto/core.ts'
import type { MetadataMatcher } from '../proto/matcher.ts'
import type { HeaderMatcher } from '../proto/route.ts'
import type { Findings } from './findings.ts'
import { metadataMatchOf } from './metadata-match.ts'
import { exactHeaderMatch, PRESENT, regexMatchOf, stringMatchOf } from './string-match.ts'

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
  if (matcher.exact_match !== null) return exactHeaderMatch(matcher.exact_match)
  for (const kind of ['prefix', 'suffix', 'contains'] as const) {
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

export function metadataOf(matcher: MetadataMatcher, at: Findings): RbacMatch | null {
  const match = metadataMatchOf(matcher, at)
  return match === null ? null : { kind: 'metadata', ...match }
}

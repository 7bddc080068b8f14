// What the values of an AuthorizationPolicy's fields stand for (istiod pilot/pkg/security/authz/matcher).
import { isIP } from 'node:net'
import { canonicalIp } from '../../../base/ip-address.ts'
import { type IpPrefix, parsePrefix } from '../../../base/ip-prefix.ts'
import type { StringMatch } from '../../../state/route.ts'

export const SPIFFE = 'spiffe://'

/** `.+` of RE2: there is one and it is not empty. */
export const NOT_EMPTY: StringMatch = pattern('.+')

export function exact(value: string, ignoreCase = false): StringMatch {
  return { kind: 'exact', value, ignoreCase }
}

export function pattern(value: string): StringMatch {
  return { kind: 'regex', value, ignoreCase: false }
}

/** `abc`, `abc*`, `*abc`, and `*` for anything but nothing. */
export function textOf(value: string, scheme = ''): StringMatch {
  if (value === '*') return NOT_EMPTY
  if (value.startsWith('*')) {
    const suffix = value.slice(1)
    return scheme === '' ? { kind: 'suffix', value: suffix, ignoreCase: false } : pattern(`${scheme}.*${quote(suffix)}`)
  }
  if (value.endsWith('*')) return { kind: 'prefix', value: scheme + value.slice(0, -1), ignoreCase: false }
  return exact(scheme + value)
}

/** Of a header, where presence is asked by itself. Of an authority case does not count. */
export function headerTextOf(value: string, ignoreCase = false): StringMatch {
  if (value === '*') return { kind: 'present', value: '', ignoreCase: false }
  if (value.startsWith('*')) return { kind: 'suffix', value: value.slice(1), ignoreCase }
  if (value.endsWith('*')) return { kind: 'prefix', value: value.slice(0, -1), ignoreCase }
  return exact(value, ignoreCase)
}

/** A literal in a pattern of RE2. */
export function quote(text: string): string {
  return text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&')
}

/** `10.1.2.3` or `10.1.0.0/16`, of which the validator has seen that it is one. */
export function prefixOf(value: string): IpPrefix {
  const block = parsePrefix(value) ?? { address: value, length: isIP(value) === 4 ? 32 : 128 }
  return { address: canonicalIp(block.address) ?? block.address, length: block.length }
}

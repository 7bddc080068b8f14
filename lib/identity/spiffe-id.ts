// SPIFFE ids (SPIFFE-ID.md §2). Split by hand: the URL class collapses `..`, takes ports and lower-cases, and so hides exactly what
// has to be refused.
import { printable } from './printable.ts'

export interface SpiffeId {
  /** Lower case, without scheme. */
  readonly trustDomain: string
  /** Begins with `/`; empty: the id of the trust domain itself. Case matters. */
  readonly path: string
  /** Of Istio's form `/ns/<namespace>/sa/<serviceAccount>`; null in ids of another form. */
  readonly namespace: string | null
  readonly serviceAccount: string | null
}

export type ParsedSpiffeId =
  | { readonly ok: true; readonly id: SpiffeId }
  /** A sentence for an operator; what was found in it is quoted and cut. */
  | { readonly ok: false; readonly error: string }

/** SPIFFE-ID.md §2.3: longer ones must not be made; nothing else has to take them. */
export const MAX_SPIFFE_ID_BYTES = 2048
const MAX_TRUST_DOMAIN_BYTES = 255
const SCHEME = 'spiffe://'

const TRUST_DOMAIN = /^[a-z0-9._-]+$/
const SEGMENT = /^[A-Za-z0-9._-]+$/

/** Strict: scheme and trust domain in any case, all else as the specification writes it. Never throws. */
export function parseSpiffeId(text: string): ParsedSpiffeId {
  const wrong = (what: string): ParsedSpiffeId => ({ ok: false, error: `${quoted(text)} is no SPIFFE id: ${what}` })
  if (text.length > MAX_SPIFFE_ID_BYTES) return wrong(`it has ${text.length} bytes, more than ${MAX_SPIFFE_ID_BYTES}`)
  if (text.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return wrong('it does not begin with spiffe://')
  const slash = text.indexOf('/', SCHEME.length)
  const authority = slash === -1 ? text.slice(SCHEME.length) : text.slice(SCHEME.length, slash)
  const path = slash === -1 ? '' : text.slice(slash)
  if (authority.includes('?') || path.includes('?')) return wrong('a query is not allowed')
  if (authority.includes('#') || path.includes('#')) return wrong('a fragment is not allowed')
  const domain = parseTrustDomain(authority)
  if (!domain.ok) return wrong(domain.error)
  const segments = path === '' ? [] : path.slice(1).split('/')
  for (const [index, segment] of segments.entries()) {
    if (segment === '')
      return wrong(index === segments.length - 1 ? 'its path ends with a slash' : 'its path has an empty segment')
    if (segment === '.' || segment === '..') return wrong(`its path has the segment ${quoted(segment)}`)
    if (!SEGMENT.test(segment)) return wrong(`the segment ${quoted(segment)} of its path may have only a-z A-Z 0-9 . - _`)
  }
  const istio = segments.length === 4 && segments[0] === 'ns' && segments[2] === 'sa'
  return {
    ok: true,
    id: {
      trustDomain: domain.name,
      path,
      namespace: istio ? (segments[1] as string) : null,
      serviceAccount: istio ? (segments[3] as string) : null,
    },
  }
}

/** The name of a trust domain as configuration writes it, without scheme. `name` is in lower case. */
export function parseTrustDomain(
  text: string,
): { readonly ok: true; readonly name: string } | { readonly ok: false; readonly error: string } {
  const name = text.toLowerCase()
  if (name === '') return { ok: false, error: 'its trust domain is empty' }
  if (name.length > MAX_TRUST_DOMAIN_BYTES)
    return { ok: false, error: `its trust domain has ${name.length} bytes, more than ${MAX_TRUST_DOMAIN_BYTES}` }
  if (name.includes('@')) return { ok: false, error: `its trust domain ${quoted(text)} has a user part` }
  if (name.includes(':')) return { ok: false, error: `its trust domain ${quoted(text)} has a port or is an IPv6 address` }
  // toLowerCase turns two characters outside of ASCII into ASCII (the Kelvin sign is one): the text itself is looked at, too.
  if (!TRUST_DOMAIN.test(name) || !SEGMENT.test(text))
    return { ok: false, error: `its trust domain ${quoted(text)} may have only a-z 0-9 . - _` }
  return { ok: true, name }
}

/** The one text of an id: equal ids have equal texts. */
export function spiffeIdText(id: Pick<SpiffeId, 'trustDomain' | 'path'>): string {
  return `${SCHEME}${id.trustDomain}${id.path}`
}

/** `spiffe://<trustDomain>/ns/<namespace>/sa/<serviceAccount>`, the form of Istio. The parts are not checked. */
export function workloadIdentityText(trustDomain: string, namespace: string, serviceAccount: string): string {
  return `${SCHEME}${trustDomain}/ns/${namespace}/sa/${serviceAccount}`
}

function quoted(text: string): string {
  return `"${printable(text)}"`
}

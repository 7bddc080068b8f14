// RouteMatch of envoy.config.route.v3 to the noun of the same name.
import {
  ANY_REQUEST,
  type HeaderMatch,
  JWT_METADATA,
  type MetadataMatch,
  type PathMatch,
  type QueryMatch,
  type RouteMatch as RouteMatchNoun,
  type StringMatch,
} from '../../state/route.ts'
import type { MetadataMatcher } from '../proto/matcher.ts'
import type { HeaderMatcher, QueryParameterMatcher, RouteMatch, TlsContextMatch } from '../proto/route.ts'
import type { Findings } from './findings.ts'
import { shareOf } from './fraction.ts'
import { metadataMatchOf } from './metadata-match.ts'
import { SharedValues } from './shared-values.ts'
import { exactHeaderMatch, isRegex, PRESENT, regexMatchOf, stringMatchOf } from './string-match.ts'

const CONNECT: HeaderMatch = {
  name: ':method',
  field: 'connect_matcher',
  match: { kind: 'exact', value: 'CONNECT', ignoreCase: false },
  invert: false,
  missingIsEmpty: false,
}
const GRPC: HeaderMatch = {
  name: 'content-type',
  field: 'grpc',
  match: { kind: 'regex', value: 'application/grpc(\\+.*)?', ignoreCase: false },
  invert: false,
  missingIsEmpty: false,
}

const shared = new SharedValues<RouteMatchNoun>()

export function routeMatchOf(match: RouteMatch, findings: Findings): RouteMatchNoun {
  const headers: HeaderMatch[] = []
  if (match.connect_matcher !== null) headers.push(CONNECT)
  if (match.grpc !== null) headers.push(GRPC)
  for (const [i, header] of match.headers.entries()) {
    const noun = headerMatchOf(header, findings.at('headers', i))
    if (noun !== null) headers.push(noun)
  }
  const query = match.query_parameters.flatMap((q, i) => queryMatchOf(q, findings.at('query_parameters', i)) ?? [])
  const metadata = match.dynamic_metadata.flatMap((m, i) => claimOf(m, findings.at('dynamic_metadata', i)) ?? [])
  const path = pathMatchOf(match, findings)
  const share = match.runtime_fraction === null ? null : shareOf(match.runtime_fraction.default_value)
  const certificate = match.tls_context === null ? null : certificateOf(match.tls_context, findings.at('tls_context'))
  const lists = headers.length === 0 && query.length === 0 && metadata.length === 0
  const any = path === null && lists && share === null && certificate === null
  return any ? ANY_REQUEST : shared.of({ path, headers, query, metadata, share, certificate })
}

/** Handshakes with certificates that are not trusted fail, so those that are presented are trusted too. */
function certificateOf({ presented, validated }: TlsContextMatch, findings: Findings): boolean | null {
  if (presented !== null && validated !== null && presented !== validated)
    findings.fault('a certificate that is presented has been validated')
  return presented ?? validated
}

/** null with a fault. */
function claimOf(matcher: MetadataMatcher, findings: Findings): MetadataMatch | null {
  const match = metadataMatchOf(matcher, findings)
  if (match === null) return null
  if (match.filter !== JWT_METADATA) {
    findings.at('filter').fault(`claims of tokens (${JWT_METADATA}) choose routes, nothing of \`${match.filter}\` does`)
    return null
  }
  const claim = match.path.slice(1).map((name) => `[${name}]`)
  return { ...match, field: `${match.invert ? 'withoutHeaders' : 'headers'}[@request.auth.claims${claim.join('')}]` }
}

/** null: any path. */
function pathMatchOf(match: RouteMatch, findings: Findings): PathMatch | null {
  const ignoreCase = match.case_sensitive === false
  // What every path begins with.
  if (match.prefix === '/' || match.prefix === '') return null
  if (match.prefix !== null) return { kind: 'prefix', value: match.prefix, ignoreCase }
  if (match.path_separated_prefix !== null) return { kind: 'pathPrefix', value: match.path_separated_prefix, ignoreCase }
  if (match.path !== null) return { kind: 'exact', value: match.path, ignoreCase }
  if (match.safe_regex !== null) {
    const { regex } = match.safe_regex
    return isRegex(regex, findings.at('safe_regex')) ? { kind: 'regex', value: regex, ignoreCase: false } : null
  }
  if (match.path_match_policy !== null)
    findings.at('path_match_policy').fault(`the path matcher ${match.path_match_policy.name} is not understood`)
  else if (match.connect_matcher === null) findings.fault('it says nothing of the path')
  return null
}

/** Also of the RBAC filter and of retriable headers. null with a fault. */
export function headerMatchOf(matcher: HeaderMatcher, findings: Findings): HeaderMatch | null {
  const match = headerValueOf(matcher, findings)
  if (match === null) return null
  const lower = matcher.name.toLowerCase()
  const name = lower === 'host' ? ':authority' : lower
  // Asked to be absent.
  const invert = matcher.present_match === false ? !matcher.invert_match : matcher.invert_match
  return { name, field: fieldOf(name, matcher, invert), match, invert, missingIsEmpty: matcher.treat_missing_header_as_empty }
}

const PSEUDO: Readonly<Record<string, string>> = { ':method': 'method', ':scheme': 'scheme', ':authority': 'authority' }

/** As the author of a VirtualService would call it. */
function fieldOf(name: string, matcher: HeaderMatcher, invert: boolean): string {
  return PSEUDO[name] ?? `${invert ? 'withoutHeaders' : 'headers'}[${matcher.name}]`
}

function headerValueOf(matcher: HeaderMatcher, findings: Findings): StringMatch | null {
  if (matcher.string_match !== null) return stringMatchOf(matcher.string_match, findings)
  if (matcher.safe_regex_match !== null) return regexMatchOf(matcher.safe_regex_match.regex, findings)
  if (matcher.exact_match !== null) return exactHeaderMatch(matcher.exact_match)
  for (const kind of ['prefix', 'suffix', 'contains'] as const) {
    const value = matcher[`${kind}_match`]
    if (value !== null) return { kind, value, ignoreCase: false }
  }
  if (matcher.range_match === null) return PRESENT
  findings.fault(`a range of numbers for the header ${matcher.name} is not understood`)
  return null
}

function queryMatchOf(matcher: QueryParameterMatcher, findings: Findings): QueryMatch | null {
  const field = `queryParams[${matcher.name}]`
  if (matcher.present_match === false) {
    findings.fault(`that the parameter ${matcher.name} is absent cannot be asked for`)
    return null
  }
  const match = matcher.string_match === null ? PRESENT : stringMatchOf(matcher.string_match, findings)
  return match === null ? null : { name: matcher.name, field, match }
}

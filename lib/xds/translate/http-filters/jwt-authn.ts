// envoy.filters.http.jwt_authn: whose tokens are believed. What of it is not understood is a fault: somebody relies on it.
import type { JwksCluster, JwksSource, JwtAuthentication, JwtProvider, JwtRequirement } from '../../../state/jwt.ts'
import * as Proto from '../../proto/jwt.ts'
import type { RouteMatch } from '../../proto/route.ts'
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'
import { originOf } from '../istio-metadata.ts'

/** Envoy's, where nothing is said. */
const CLOCK_SKEW_S = 60
const CACHE_MS = 600_000
const TIMEOUT_MS = 5000
const RETRY_BASE_MS = 1000
const REFETCH_MS = 1000

export function jwtAuthn(config: Any | null, draft: HttpFilterDraft, findings: Findings): void {
  const filter = findings.unpack(config, Proto.JwtAuthentication)
  if (filter === null) return
  if (draft.jwt !== null) {
    findings.fault('tokens are looked at once: a second filter for them is not understood')
    return
  }
  draft.jwt = translateJwt(filter, findings)
}

/** null: nobody is asked for anything. */
export function translateJwt(filter: Proto.JwtAuthentication, findings: Findings): JwtAuthentication | null {
  if (filter.filter_state_rules !== null)
    findings.at('filter_state_rules').fault('requirements by filter state are not understood')
  if (filter.strip_failure_response) findings.at('strip_failure_response').fault('what is wrong with a token is always told')
  const { rules } = filter
  const names = [...filter.providers.keys()].toSorted()
  const providers = names.map((name) =>
    translateProvider(name, filter.providers.get(name) as Proto.JwtProvider, findings.at(`providers[${name}]`)),
  )
  if (rules.length === 0) return null
  if (rules.length > 1) findings.at('rules', 1).fault('one rule for all requests is understood, no more')
  const [rule] = rules
  const requires = requirementOf(rule as Proto.RequirementRule, filter, findings.at('rules', 0))
  return {
    providers,
    requires,
    bypassCorsPreflight: filter.bypass_cors_preflight,
    choosesRoute: choosesRoute([...filter.providers.values()], findings),
  }
}

function choosesRoute(providers: readonly Proto.JwtProvider[], findings: Findings): boolean {
  const [first] = providers
  const chooses = first?.clear_route_cache === true
  if (providers.some((p) => p.clear_route_cache !== chooses))
    findings.at('providers').fault('clear_route_cache is understood of all providers or of none')
  return chooses
}

function requirementOf(rule: Proto.RequirementRule, filter: Proto.JwtAuthentication, findings: Findings): JwtRequirement {
  const { match, requires, requirement_name: name } = rule
  if (match === null || !isForAll(match))
    findings.at('match').fault('a rule for all requests is understood (prefix `/`), and no other')
  if (name === null) return requires === null ? { kind: 'none' } : translateRequirement(requires, filter, findings.at('requires'))
  const named = filter.requirement_map.get(name)
  if (named !== undefined) return translateRequirement(named, filter, findings.at('requirement_name'))
  findings.at('requirement_name').fault(`there is no requirement \`${name}\``)
  return { kind: 'none' }
}

function isForAll(match: RouteMatch): boolean {
  const lists = [match.headers, match.query_parameters, match.dynamic_metadata]
  const others = [match.grpc, match.runtime_fraction, match.tls_context]
  return match.prefix === '/' && lists.every((l) => l.length === 0) && others.every((o) => o === null)
}

function translateRequirement(
  requirement: Proto.JwtRequirement,
  filter: Proto.JwtAuthentication,
  findings: Findings,
): JwtRequirement {
  const { provider_name: name, provider_and_audiences: both, requires_any: either, requires_all: all } = requirement
  const provider = (name: string, audiences: readonly string[]): JwtRequirement => {
    if (!filter.providers.has(name)) findings.fault(`there is no provider \`${name}\``)
    return { kind: 'provider', provider: name, audiences }
  }
  const each = (list: Proto.JwtRequirementList): JwtRequirement[] =>
    list.requirements.map((r, i) => translateRequirement(r, filter, findings.at('requirements', i)))
  if (name !== null) return provider(name, [])
  if (both !== null) return provider(both.provider_name, both.audiences)
  if (either !== null) return { kind: 'any', of: each(either) }
  if (all !== null) return { kind: 'all', of: each(all) }
  if (requirement.allow_missing !== null) return { kind: 'missing' }
  return { kind: requirement.allow_missing_or_failed === null ? 'none' : 'missingOrFailed' }
}

function translateProvider(name: string, provider: Proto.JwtProvider, findings: Findings): JwtProvider {
  refuseUnknown(provider, findings)
  return {
    name,
    issuer: provider.issuer,
    audiences: provider.audiences,
    keys: keysOf(provider, findings),
    headers: provider.from_headers.map((h) => ({ name: h.name.toLowerCase(), prefix: h.value_prefix })),
    params: provider.from_params,
    cookies: provider.from_cookies,
    forward: provider.forward,
    payloadHeader: provider.forward_payload_header.toLowerCase(),
    claimHeaders: provider.claim_to_headers.map((c) => ({ header: c.header_name.toLowerCase(), claim: c.claim_name })),
    payloadMetadata: provider.payload_in_metadata,
    spaceDelimitedClaims: provider.normalize_payload_in_metadata?.space_delimited_claims ?? [],
    clockSkewS: provider.clock_skew_seconds || CLOCK_SKEW_S,
    origin: originOf(null),
  }
}

function refuseUnknown(provider: Proto.JwtProvider, findings: Findings): void {
  const refuse = (field: keyof Proto.JwtProvider, there: boolean, text: string): void => {
    if (there) findings.at(field).fault(text)
  }
  refuse('subjects', provider.subjects !== null, 'subjects are not compared')
  refuse('require_expiration', provider.require_expiration, 'tokens without exp are valid')
  refuse('max_lifetime', provider.max_lifetime !== null, 'tokens may be valid for as long as they say')
  refuse('pad_forward_payload_header', provider.pad_forward_payload_header, 'the payload is passed on as it was sent')
  refuse('header_in_metadata', provider.header_in_metadata !== '', 'only the payload is passed on to other filters')
  refuse('failed_status_in_metadata', provider.failed_status_in_metadata !== '', 'only the payload is passed on to other filters')
}

function keysOf({ local_jwks: local, remote_jwks: remote }: Proto.JwtProvider, findings: Findings): JwksSource {
  if (remote !== null) return remoteKeys(remote, findings.at('remote_jwks'))
  const given = { uri: '', discovery: false, timeoutMs: 0, refreshMs: 0, through: null }
  if (local === null) {
    findings.fault('a provider has local_jwks or remote_jwks')
    return { jwks: '', ...given }
  }
  const { inline_string: text, inline_bytes: bytes } = local
  const jwks = text ?? (bytes === null ? '' : Buffer.from(bytes).toString('utf8'))
  if (jwks === '') findings.at('local_jwks').fault('keys are understood where they are written out (inline_string)')
  return { jwks, ...given }
}

/**
 * The main thread fetches them, before they are asked for (`async_fetch` or not), and the listener waits for the first fetch (`fast_listener` or not): a worker
 * does not wait between two events.
 */
function remoteKeys(remote: Proto.RemoteJwks, findings: Findings): JwksSource {
  const { http_uri: from, cache_duration: cache } = remote
  const uri = from?.uri ?? ''
  if (!/^https?:\/\//.test(uri)) findings.at('http_uri').fault(`keys are fetched from http or https, not from \`${uri}\``)
  const through = from === null || from.cluster === null || from.cluster === '' ? null : throughCluster(from.cluster, remote)
  return { jwks: '', uri, discovery: false, timeoutMs: from?.timeout ?? TIMEOUT_MS, refreshMs: cache ?? CACHE_MS, through }
}

function throughCluster(cluster: string, { retry_policy: retry, async_fetch: ahead }: Proto.RemoteJwks): JwksCluster {
  const base = retry?.retry_back_off?.base_interval ?? RETRY_BASE_MS
  return {
    cluster,
    retries: retry === null ? 0 : (retry.num_retries ?? 1),
    retryBaseMs: base,
    retryMaxMs: retry?.retry_back_off?.max_interval ?? 10 * base,
    againMs: ahead === null ? 0 : (ahead.failed_refetch_duration ?? REFETCH_MS),
  }
}

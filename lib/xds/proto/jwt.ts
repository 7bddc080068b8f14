// envoy.extensions.filters.http.jwt_authn.v3: whose tokens are believed.
import { DataSource, Empty, FetchRetryPolicy, HttpUri, StringMatcher } from './core.ts'
import { RouteMatch } from './route.ts'
import { bool, type Decoded, duration, list, type Message, map, message, one, oneof, recursive, text, uint32 } from './schema.ts'

const NAMESPACE = 'envoy.extensions.filters.http.jwt_authn.v3'

export const JwksAsyncFetch = message(`${NAMESPACE}.JwksAsyncFetch`, {
  fast_listener: bool(1),
  failed_refetch_duration: duration(2),
})
export const RemoteJwks = message(`${NAMESPACE}.RemoteJwks`, {
  http_uri: one(1, HttpUri),
  cache_duration: duration(2),
  async_fetch: one(3, JwksAsyncFetch),
  retry_policy: one(4, FetchRetryPolicy),
})
export type RemoteJwks = Decoded<typeof RemoteJwks>

export const JwtHeader = message(`${NAMESPACE}.JwtHeader`, { name: text(1), value_prefix: text(2) })
export const JwtClaimToHeader = message(`${NAMESPACE}.JwtClaimToHeader`, { header_name: text(1), claim_name: text(2) })
export const JwtCacheConfig = message(`${NAMESPACE}.JwtCacheConfig`, { jwt_cache_size: uint32(1) })
export const NormalizePayload = message(`${NAMESPACE}.JwtProvider.NormalizePayload`, {
  space_delimited_claims: list(text(1)),
})

export const JwtProvider = message(`${NAMESPACE}.JwtProvider`, {
  issuer: text(1),
  audiences: list(text(2)),
  subjects: one(19, StringMatcher),
  require_expiration: bool(20),
  max_lifetime: duration(21),
  ...oneof('jwks_source_specifier', { remote_jwks: one(3, RemoteJwks), local_jwks: one(4, DataSource) }),
  forward: bool(5),
  from_headers: list(one(6, JwtHeader)),
  from_params: list(text(7)),
  from_cookies: list(text(13)),
  forward_payload_header: text(8),
  pad_forward_payload_header: bool(11),
  payload_in_metadata: text(9),
  normalize_payload_in_metadata: one(18, NormalizePayload),
  header_in_metadata: text(14),
  failed_status_in_metadata: text(16),
  clock_skew_seconds: uint32(10),
  jwt_cache_config: one(12, JwtCacheConfig),
  claim_to_headers: list(one(15, JwtClaimToHeader)),
  clear_route_cache: bool(17),
})
export type JwtProvider = Decoded<typeof JwtProvider>

export const ProviderWithAudiences = message(`${NAMESPACE}.ProviderWithAudiences`, {
  provider_name: text(1),
  audiences: list(text(2)),
})

/** At most one field is not null; none: nothing is asked. */
export interface JwtRequirement {
  readonly provider_name: string | null
  readonly provider_and_audiences: Decoded<typeof ProviderWithAudiences> | null
  readonly requires_any: JwtRequirementList | null
  readonly requires_all: JwtRequirementList | null
  readonly allow_missing_or_failed: object | null
  readonly allow_missing: object | null
}
export interface JwtRequirementList {
  readonly requirements: readonly JwtRequirement[]
}

export const JwtRequirement: Message<JwtRequirement> = recursive<JwtRequirement>(`${NAMESPACE}.JwtRequirement`, () =>
  oneof('requires_type', {
    provider_name: text(1),
    provider_and_audiences: one(2, ProviderWithAudiences),
    requires_any: one(3, JwtRequirementOrList),
    requires_all: one(4, JwtRequirementAndList),
    allow_missing_or_failed: one(5, Empty),
    allow_missing: one(6, Empty),
  }),
)
export const JwtRequirementOrList: Message<JwtRequirementList> = recursive<JwtRequirementList>(
  `${NAMESPACE}.JwtRequirementOrList`,
  () => ({ requirements: list(one(1, JwtRequirement)) }),
)
export const JwtRequirementAndList: Message<JwtRequirementList> = recursive<JwtRequirementList>(
  `${NAMESPACE}.JwtRequirementAndList`,
  () => ({ requirements: list(one(1, JwtRequirement)) }),
)

export const RequirementRule = message(`${NAMESPACE}.RequirementRule`, {
  match: one(1, RouteMatch),
  ...oneof('requirement_type', { requires: one(2, JwtRequirement), requirement_name: text(3) }),
})
export type RequirementRule = Decoded<typeof RequirementRule>

export const FilterStateRule = message(`${NAMESPACE}.FilterStateRule`, {
  name: text(1),
  requires: map(one(3, JwtRequirement)),
})

export const JwtAuthentication = message(`${NAMESPACE}.JwtAuthentication`, {
  providers: map(one(1, JwtProvider)),
  rules: list(one(2, RequirementRule)),
  filter_state_rules: one(3, FilterStateRule),
  bypass_cors_preflight: bool(4),
  requirement_map: map(one(5, JwtRequirement)),
  strip_failure_response: bool(6),
})
export type JwtAuthentication = Decoded<typeof JwtAuthentication>

// Messages of envoy.config.rbac.v3, and of the two filters that carry them.
import { CidrRange, Int32Range, PathMatcher, StringMatcher, TypedExtensionConfig } from './core.ts'
import { MetadataMatcher } from './matcher.ts'
import { HeaderMatcher } from './route.ts'
import {
  bool,
  bytes,
  type Decoded,
  enumeration,
  list,
  type Message,
  map,
  message,
  one,
  oneof,
  recursive,
  text,
  uint32,
} from './schema.ts'
import { Matcher } from './unified-matcher.ts'

/** What is asked for. At most one field is not null. */
export interface Permission {
  readonly and_rules: PermissionSet | null
  readonly or_rules: PermissionSet | null
  readonly any: boolean | null
  readonly header: HeaderMatcher | null
  readonly destination_ip: CidrRange | null
  readonly destination_port: number | null
  readonly metadata: MetadataMatcher | null
  readonly not_rule: Permission | null
  readonly requested_server_name: StringMatcher | null
  readonly url_path: PathMatcher | null
  readonly destination_port_range: Decoded<typeof Int32Range> | null
  readonly matcher: TypedExtensionConfig | null
  readonly uri_template: TypedExtensionConfig | null
}
export interface PermissionSet {
  readonly rules: readonly Permission[]
}

export const Permission: Message<Permission> = recursive<Permission>('envoy.config.rbac.v3.Permission', () =>
  oneof('rule', {
    and_rules: one(1, PermissionSet),
    or_rules: one(2, PermissionSet),
    any: bool(3),
    header: one(4, HeaderMatcher),
    destination_ip: one(5, CidrRange),
    destination_port: uint32(6),
    metadata: one(7, MetadataMatcher),
    not_rule: one(8, Permission),
    requested_server_name: one(9, StringMatcher),
    url_path: one(10, PathMatcher),
    destination_port_range: one(11, Int32Range),
    matcher: one(12, TypedExtensionConfig),
    uri_template: one(13, TypedExtensionConfig),
  }),
)
export const PermissionSet: Message<PermissionSet> = recursive<PermissionSet>('envoy.config.rbac.v3.Permission.Set', () => ({
  rules: list(one(1, Permission)),
}))

export const Authenticated = message('envoy.config.rbac.v3.Principal.Authenticated', { principal_name: one(2, StringMatcher) })
export const FilterStateMatcher = message('envoy.type.matcher.v3.FilterStateMatcher', {
  key: text(1),
  ...oneof('matcher', { string_match: one(2, StringMatcher) }),
})
export type FilterStateMatcher = Decoded<typeof FilterStateMatcher>

/** Who asks. At most one field is not null. */
export interface Principal {
  readonly and_ids: PrincipalSet | null
  readonly or_ids: PrincipalSet | null
  readonly any: boolean | null
  readonly authenticated: Decoded<typeof Authenticated> | null
  readonly source_ip: CidrRange | null
  readonly header: HeaderMatcher | null
  readonly metadata: MetadataMatcher | null
  readonly not_id: Principal | null
  readonly url_path: PathMatcher | null
  readonly direct_remote_ip: CidrRange | null
  readonly remote_ip: CidrRange | null
  readonly filter_state: FilterStateMatcher | null
}
export interface PrincipalSet {
  readonly ids: readonly Principal[]
}

export const Principal: Message<Principal> = recursive<Principal>('envoy.config.rbac.v3.Principal', () =>
  oneof('identifier', {
    and_ids: one(1, PrincipalSet),
    or_ids: one(2, PrincipalSet),
    any: bool(3),
    authenticated: one(4, Authenticated),
    /** Deprecated for `direct_remote_ip`. */
    source_ip: one(5, CidrRange),
    header: one(6, HeaderMatcher),
    metadata: one(7, MetadataMatcher),
    not_id: one(8, Principal),
    url_path: one(9, PathMatcher),
    direct_remote_ip: one(10, CidrRange),
    remote_ip: one(11, CidrRange),
    filter_state: one(12, FilterStateMatcher),
  }),
)
export const PrincipalSet: Message<PrincipalSet> = recursive<PrincipalSet>('envoy.config.rbac.v3.Principal.Set', () => ({
  ids: list(one(1, Principal)),
}))

export const Policy = message('envoy.config.rbac.v3.Policy', {
  permissions: list(one(1, Permission)),
  principals: list(one(2, Principal)),
  /** Expressions of CEL, only to know that there is one. */
  condition: bytes(3),
  checked_condition: bytes(4),
})
export type Policy = Decoded<typeof Policy>

export const Rbac = message('envoy.config.rbac.v3.RBAC', {
  action: enumeration(1, { ALLOW: 0, DENY: 1, LOG: 2 }),
  policies: map(one(2, Policy)),
})
export type Rbac = Decoded<typeof Rbac>

export const HttpRbac = message('envoy.extensions.filters.http.rbac.v3.RBAC', {
  rules: one(1, Rbac),
  shadow_rules: one(2, Rbac),
  shadow_rules_stat_prefix: text(3),
  matcher: one(4, Matcher),
  shadow_matcher: one(5, Matcher),
})
export type HttpRbac = Decoded<typeof HttpRbac>
export const NetworkRbac = message('envoy.extensions.filters.network.rbac.v3.RBAC', {
  rules: one(1, Rbac),
  shadow_rules: one(2, Rbac),
  stat_prefix: text(3),
  enforcement_type: enumeration(4, { ONE_TIME_ON_FIRST_BYTE: 0, CONTINUOUS: 1 }),
  shadow_rules_stat_prefix: text(5),
  matcher: one(6, Matcher),
  shadow_matcher: one(7, Matcher),
})
export type NetworkRbac = Decoded<typeof NetworkRbac>

export const UriTemplateMatch = message('envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', {
  path_template: text(1),
})

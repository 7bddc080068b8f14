// Who may do what, at the level of Envoy's RBAC (envoy.config.rbac.v3): what AuthorizationPolicies are compiled to, and what `rbac`
// filters of xDS are translated to. Plain data; evaluated by `policy/rbac.ts`.
import type { IpPrefix } from '../base/ip-prefix.ts'
import type { Origin } from './origin.ts'
import type { HeaderMatch, MetadataMatch, StringMatch } from './route.ts'

/** One filter; a chain has them in the order of evaluation: LOG, DENY, ALLOW as Istio does. The first that refuses ends it. */
export interface RbacFilter {
  /** What decides; null: nothing is enforced. */
  readonly rules: RbacRules | null
  /** What is evaluated and told, and decides nothing (dry run); null: nothing. */
  readonly shadow: RbacRules | null
}

export interface RbacRules {
  /**
   * ALLOW: refused unless a policy fits; without policies everything is. DENY: refused when one fits. LOG: nothing is refused, what fits is noted.
   */
  readonly action: 'ALLOW' | 'DENY' | 'LOG'
  /** In the order in which they are asked: by the code units of their names, as Envoy does. The first that fits is the one that is named. */
  readonly policies: readonly RbacPolicy[]
}

/** Fits when a permission and a principal do; without any of either it never does. */
export interface RbacPolicy {
  /** `ns[default]-policy[viewers]-rule[0]`, what replies and logs call it. */
  readonly name: string
  readonly permissions: readonly RbacMatch[]
  readonly principals: readonly RbacMatch[]
  /** The rule of the AuthorizationPolicy. */
  readonly origin: Origin
}

/**
 * What a request or a connection must be like. Envoy's Permission (what is asked for) and Principal (who asks) are one kind here. What is asked of
 * something that is not there does not fit, `not` of it does: a plaintext client is not `authenticated`, on TCP there are no headers.
 */
export type RbacMatch =
  | { readonly kind: 'any' }
  /** Without entries it fits. */
  | { readonly kind: 'and'; readonly of: readonly RbacMatch[] }
  /** Without entries it does not. */
  | { readonly kind: 'or'; readonly of: readonly RbacMatch[] }
  | { readonly kind: 'not'; readonly of: RbacMatch }
  | { readonly kind: 'header'; readonly header: HeaderMatch }
  /** The normalised path without its query. */
  | { readonly kind: 'path'; readonly match: StringMatch }
  /** Same text, by segments: `*` is one segment, `**` any number of them (envoy.extensions.path.match.uri_template). */
  | { readonly kind: 'pathTemplate'; readonly template: string }
  /** Where the connection was going: behind interception the dialled address. */
  | { readonly kind: 'destinationIp'; readonly prefix: IpPrefix }
  /** Both ends are included. */
  | { readonly kind: 'destinationPort'; readonly first: number; readonly last: number }
  /** SNI; empty where there was none. */
  | { readonly kind: 'requestedServerName'; readonly match: StringMatch }
  /** A client certificate was believed. null: whichever; else the first URI SAN of it, without one the DNS name or the subject. */
  | { readonly kind: 'authenticated'; readonly match: StringMatch | null }
  /** A text that the tunnel tells of a connection: `io.istio.peer_principal` is the SPIFFE id of the tunnel's client. */
  | { readonly kind: 'filterState'; readonly key: string; readonly match: StringMatch }
  /** The other end of the connection, whatever it says of itself. */
  | { readonly kind: 'directRemoteIp'; readonly prefix: IpPrefix }
  /** The client, by x-forwarded-for as far as that is believed. */
  | { readonly kind: 'remoteIp'; readonly prefix: IpPrefix }
  /** What a filter in front has found out: claims of a token are of `envoy.filters.http.jwt_authn`, below `payload`. */
  | ({ readonly kind: 'metadata' } & Omit<MetadataMatch, 'field'>)

/** Filter state of what comes out of a tunnel: the SPIFFE id of the tunnel's client. */
export const PEER_PRINCIPAL = 'io.istio.peer_principal'

// What of an AuthorizationPolicy a tunnel is told (Istio's pkg/workloadapi/security/authorization.proto, package istio.security).

import { Empty } from './core.ts'
import { any, bool, bytes, type Decoded, enumeration, list, message, one, oneof, text, uint32 } from './schema.ts'

export const StringMatch = message('istio.security.StringMatch', {
  ...oneof('match_type', { exact: text(1), prefix: text(2), suffix: text(3), presence: one(4, Empty) }),
})
export type StringMatch = Decoded<typeof StringMatch>

export const ServiceAccountMatch = message('istio.security.ServiceAccountMatch', { namespace: text(1), serviceAccount: text(2) })

/** A prefix. */
export const Address = message('istio.security.Address', { address: bytes(1), length: uint32(2) })
export type Address = Decoded<typeof Address>

export const Extension = message('istio.security.Extension', { name: text(1), config: any(2) })

export const Match = message('istio.security.Match', {
  namespaces: list(one(1, StringMatch)),
  not_namespaces: list(one(2, StringMatch)),
  service_accounts: list(one(11, ServiceAccountMatch)),
  not_service_accounts: list(one(12, ServiceAccountMatch)),
  principals: list(one(3, StringMatch)),
  not_principals: list(one(4, StringMatch)),
  source_ips: list(one(5, Address)),
  not_source_ips: list(one(6, Address)),
  destination_ips: list(one(7, Address)),
  not_destination_ips: list(one(8, Address)),
  destination_ports: list(uint32(9)),
  not_destination_ports: list(uint32(10)),
  extensions: list(one(13, Extension)),
})
export type Match = Decoded<typeof Match>

/** istiod's own definition has Rules for it. */
export const Clause = message('istio.security.Clause', { matches: list(one(2, Match)) })
/** istiod's own definition has Group for it. */
export const Rule = message('istio.security.Rule', { clauses: list(one(1, Clause)) })

export const Authorization = message('istio.security.Authorization', {
  name: text(1),
  namespace: text(2),
  scope: enumeration(3, { GLOBAL: 0, NAMESPACE: 1, WORKLOAD_SELECTOR: 2 }),
  action: enumeration(4, { ALLOW: 0, DENY: 1 }),
  rules: list(one(5, Rule)),
  dry_run: bool(6),
  extensions: list(one(7, Extension)),
})
export type Authorization = Decoded<typeof Authorization>

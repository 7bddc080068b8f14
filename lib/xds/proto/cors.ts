// envoy.extensions.filters.http.cors.v3.
import { RuntimeFractionalPercent, StringMatcher } from './core.ts'
import { boolValue, type Decoded, list, message, one, text } from './schema.ts'

/** The filter: all it knows is in routes. */
export const Cors = message('envoy.extensions.filters.http.cors.v3.Cors', {})
export const CorsPolicy = message('envoy.extensions.filters.http.cors.v3.CorsPolicy', {
  allow_origin_string_match: list(one(1, StringMatcher)),
  allow_methods: text(2),
  allow_headers: text(3),
  expose_headers: text(4),
  max_age: text(5),
  allow_credentials: boolValue(6),
  /** Absent: all. */
  filter_enabled: one(7, RuntimeFractionalPercent),
  allow_private_network_access: boolValue(9),
  /** Absent: true. */
  forward_not_matching_preflights: boolValue(10),
})
export type CorsPolicy = Decoded<typeof CorsPolicy>

// Listeners as JSON with the field names of the .proto files, for tables of what they come to.
import type { Json, JsonObject } from '../../../../lib/xds/proto/json.ts'
import { type ListenerTerms, type TranslatedListener, translateListener } from '../../../../lib/xds/translate/listener.ts'
import { listenerBytes } from './recorded.ts'

const PREFIX = 'type.googleapis.com/'
const NETWORK = 'envoy.extensions.filters.network.'
const HTTP = 'envoy.extensions.filters.http.'

export const TERMS: ListenerTerms = { extensions: new Map(), routes: { unsafeRetries: 'allowed' } }

export function any(type: string, fields: JsonObject = {}): JsonObject {
  return { '@type': PREFIX + type, ...fields }
}

export const typed = (name: string, type: string, fields: JsonObject = {}): JsonObject => ({
  name,
  typed_config: any(type, fields),
})

export const router = typed('router', `${HTTP}router.v3.Router`)
export const rds = (name: string): JsonObject => ({ config_source: { ads: {} }, route_config_name: name })

export const hcm = (fields: JsonObject = {}): JsonObject =>
  typed('hcm', `${NETWORK}http_connection_manager.v3.HttpConnectionManager`, {
    stat_prefix: 'x',
    rds: rds('80'),
    http_filters: [router],
    ...fields,
  })
/** A connection manager with these in front of the router. */
export const withFilters = (...filters: Json[]): JsonObject => hcm({ http_filters: [...filters, router] })
export const tcp = (fields: JsonObject = {}): JsonObject =>
  typed('tcp', `${NETWORK}tcp_proxy.v3.TcpProxy`, { stat_prefix: 'x', cluster: 'c', ...fields })

export const address = (port: number, at = '0.0.0.0'): JsonObject => ({ socket_address: { address: at, port_value: port } })

/** Outbound, bound, with one chain of HTTP. */
export const listener = (fields: JsonObject = {}): JsonObject => ({
  name: 'l',
  address: address(80),
  traffic_direction: 'OUTBOUND',
  filter_chains: [{ filters: [hcm()] }],
  ...fields,
})

export const chains = (...filterChains: Json[]): JsonObject => listener({ filter_chains: filterChains })
export const filters = (...list: Json[]): JsonObject => chains({ filters: list })

export function translated(
  json: JsonObject,
  previous: TranslatedListener | null = null,
  terms: Partial<ListenerTerms> = {},
): TranslatedListener {
  return translateListener(listenerBytes(json), previous, { ...TERMS, ...terms })
}

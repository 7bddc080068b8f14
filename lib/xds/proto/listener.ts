// envoy.config.listener.v3: listeners, their filter chains and what those ask of a connection.
import { AccessLog } from './access-log.ts'
import { Address, CidrRange, ExtensionConfigSource, Int32Range, Metadata, TcpKeepalive, TransportSocket } from './core.ts'
import {
  any,
  bool,
  boolValue,
  bytes,
  type Decoded,
  duration,
  enumeration,
  list,
  type Message,
  message,
  one,
  oneof,
  recursive,
  text,
  uint32,
  uint32Value,
} from './schema.ts'
import { Matcher } from './unified-matcher.ts'

export const FilterChainMatch = message('envoy.config.listener.v3.FilterChainMatch', {
  prefix_ranges: list(one(3, CidrRange)),
  /** Deprecated, and never carried out by Envoy. */
  address_suffix: text(4),
  source_prefix_ranges: list(one(6, CidrRange)),
  source_ports: list(uint32(7)),
  destination_port: uint32Value(8),
  transport_protocol: text(9),
  application_protocols: list(text(10)),
  server_names: list(text(11)),
  source_type: enumeration(12, { ANY: 0, SAME_IP_OR_LOOPBACK: 1, EXTERNAL: 2 }),
  direct_source_prefix_ranges: list(one(13, CidrRange)),
})
export type FilterChainMatch = Decoded<typeof FilterChainMatch>

export const Filter = message('envoy.config.listener.v3.Filter', {
  name: text(1),
  ...oneof('config_type', { typed_config: any(4), config_discovery: one(5, ExtensionConfigSource) }),
})
export type Filter = Decoded<typeof Filter>

export const FilterChain = message('envoy.config.listener.v3.FilterChain', {
  filter_chain_match: one(1, FilterChainMatch),
  filters: list(one(3, Filter)),
  use_proxy_proto: boolValue(4),
  metadata: one(5, Metadata),
  transport_socket: one(6, TransportSocket),
  name: text(7),
  transport_socket_connect_timeout: duration(9),
})
export type FilterChain = Decoded<typeof FilterChain>

export interface ListenerFilterPredicate {
  readonly or_match: { readonly rules: readonly ListenerFilterPredicate[] } | null
  readonly and_match: { readonly rules: readonly ListenerFilterPredicate[] } | null
  readonly not_match: ListenerFilterPredicate | null
  readonly any_match: boolean | null
  /** The end is not included. */
  readonly destination_port_range: Decoded<typeof Int32Range> | null
}
export const ListenerFilterPredicate: Message<ListenerFilterPredicate> = recursive<ListenerFilterPredicate>(
  'envoy.config.listener.v3.ListenerFilterChainMatchPredicate',
  () => ({
    ...oneof('rule', {
      or_match: one(1, () => MatchSet),
      and_match: one(2, () => MatchSet),
      not_match: one(3, ListenerFilterPredicate),
      any_match: bool(4),
      destination_port_range: one(5, Int32Range),
    }),
  }),
)
export const MatchSet = message('envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet', {
  rules: list(one(1, ListenerFilterPredicate)),
})
export const ListenerFilter = message('envoy.config.listener.v3.ListenerFilter', {
  name: text(1),
  ...oneof('config_type', { typed_config: any(3), config_discovery: one(5, ExtensionConfigSource) }),
  filter_disabled: one(4, ListenerFilterPredicate),
})
export type ListenerFilter = Decoded<typeof ListenerFilter>

export const AdditionalAddress = message('envoy.config.listener.v3.AdditionalAddress', { address: one(1, Address) })
export const InternalListenerConfig = message('envoy.config.listener.v3.Listener.InternalListenerConfig', {})
export const UdpListenerConfig = message('envoy.config.listener.v3.UdpListenerConfig', {})
export const ConnectionBalanceConfig = message('envoy.config.listener.v3.Listener.ConnectionBalanceConfig', {
  ...oneof('balance_type', {
    exact_balance: one(1, message('envoy.config.listener.v3.Listener.ConnectionBalanceConfig.ExactBalance', {})),
  }),
})

const SHELL = {
  name: text(1),
  address: one(2, Address),
  use_original_dst: boolValue(4),
  per_connection_buffer_limit_bytes: uint32Value(5),
  metadata: one(6, Metadata),
  drain_type: enumeration(8, { DEFAULT: 0, MODIFY_ONLY: 1 }),
  listener_filters: list(one(9, ListenerFilter)),
  transparent: boolValue(10),
  freebind: boolValue(11),
  listener_filters_timeout: duration(15),
  traffic_direction: enumeration(16, { UNSPECIFIED: 0, INBOUND: 1, OUTBOUND: 2 }),
  continue_on_listener_filters_timeout: bool(17),
  udp_listener_config: one(18, UdpListenerConfig),
  connection_balance_config: one(20, ConnectionBalanceConfig),
  access_log: list(one(22, AccessLog)),
  bind_to_port: boolValue(26),
  ...oneof('listener_specifier', { internal_listener: one(27, InternalListenerConfig) }),
  stat_prefix: text(28),
  filter_chain_matcher: one(32, Matcher),
  additional_addresses: list(one(33, AdditionalAddress)),
  max_connections_to_accept_per_socket_event: uint32Value(34),
  tcp_keepalive: one(37, TcpKeepalive),
}

export const Listener = message('envoy.config.listener.v3.Listener', {
  ...SHELL,
  filter_chains: list(one(3, FilterChain)),
  default_filter_chain: one(25, FilterChain),
})
export type Listener = Decoded<typeof Listener>

/** The same message with its filter chains as bytes: chains that did not change need not be decoded. */
export const ListenerShell = message('envoy.config.listener.v3.Listener', {
  ...SHELL,
  filter_chains: list(bytes(3)),
  /** Empty: there is none. One that says nothing has no filters either, and is none. */
  default_filter_chain: bytes(25),
})
export type ListenerShell = Decoded<typeof ListenerShell>

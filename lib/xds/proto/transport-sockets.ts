// Transport sockets other than TLS: bytes as they are, the way through an internal listener, and the PROXY protocol in front of another one.
import { TransportSocket } from './core.ts'
import { type Decoded, enumeration, list, message, one, oneof, text, uint32 } from './schema.ts'

export const RawBuffer = message('envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer', {})

const METADATA_KIND = 'envoy.type.metadata.v3.MetadataKind'
export const MetadataKind = message(METADATA_KIND, {
  ...oneof('kind', {
    request: one(1, message(`${METADATA_KIND}.Request`, {})),
    route: one(2, message(`${METADATA_KIND}.Route`, {})),
    cluster: one(3, message(`${METADATA_KIND}.Cluster`, {})),
    host: one(4, message(`${METADATA_KIND}.Host`, {})),
  }),
})

const INTERNAL = 'envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport'
export const MetadataValueSource = message(`${INTERNAL}.MetadataValueSource`, { kind: one(1, MetadataKind), name: text(2) })
export const InternalUpstreamTransport = message(INTERNAL, {
  /** Metadata of the endpoint that the internal listener sees. */
  passthrough_metadata: list(one(1, MetadataValueSource)),
  transport_socket: one(3, TransportSocket),
})
export type InternalUpstreamTransport = Decoded<typeof InternalUpstreamTransport>

export const ProxyProtocolPassThroughTLVs = message('envoy.config.core.v3.ProxyProtocolPassThroughTLVs', {
  match_type: enumeration(1, { INCLUDE_ALL: 0, INCLUDE: 1 }),
  tlv_type: list(uint32(2)),
})
export const ProxyProtocolConfig = message('envoy.config.core.v3.ProxyProtocolConfig', {
  version: enumeration(1, { V1: 0, V2: 1 }),
  pass_through_tlvs: one(2, ProxyProtocolPassThroughTLVs),
})
export const ProxyProtocolUpstreamTransport = message(
  'envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport',
  { config: one(1, ProxyProtocolConfig), transport_socket: one(2, TransportSocket) },
)
export type ProxyProtocolUpstreamTransport = Decoded<typeof ProxyProtocolUpstreamTransport>

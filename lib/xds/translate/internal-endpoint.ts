// Endpoints that Envoy reaches through an internal listener of its own. istiod's are tunnels (HBONE), which need no listener here: what is dialled is in the
// address, and who is asked to connect there in the endpoint's metadata.
import type { EndpointTunnel } from '../../state/cluster.ts'
import type { Metadata } from '../proto/core.ts'
import type { Struct } from '../proto/schema.ts'
import type { Findings } from './findings.ts'
import { istioMetadata } from './istio-metadata.ts'

export interface InternalEndpoint {
  readonly address: string
  readonly port: number
  /** null: dialled as it is. */
  readonly tunnel: EndpointTunnel | null
}

/** Further lines of CONNECTs for another network: to its gateway, and within that tunnel to the workload. */
export interface GatewayFields {
  /** `x-istio-source: waypoint` with CRLF. */
  readonly outer: string
  /** `x-forwarded-network: NETWORK` with CRLF. */
  readonly inner: string
}

export const NO_GATEWAY_FIELDS: GatewayFields = { outer: '', inner: '' }

/** Listeners that istiod makes of nothing but plumbing. */
const CONNECT_ORIGINATE = 'connect_originate'
const INNER_CONNECT_ORIGINATE = 'inner_connect_originate'
/** Of a gateway between networks: what it is given is a tunnel already, between those at its two ends. */
const FORWARD_INNER_CONNECT = 'forward_inner_connect'
const HBONE_PORT = 15_008
const ORIGINAL_DST = 'envoy.filters.listener.original_dst'

/**
 * `fields`: lines of the CONNECT that are the same for all, baggage. null: no tunnel, which is told as a fault. An empty address: whatever the client
 * dialled (istiod cluster `encap`).
 */
export function internalEndpoint(
  listener: string,
  endpointId: string,
  metadata: Metadata | null,
  fields: string,
  gateway: GatewayFields,
  findings: Findings,
): InternalEndpoint | null {
  const at = findings.at('envoy_internal_address')
  const isDouble = listener === INNER_CONNECT_ORIGINATE
  const isForwarded = listener === FORWARD_INNER_CONNECT
  if (listener !== CONNECT_ORIGINATE && !isDouble && !isForwarded) {
    at.at('server_listener_name').fault(`the internal listener ${listener} is not understood; ${CONNECT_ORIGINATE} is`)
    return null
  }
  const known: Struct = metadata?.filter_metadata.get(ORIGINAL_DST) ?? {}
  const local = textOf(known['local'])
  const target = endpointId === '' ? local : endpointId
  const waypoint = textOf(known['waypoint'])
  const dialled = target === '' ? { address: '', port: 0 } : addressOf(target)
  const proxy = waypoint === '' ? { address: dialled?.address ?? '', port: HBONE_PORT } : addressOf(waypoint)
  if (dialled === null) at.at('endpoint_id').fault(`"${target}" is no address with a port`)
  if (proxy === null) findings.at('metadata').fault(`the waypoint "${waypoint}" is no address with a port`)
  if (dialled === null || proxy === null) return null
  if (isForwarded) return { ...proxy, tunnel: null }
  const tunnel = { ...proxy, identities: [] }
  // In front of a service's waypoint the endpoint is one of the waypoint's, and what is asked for the address of the service.
  if (!isDouble) return { ...dialled, tunnel: { ...tunnel, authority: local === target ? '' : local, fields, innerFields: null } }
  const authority = targetOf(metadata)
  if (authority === '') {
    findings
      .at('metadata')
      .fault('double_hbone.hbone_target_address of istio is missing: the gateway has to be told of the service')
    return null
  }
  return { ...dialled, tunnel: { ...tunnel, authority, fields: fields + gateway.outer, innerFields: fields + gateway.inner } }
}

/** `reviews.shop.svc.cluster.local:80` */
function targetOf(metadata: Metadata | null): string {
  const double = istioMetadata(metadata)['double_hbone']
  return typeof double === 'object' && double !== null && !Array.isArray(double)
    ? textOf((double as Struct)['hbone_target_address'])
    : ''
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** `10.0.0.1:80`, `[::1]:80`. */
function addressOf(text: string): { address: string; port: number } | null {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text)
  if (match === null) return null
  const [, v6, v4, port] = match
  return { address: v6 ?? v4 ?? '', port: Number(port) }
}

// Endpoints that Envoy reaches through an internal listener of its own. istiod's are tunnels (HBONE), which need no listener here: what is dialled is in the
// address, and who is asked to connect there in the endpoint's metadata.
import type { EndpointTunnel } from '../../state/cluster.ts'
import type { Metadata } from '../proto/core.ts'
import type { Struct } from '../proto/schema.ts'
import type { Findings } from './findings.ts'

export interface InternalEndpoint {
  readonly address: string
  readonly port: number
  readonly tunnel: EndpointTunnel
}

/** Listeners that istiod makes of nothing but plumbing. */
const CONNECT_ORIGINATE = 'connect_originate'
const INNER_CONNECT_ORIGINATE = 'inner_connect_originate'
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
  findings: Findings,
): InternalEndpoint | null {
  const at = findings.at('envoy_internal_address')
  if (listener === INNER_CONNECT_ORIGINATE) {
    at.fault('a tunnel inside of a tunnel, to a workload of another network, is not carried out for single endpoints yet')
    return null
  }
  if (listener !== CONNECT_ORIGINATE) {
    at.at('server_listener_name').fault(`the internal listener ${listener} is not understood; ${CONNECT_ORIGINATE} is`)
    return null
  }
  const known: Struct = metadata?.filter_metadata.get(ORIGINAL_DST) ?? {}
  const target = endpointId === '' ? textOf(known['local']) : endpointId
  const waypoint = textOf(known['waypoint'])
  const dialled = target === '' ? { address: '', port: 0 } : addressOf(target)
  const proxy = waypoint === '' ? { address: dialled?.address ?? '', port: HBONE_PORT } : addressOf(waypoint)
  if (dialled === null) at.at('endpoint_id').fault(`"${target}" is no address with a port`)
  if (proxy === null) findings.at('metadata').fault(`the waypoint "${waypoint}" is no address with a port`)
  if (dialled === null || proxy === null) return null
  return { ...dialled, tunnel: { ...proxy, identities: [], authority: '', fields } }
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

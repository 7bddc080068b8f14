// One endpoint as it arrives (LbEndpoint).
import { isIP } from 'node:net'
import { isSocketPath } from '../../base/socket-path.ts'
import type { EndpointTunnel, EndpointWorkload } from '../../state/cluster.ts'
import { LbEndpoint } from '../proto/endpoint.ts'
import type { Struct } from '../proto/schema.ts'
import type { Findings } from './findings.ts'
import { type GatewayFields, internalEndpoint } from './internal-endpoint.ts'
import { SharedValues } from './shared-values.ts'
import { workloadOf } from './workload-metadata.ts'

/** What an LbEndpoint says, whatever cluster it is for. */
export interface AssignedEndpoint {
  /** IP address, or a host name of a cluster that looks names up. */
  readonly address: string
  readonly otherAddresses: readonly string[]
  readonly port: number
  readonly weight: number
  readonly healthy: boolean
  /** As it came: `UNKNOWN`, `HEALTHY`, `DRAINING` … */
  readonly status: string
  readonly workload: EndpointWorkload
  readonly tunnel: EndpointTunnel | null
  /** `envoy.transport_socket_match`. */
  readonly socketMatch: Struct
  /** Of its active health check; null: no check, or one of the cluster's own. */
  readonly check: { readonly port: number; readonly host: string; readonly off: boolean } | null
}

export interface EndpointTerms {
  /** Lines of the CONNECT of each tunnel (baggage). */
  readonly tunnelFields: string
  /** Further ones towards other networks. */
  readonly gateway: GatewayFields
  /** Addresses may be names that are looked up. */
  readonly mayBeNames: boolean
}

/** null with a fault. `bytes`: an LbEndpoint. */
export function assignedEndpoint(bytes: Uint8Array, terms: EndpointTerms, at: Findings): AssignedEndpoint | null {
  const decoded = at.decode(bytes, LbEndpoint)
  return decoded === null ? null : endpointOf(decoded, terms, at)
}

/** What the client dialled, at this port in place of its own. */
export function anyAddressEndpoint(port: number): AssignedEndpoint {
  return {
    ...{ address: '', otherAddresses: NONE, port, weight: 1, healthy: true, status: 'UNKNOWN' },
    ...{ workload: workloadOf(null), tunnel: null, socketMatch: NO_MATCH, check: null },
  }
}

function endpointOf(of: LbEndpoint, terms: EndpointTerms, at: Findings): AssignedEndpoint | null {
  const place = placeOf(of, terms, at)
  if (place === null) return null
  const check = of.endpoint?.health_check_config ?? null
  if (check !== null) checkPort(check.port_value, at.at('endpoint').at('health_check_config').at('port_value'))
  if (check !== null && check.address !== null)
    at.at('endpoint').at('health_check_config').at('address').note('the endpoint is asked itself')
  if (of.load_balancing_weight === 0) at.at('load_balancing_weight').fault('a weight is at least 1')
  const status = of.health_status
  if (status.startsWith('#')) at.at('health_status').fault(`${status} is not understood`)
  // Each field by its name: an object that begins with another's has a shape of its own, which takes more than the endpoint.
  return {
    address: place.address,
    otherAddresses: otherAddressesOf(of, place.port, at),
    port: place.port,
    tunnel: place.tunnel,
    weight: of.load_balancing_weight ?? 1,
    // DEGRADED ones are used like others.
    healthy: status === 'UNKNOWN' || status === 'HEALTHY' || status === 'DEGRADED',
    status,
    workload: workloadOf(of.metadata),
    socketMatch: matches.of(of.metadata?.filter_metadata.get('envoy.transport_socket_match') ?? NO_MATCH),
    check: check === null ? null : { port: check.port_value, host: check.hostname, off: check.disable_active_health_check },
  }
}

const NONE: readonly string[] = []

function otherAddressesOf(of: LbEndpoint, port: number, at: Findings): readonly string[] {
  const given = of.endpoint?.additional_addresses ?? []
  if (given.length === 0) return NONE
  return given.flatMap(({ address }, i) => {
    const socket = address?.socket_address ?? null
    if (socket !== null && socket.port_value === port && socket.address !== '') return [socket.address]
    at.at('endpoint').at('additional_addresses', i).note('only further addresses with the same port are dialled')
    return []
  })
}

const NO_MATCH: Struct = {}

/** The same few are said of thousands of endpoints. */
const matches = new SharedValues<Struct>()

function placeOf(
  of: LbEndpoint,
  { tunnelFields, gateway, mayBeNames }: EndpointTerms,
  at: Findings,
): Pick<AssignedEndpoint, 'address' | 'port' | 'tunnel'> | null {
  const within = at.at('endpoint').at('address')
  const address = of.endpoint?.address ?? null
  if (address === null) {
    within.fault(of.endpoint_name === null ? 'an endpoint needs an address' : `the endpoint ${of.endpoint_name} has none`)
    return null
  }
  const { socket_address: socket, pipe, envoy_internal_address: internal } = address
  if (socket !== null) {
    if (socket.protocol !== 'TCP') within.at('protocol').fault(`${socket.protocol} is not carried out; TCP is`)
    if (socket.named_port !== null) within.at('named_port').fault(`a number is expected, not ${socket.named_port}`)
    if (socket.address === '') within.at('address').fault('an address is missing')
    else if (!mayBeNames && isIP(socket.address) === 0)
      within.at('address').fault(`an IP address is expected, not ${socket.address}`)
    checkPort(socket.port_value ?? 0, within.at('port_value'))
    return { address: socket.address, port: socket.port_value ?? 0, tunnel: null }
  }
  if (internal !== null)
    return internalEndpoint(internal.server_listener_name ?? '', internal.endpoint_id, of.metadata, tunnelFields, gateway, within)
  if (pipe !== null && isSocketPath(pipe.path)) return { address: pipe.path, port: 0, tunnel: null }
  within.fault(pipe === null ? 'its kind is not understood' : `the path of a socket is expected, not "${pipe.path}"`)
  return null
}

function checkPort(port: number, at: Findings): void {
  if (port > 65_535) at.fault(`${port} is no port`)
}

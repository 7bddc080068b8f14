// Endpoints of one cluster as they arrive (ClusterLoadAssignment). An LbEndpoint whose bytes are those of before is the same object as before and is not
// decoded again, so that a change of one among thousands costs little more than finding it.
import { isIP } from 'node:net'
import { isSocketPath } from '../../base/socket-path.ts'
import type { EndpointTunnel, EndpointWorkload, Locality } from '../../state/cluster.ts'
import { Locality as LocalityMessage } from '../proto/core.ts'
import { DropOverload, Endpoint as EndpointMessage, LbEndpoint, LedsClusterLocalityConfig } from '../proto/endpoint.ts'
import { samePlaces } from '../proto/parts.ts'
import { bool, bytes, duration, list, map, message, one, oneof, type Struct, text, uint32, uint32Value } from '../proto/schema.ts'
import type { Findings } from './findings.ts'
import { type GatewayFields, internalEndpoint, NO_GATEWAY_FIELDS } from './internal-endpoint.ts'
import { SharedValues } from './shared-values.ts'
import { localityOf, workloadOf } from './workload-metadata.ts'

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

/** Endpoints of one locality and priority. */
export interface EndpointGroup {
  readonly locality: Locality
  readonly priority: number
  /** 0: gets nothing, where localities are weighed. */
  readonly weight: number
  readonly endpoints: readonly AssignedEndpoint[]
}

export interface LoadAssignment {
  /** cluster_name: of the cluster, or its `service_name`. */
  readonly name: string
  readonly groups: readonly EndpointGroup[]
  /** What it was made of, which whoever holds the resource has anyway. */
  readonly from: Uint8Array
  /** Begin and length in `from` of the LbEndpoint of each endpoint, in their order: what the next one is compared with. */
  readonly places: Int32Array
  /** `fields` that its tunnels have. */
  readonly tunnelFields: string
}

/** The same messages as in proto/endpoint.ts, with endpoints left as bytes. */
const RawLocality = message('envoy.config.endpoint.v3.LocalityLbEndpoints', {
  locality: one(1, LocalityMessage),
  lb_endpoints: list(bytes(2)),
  load_balancing_weight: uint32Value(3),
  priority: uint32(5),
  ...oneof('lb_config', {
    load_balancer_endpoints: one(
      7,
      message('envoy.config.endpoint.v3.LocalityLbEndpoints.LbEndpointList', { lb_endpoints: list(bytes(1)) }),
    ),
    leds_cluster_locality_config: one(8, LedsClusterLocalityConfig),
  }),
})
const RawPolicy = message('envoy.config.endpoint.v3.ClusterLoadAssignment.Policy', {
  drop_overloads: list(one(2, DropOverload)),
  overprovisioning_factor: uint32Value(3),
  endpoint_stale_after: duration(4),
  weighted_priority_health: bool(6),
})
const RawAssignment = message('envoy.config.endpoint.v3.ClusterLoadAssignment', {
  cluster_name: text(1),
  endpoints: list(one(2, RawLocality)),
  policy: one(4, RawPolicy),
  named_endpoints: map(one(5, EndpointMessage)),
})

/** Priorities above are a mistake: each of them has a table of its own. */
const MAX_PRIORITY = 128
/** Envoy's default, and what is carried out. */
const OVERPROVISIONING = 140

/**
 * `previous`: what was made of the resource of the same name before; null: nothing. `tunnelFields`: lines of the CONNECT of each tunnel (baggage); `gateway`: further ones towards other networks, the same in all calls.
 * `mayBeNames`: addresses may be names that are looked up. Faults refuse the resource; the result is of no use then. null: the bytes are no such message.
 */
export function translateLoadAssignment(
  from: Uint8Array,
  previous: LoadAssignment | null,
  tunnelFields: string,
  findings: Findings,
  gateway: GatewayFields = NO_GATEWAY_FIELDS,
  mayBeNames = false,
): LoadAssignment | null {
  const decoded = findings.decode(from, RawAssignment)
  if (decoded === null) return null
  if (decoded.policy !== null) notePolicy(decoded.policy, findings.at('policy'))
  if (decoded.named_endpoints.size > 0) findings.at('named_endpoints').fault('endpoints by name are not understood')
  const raws = decoded.endpoints.map((group) => group.load_balancer_endpoints?.lb_endpoints ?? group.lb_endpoints)
  const places = raws.flatMap((all) => all.flatMap((b) => placeIn(from, b)))
  const known = previous !== null && previous.tunnelFields === tunnelFields ? new KnownEndpoints(previous, from, places) : null
  const reader = new EndpointReader(known, { fields: tunnelFields, gateway, mayBeNames })
  const groups = decoded.endpoints.map((group, i): EndpointGroup => {
    const at = findings.at('endpoints', i)
    const { priority, leds_cluster_locality_config: leds } = group
    if (leds !== null)
      at.at('leds_cluster_locality_config').fault(`the collection ${leds.leds_collection_name} is not fetched (LEDS)`)
    if (priority > MAX_PRIORITY) at.at('priority').fault(`${priority} is more than ${MAX_PRIORITY}`)
    const raw = raws[i] as readonly Uint8Array[]
    return {
      locality: localityOf(group.locality),
      priority,
      weight: group.load_balancing_weight ?? 0,
      endpoints: raw.flatMap((b, j) => reader.read(b, at, j) ?? []),
    }
  })
  checkPriorities(groups, findings)
  return { name: decoded.cluster_name, groups, from, places: Int32Array.from(places), tunnelFields }
}

/** Envoy: they begin at 0 and none is left out. */
function checkPriorities(groups: readonly EndpointGroup[], findings: Findings): void {
  const used = new Set(groups.map((g) => g.priority))
  for (let priority = 0; priority < used.size; priority++)
    if (!used.has(priority)) {
      findings.at('endpoints').fault(`priority ${priority} is left out, but there is one behind it`)
      return
    }
}

function notePolicy(policy: { readonly [K in keyof typeof RawPolicy.empty]: (typeof RawPolicy.empty)[K] }, at: Findings): void {
  for (const [i, { category }] of policy.drop_overloads.entries())
    at.at('drop_overloads', i).note(`requests are not dropped for ${category}`)
  const factor = policy.overprovisioning_factor ?? OVERPROVISIONING
  if (factor !== OVERPROVISIONING) at.at('overprovisioning_factor').note(`${OVERPROVISIONING} is used, not ${factor}`)
  if (policy.endpoint_stale_after !== null) at.at('endpoint_stale_after').note('endpoints do not grow stale')
  if (policy.weighted_priority_health)
    at.at('weighted_priority_health').note('endpoints count alike for the health of a priority')
}

/** Begin and length in `from`; what was put together of pieces stands nowhere in it, and has the length 0. */
function placeIn(from: Uint8Array, bytes: Uint8Array): [begin: number, length: number] {
  return bytes.buffer === from.buffer ? [bytes.byteOffset - from.byteOffset, bytes.length] : [0, 0]
}

function textOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

/** What the assignment before was made of: mostly the same in the same order. */
class KnownEndpoints {
  readonly #before: LoadAssignment
  readonly #endpoints: readonly AssignedEndpoint[]
  /** By position now: its position before, or -1. */
  readonly #same: Int32Array
  /** By their bytes: for those that were moved. */
  #byBytes: Map<string, AssignedEndpoint> | null

  constructor(before: LoadAssignment, from: Uint8Array, places: readonly number[]) {
    this.#before = before
    this.#endpoints = before.groups.length === 1 ? (before.groups[0]?.endpoints ?? []) : before.groups.flatMap((g) => g.endpoints)
    this.#same = samePlaces(before, { from, places })
    this.#byBytes = null
  }

  /** `index` of all endpoints. */
  find(bytes: Uint8Array, index: number): AssignedEndpoint | null {
    if (bytes.length === 0) return null
    const at = this.#same[index] ?? -1
    const inPlace = at >= 0 && this.#before.places[2 * at + 1] === bytes.length ? this.#endpoints[at] : undefined
    return inPlace ?? this.#moved().get(textOfBytes(bytes)) ?? null
  }

  /** Those that have been found in their places are not among them. */
  #moved(): Map<string, AssignedEndpoint> {
    if (this.#byBytes !== null) return this.#byBytes
    const { from, places } = this.#before
    const found = new Set(this.#same)
    const byBytes = new Map<string, AssignedEndpoint>()
    for (const [at, endpoint] of this.#endpoints.entries()) {
      const [begin, length] = [places[2 * at] ?? 0, places[2 * at + 1] ?? 0]
      if (length > 0 && !found.has(at)) byBytes.set(textOfBytes(from.subarray(begin, begin + length)), endpoint)
    }
    this.#byBytes = byBytes
    return byBytes
  }
}

interface EndpointTerms {
  readonly fields: string
  readonly gateway: GatewayFields
  readonly mayBeNames: boolean
}

class EndpointReader {
  readonly #known: KnownEndpoints | null
  readonly #terms: EndpointTerms
  #count: number

  constructor(known: KnownEndpoints | null, terms: EndpointTerms) {
    this.#known = known
    this.#terms = terms
    this.#count = 0
  }

  read(bytes: Uint8Array, at: Findings, index: number): AssignedEndpoint | null {
    return this.#known?.find(bytes, this.#count++) ?? this.#make(bytes, at.at('lb_endpoints', index))
  }

  #make(bytes: Uint8Array, at: Findings): AssignedEndpoint | null {
    const decoded = at.decode(bytes, LbEndpoint)
    return decoded === null ? null : endpointOf(decoded, this.#terms, at)
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
  { fields, gateway, mayBeNames }: EndpointTerms,
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
    return internalEndpoint(internal.server_listener_name ?? '', internal.endpoint_id, of.metadata, fields, gateway, within)
  if (pipe !== null && isSocketPath(pipe.path)) return { address: pipe.path, port: 0, tunnel: null }
  within.fault(pipe === null ? 'its kind is not understood' : `the path of a socket is expected, not "${pipe.path}"`)
  return null
}

function checkPort(port: number, at: Findings): void {
  if (port > 65_535) at.fault(`${port} is no port`)
}

/** Of a name that has no endpoints. */
export function emptyAssignment(name: string): LoadAssignment {
  return { name, groups: [], from: new Uint8Array(0), places: new Int32Array(0), tunnelFields: '' }
}

/** Of a cluster whose endpoint is what the client dialled: its address, and this port in place of its own. */
export function anyAddressAt(port: number): LoadAssignment {
  const endpoint: AssignedEndpoint = {
    ...{ address: '', otherAddresses: [], port, weight: 1, healthy: true, status: 'UNKNOWN' },
    ...{ workload: workloadOf(null), tunnel: null, socketMatch: {}, check: null },
  }
  const group: EndpointGroup = { locality: localityOf(null), priority: 0, weight: 1, endpoints: [endpoint] }
  return { ...emptyAssignment(''), groups: [group] }
}

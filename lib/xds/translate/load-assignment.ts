// Endpoints of one cluster as they arrive (ClusterLoadAssignment). They are kept as the bytes that came: what was made of them is there until the cluster has been
// put together, and made again where that is asked for. An LbEndpoint whose bytes are those of before is not decoded again, so that a change of one among
// thousands costs little more than finding it.
import type { Locality } from '../../state/cluster.ts'
import { Locality as LocalityMessage } from '../proto/core.ts'
import { DropOverload, Endpoint as EndpointMessage, LedsClusterLocalityConfig } from '../proto/endpoint.ts'
import { type Places, partAt, samePlaces } from '../proto/parts.ts'
import { bool, bytes, duration, list, map, message, one, oneof, text, uint32, uint32Value } from '../proto/schema.ts'
import { type AssignedEndpoint, anyAddressEndpoint, assignedEndpoint, type EndpointTerms } from './assigned-endpoint.ts'
import { Findings } from './findings.ts'
import { NO_GATEWAY_FIELDS } from './internal-endpoint.ts'
import { localityOf } from './workload-metadata.ts'

/** Endpoints of one locality and priority. */
export interface EndpointGroup {
  readonly locality: Locality
  readonly priority: number
  /** 0: gets nothing, where localities are weighed. */
  readonly weight: number
  /** How many they are: those of the assignment behind the ones of the groups before. */
  readonly count: number
}

export class LoadAssignment implements Places {
  /** cluster_name: of the cluster, or its `service_name`. */
  readonly name: string
  readonly groups: readonly EndpointGroup[]
  /** What it was made of, which whoever holds the resource has anyway. */
  readonly from: Uint8Array
  /** Begin and length in `from` of the LbEndpoint of each endpoint, in their order; a length of 0: it stands nowhere there. */
  readonly places: Int32Array
  readonly terms: EndpointTerms
  /** By position, as far as they were read and are not let go of. */
  private made: readonly (AssignedEndpoint | undefined)[]

  constructor(
    { name, groups, from, places, terms }: Pick<LoadAssignment, 'name' | 'groups' | 'from' | 'places' | 'terms'>,
    made: readonly (AssignedEndpoint | undefined)[],
  ) {
    this.name = name
    this.groups = groups
    this.from = from
    this.places = places
    this.terms = terms
    this.made = made
  }

  /** Only of one without faults. */
  endpointAt(index: number): AssignedEndpoint {
    return this.made[index] ?? (assignedEndpoint(partAt(this, index), this.terms, new Findings()) as AssignedEndpoint)
  }

  /** Nobody is likely to ask for them again. */
  letGo(): void {
    this.made = this.made.some((one, i) => one !== undefined && !isPlaced(this, i))
      ? this.made.map((one, i) => (isPlaced(this, i) ? undefined : one))
      : NONE
  }
}

const NONE: readonly never[] = []

function isPlaced({ places }: Places, index: number): boolean {
  return (places[2 * index + 1] ?? 0) > 0
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
 * `previous`: what was made of the resource of the same name before; null: nothing. `terms`: the same in all calls, but for `tunnelFields`. Faults refuse the
 * resource; the result is of no use then. null: the bytes are no such message.
 */
export function translateLoadAssignment(
  from: Uint8Array,
  previous: LoadAssignment | null,
  terms: EndpointTerms,
  findings: Findings,
): LoadAssignment | null {
  const decoded = findings.decode(from, RawAssignment)
  if (decoded === null) return null
  if (decoded.policy !== null) notePolicy(decoded.policy, findings.at('policy'))
  if (decoded.named_endpoints.size > 0) findings.at('named_endpoints').fault('endpoints by name are not understood')
  const raws = decoded.endpoints.map((group) => group.load_balancer_endpoints?.lb_endpoints ?? group.lb_endpoints)
  const places = Int32Array.from(raws.flatMap((all) => all.flatMap((b) => placeIn(from, b))))
  const same = previous === null ? null : sameEndpoints(previous, { from, places, terms })
  const made: (AssignedEndpoint | undefined)[] = []
  const groups = decoded.endpoints.map((group, i): EndpointGroup => {
    const at = findings.at('endpoints', i)
    const { priority, leds_cluster_locality_config: leds } = group
    if (leds !== null)
      at.at('leds_cluster_locality_config').fault(`the collection ${leds.leds_collection_name} is not fetched (LEDS)`)
    if (priority > MAX_PRIORITY) at.at('priority').fault(`${priority} is more than ${MAX_PRIORITY}`)
    const raw = raws[i] as readonly Uint8Array[]
    for (const [j, one] of raw.entries()) {
      const isKnown = (same?.[made.length] ?? -1) >= 0
      made.push(isKnown ? undefined : (assignedEndpoint(one, terms, at.at('lb_endpoints', j)) ?? undefined))
    }
    return {
      locality: localityOf(group.locality),
      priority,
      weight: group.load_balancing_weight ?? 0,
      count: raw.length,
    }
  })
  checkPriorities(groups, findings)
  return new LoadAssignment({ name: decoded.cluster_name, groups, from, places, terms }, made)
}

/** For each endpoint of `after` the position of one of `before` that is told in the same bytes and means the same, or -1: mostly all are there in the same order. */
export function sameEndpoints(before: LoadAssignment, after: Pick<LoadAssignment, 'from' | 'places' | 'terms'>): Int32Array {
  if (before.terms.tunnelFields !== after.terms.tunnelFields) return new Int32Array(after.places.length / 2).fill(-1)
  const same = samePlaces(before, after)
  let moved: ReadonlyMap<string, number> | null = null
  for (let i = 0; i < same.length; i++) {
    if (!isPlaced(after, i)) same[i] = -1
    else if ((same[i] as number) < 0) {
      moved ??= endpointsBut(before, same)
      same[i] = moved.size === 0 ? -1 : (moved.get(textOfBytes(partAt(after, i))) ?? -1)
    }
  }
  return same
}

/** By their bytes, all but those at these positions. */
function endpointsBut(before: LoadAssignment, positions: Int32Array): ReadonlyMap<string, number> {
  const found = new Set(positions)
  const byBytes = new Map<string, number>()
  for (let at = 0; at < before.places.length / 2; at++)
    if (isPlaced(before, at) && !found.has(at)) byBytes.set(textOfBytes(partAt(before, at)), at)
  return byBytes
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

/** Of a name that has no endpoints. */
export function emptyAssignment(name: string): LoadAssignment {
  return new LoadAssignment({ name, groups: NONE, from: NOTHING, places: NOWHERE, terms: NO_TERMS }, NONE)
}

/** Of a cluster whose endpoint is what the client dialled: its address, and this port in place of its own. */
export function anyAddressAt(port: number): LoadAssignment {
  const groups = [{ locality: localityOf(null), priority: 0, weight: 1, count: 1 }]
  return new LoadAssignment({ name: '', groups, from: NOTHING, places: NOWHERE, terms: NO_TERMS }, [anyAddressEndpoint(port)])
}

const NOTHING = new Uint8Array(0)
const NOWHERE = new Int32Array(0)
const NO_TERMS: EndpointTerms = { tunnelFields: '', gateway: NO_GATEWAY_FIELDS, mayBeNames: false }

// A cluster and its endpoints put together, sharing what has not changed with the one before: an endpoint that is the same stays the same object, and a
// cluster of which nothing has changed stays itself. So whoever tells others the difference compares references.
import type { Cluster, Endpoint, Locality, LocalityWeight } from '../../state/cluster.ts'
import type { TranslatedCluster } from './cluster.ts'
import { healthCheckOf } from './health-check.ts'
import type { AssignedEndpoint, LoadAssignment } from './load-assignment.ts'
import { socketOf } from './upstream-tls.ts'

export interface AssembledCluster {
  readonly cluster: Cluster
  readonly from: TranslatedCluster
  /** null: there were no endpoints yet. */
  readonly assignment: LoadAssignment | null
}

interface PlacedEndpoint {
  readonly locality: Locality
  readonly priority: number
  readonly endpoint: Endpoint
}

/** `assignment`: of `from.edsName`; null: none has come, or it needs none. `previous`: what was made for the same cluster name; null: nothing. */
export function assembleCluster(
  from: TranslatedCluster,
  assignment: LoadAssignment | null,
  previous: AssembledCluster | null,
): AssembledCluster {
  const given = from.inline ?? assignment
  if (previous !== null && previous.from === from && previous.assignment === given) return previous
  const known = previous !== null && makesTheSame(previous.from, from) ? new KnownEndpoints(previous) : null
  const endpoints: Endpoint[] = []
  for (const [i, { locality, priority, endpoints: assigned }] of (given?.groups ?? []).entries()) {
    known?.begin(i, locality, priority)
    for (const [k, one] of assigned.entries()) endpoints.push(known?.find(one, k) ?? endpointOf(from, one, locality, priority))
  }
  const cluster = withEndpoints(from, given, endpoints.slice())
  return { cluster, from, assignment: given }
}

/** Whether endpoints of both are alike: all but this of a cluster is not in its endpoints. */
function makesTheSame(a: TranslatedCluster, b: TranslatedCluster): boolean {
  if (a === b) return true
  const seen = ({ sockets, healthCheck, keepsSessions, cluster }: TranslatedCluster): string =>
    JSON.stringify([sockets.matches, sockets.otherwise, sockets.reason, healthCheck, [...keepsSessions], cluster.origin])
  return seen(a) === seen(b)
}

/** So many that are not in their places are looked for without a map of all. */
const FEW = 8

/** What the endpoints of an assignment became. They stand in its order, and mostly in that of the next one. */
class KnownEndpoints {
  readonly #before: AssembledCluster
  readonly #endpoints: readonly Endpoint[]
  /** Made for those that were moved. */
  #placed: ReadonlyMap<AssignedEndpoint, readonly PlacedEndpoint[]> | null
  /** Those of the group of before that is likely the same, and where it begins; empty: there is none. */
  #group: readonly AssignedEndpoint[]
  #offset: number
  #locality: Locality
  #priority: number
  #misses: number

  constructor(before: AssembledCluster) {
    this.#before = before
    this.#endpoints = endpointsIn(before)
    this.#placed = null
    this.#group = []
    this.#offset = 0
    this.#locality = { region: '', zone: '', subzone: '' }
    this.#priority = 0
    this.#misses = 0
  }

  /** What is asked for next is of this group. */
  begin(index: number, locality: Locality, priority: number): void {
    this.#locality = locality
    this.#priority = priority
    const groups = this.#before.assignment?.groups ?? []
    const before = groups[index]
    const same = before !== undefined && before.priority === priority && sameLocality(before.locality, locality)
    this.#group = same ? before.endpoints : []
    this.#offset = same ? groups.slice(0, index).reduce((sum, g) => sum + g.endpoints.length, 0) : 0
  }

  /** `place`: in its group. */
  find(one: AssignedEndpoint, place: number): Endpoint | undefined {
    if (this.#group[place] === one) return this.#endpoints[this.#offset + place]
    if (this.#group.length > 0 && this.#misses++ < FEW) {
      const at = this.#group.indexOf(one)
      return at < 0 ? undefined : this.#endpoints[this.#offset + at]
    }
    this.#placed ??= placedIn(this.#before)
    return find(this.#placed.get(one), this.#locality, this.#priority)?.endpoint
  }
}

function endpointsIn({ cluster }: AssembledCluster): readonly Endpoint[] {
  return cluster.type === 'DNS' ? cluster.dnsNames.map((name) => name.endpoint) : cluster.endpoints
}

/** By what they were made of. */
function placedIn(before: AssembledCluster): ReadonlyMap<AssignedEndpoint, readonly PlacedEndpoint[]> {
  const { assignment } = before
  const endpoints = endpointsIn(before)
  const placed = new Map<AssignedEndpoint, PlacedEndpoint[]>()
  let at = 0
  for (const { locality, priority, endpoints: assigned } of assignment?.groups ?? [])
    for (const one of assigned) {
      const endpoint = endpoints[at++]
      if (endpoint === undefined) continue
      const known = placed.get(one)
      if (known === undefined) placed.set(one, [{ locality, priority, endpoint }])
      else known.push({ locality, priority, endpoint })
    }
  return placed
}

function find(placed: readonly PlacedEndpoint[] | undefined, locality: Locality, priority: number): PlacedEndpoint | undefined {
  return placed?.find((p) => p.priority === priority && sameLocality(p.locality, locality))
}

function sameLocality(a: Locality, b: Locality): boolean {
  return a === b || (a.region === b.region && a.zone === b.zone && a.subzone === b.subzone)
}

function endpointOf(from: TranslatedCluster, of: AssignedEndpoint, locality: Locality, priority: number): Endpoint {
  const { tls, reason } = socketOf(from.sockets, of.socketMatch)
  return {
    address: of.address,
    otherAddresses: of.otherAddresses,
    port: of.port,
    weight: of.weight,
    locality,
    priority,
    healthy: of.healthy,
    keepsSessions: from.keepsSessions.has(of.status),
    workload: of.workload,
    healthCheck: healthCheckOf(from.healthCheck, of.check),
    tls,
    tlsReason: reason,
    tunnel: of.tunnel,
    origin: from.cluster.origin,
  }
}

function withEndpoints(from: TranslatedCluster, assignment: LoadAssignment | null, endpoints: readonly Endpoint[]): Cluster {
  const { cluster, weighsLocalities } = from
  const localityWeights = weighsLocalities ? weightsOf(assignment) : null
  if (cluster.type !== 'DNS') return { ...cluster, endpoints, localityWeights }
  const dnsNames = endpoints.map((endpoint) => ({ host: endpoint.address, port: endpoint.port, endpoint }))
  return { ...cluster, dnsNames, localityWeights }
}

/** One entry for each locality and priority that has endpoints. */
function weightsOf(assignment: LoadAssignment | null): LocalityWeight[] {
  return (assignment?.groups ?? [])
    .filter((g) => g.endpoints.length > 0)
    .map(({ locality, priority, weight }) => ({ locality, priority, weight }))
}

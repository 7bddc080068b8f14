// A cluster and its endpoints put together, sharing what has not changed with the one before: an endpoint that is the same stays the same object, and a
// cluster of which nothing has changed stays itself. So whoever tells others the difference compares references.
import type { Cluster, Endpoint, Locality, LocalityWeight } from '../../state/cluster.ts'
import type { AssignedEndpoint } from './assigned-endpoint.ts'
import type { TranslatedCluster } from './cluster.ts'
import { healthCheckOf } from './health-check.ts'
import { type LoadAssignment, sameEndpoints } from './load-assignment.ts'
import { socketOf } from './upstream-tls.ts'

export interface AssembledCluster {
  readonly cluster: Cluster
  readonly from: TranslatedCluster
  /** null: there were no endpoints yet. */
  readonly assignment: LoadAssignment | null
}

/** `assignment`: of `from.edsName`; null: none has come, or it needs none. `previous`: what was made for the same cluster name; null: nothing. */
export function assembleCluster(
  from: TranslatedCluster,
  assignment: LoadAssignment | null,
  previous: AssembledCluster | null,
): AssembledCluster {
  const given = from.inline ?? assignment
  if (previous !== null && previous.from === from && previous.assignment === given) return previous
  const known = previous !== null && makesTheSame(previous.from, from) ? new KnownEndpoints(previous, given) : null
  const endpoints: Endpoint[] = []
  if (given !== null)
    for (const { locality, priority, count } of given.groups)
      for (const end = endpoints.length + count; endpoints.length < end; ) {
        const at = endpoints.length
        endpoints.push(known?.at(at, locality, priority) ?? endpointOf(from, given.endpointAt(at), locality, priority))
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

/** What the endpoints of an assignment became. They stand in its order. */
class KnownEndpoints {
  readonly #endpoints: readonly Endpoint[]
  /** By position now: their position before, or -1. Null: they are where they were. */
  readonly #same: Int32Array | null

  constructor(before: AssembledCluster, assignment: LoadAssignment | null) {
    const { assignment: was } = before
    this.#endpoints = was === null || assignment === null ? NONE : endpointsIn(before)
    this.#same = was === null || assignment === null || was === assignment ? null : sameEndpoints(was, assignment)
  }

  at(place: number, locality: Locality, priority: number): Endpoint | null {
    const known = this.#endpoints[this.#same === null ? place : (this.#same[place] ?? -1)]
    return known !== undefined && known.priority === priority && sameLocality(known.locality, locality) ? known : null
  }
}

const NONE: readonly never[] = []

function endpointsIn({ cluster }: AssembledCluster): readonly Endpoint[] {
  return cluster.type === 'DNS' ? cluster.dnsNames.map((name) => name.endpoint) : cluster.endpoints
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
    .filter((g) => g.count > 0)
    .map(({ locality, priority, weight }) => ({ locality, priority, weight }))
}

// Which endpoint of a service a tunnel goes to (istio.workload LoadBalancing): those that have the port and may be used, of
// them those that share most with the client, of them one by weight.
import type { LoadBalancing, LoadBalancingScope } from '../../state/mesh-service.ts'
import type { Workload } from '../../state/workload.ts'
import type { IndexedService, MeshEndpoint } from './indexed-service.ts'
import type { Balanced } from './tunnel-steps.ts'

/** `waypoint`: the port need not be one of the service, when the endpoint takes everything through an application tunnel. */
export type ResolutionMode = 'standard' | 'waypoint'

/** Of one service and port, as one client sees it: made on the first connection, and good for as long as the index is. */
export class EndpointPicker {
  readonly outcome: Balanced
  readonly #candidates: readonly MeshEndpoint[]
  /** Sums of the weights up to and with each candidate. */
  readonly #sums: Float64Array

  constructor(indexed: IndexedService, port: number, source: Workload, mode: ResolutionMode) {
    const { service, endpoints } = indexed
    const left = { unhealthy: 0, withoutPort: 0, unreachable: 0 }
    const usable: MeshEndpoint[] = []
    for (const endpoint of endpoints) {
      if (!endpoint.healthy && service.loadBalancing?.healthPolicy !== 'ALLOW_ALL') left.unhealthy++
      else if (!isReachable(endpoint.workload, source)) left.unreachable++
      else if (!hasPort(indexed, endpoint, port, mode)) left.withoutPort++
      else usable.push(endpoint)
    }
    const { candidates, shared } = nearest(usable, service.loadBalancing, source)
    this.outcome = {
      service,
      endpoints: endpoints.length,
      ...left,
      farther: usable.length - candidates.length,
      candidates: candidates.length,
      shared,
    }
    this.#candidates = candidates
    this.#sums = new Float64Array(candidates.length)
    let sum = 0
    for (const [i, { workload }] of candidates.entries()) this.#sums[i] = sum += workload.capacity
  }

  /** `draw`: uniform in 0 … 2³²−1. null: there is none to pick. */
  pick(draw: number): MeshEndpoint | null {
    const sums = this.#sums
    const at = (draw / 2 ** 32) * (sums.at(-1) ?? 0)
    let [low, high] = [0, sums.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (sums[middle]! > at) high = middle
      else low = middle + 1
    }
    return this.#candidates[low] ?? null
  }
}

export function pickerOf(indexed: IndexedService, port: number, source: Workload, mode: ResolutionMode): EndpointPicker {
  let pickers = indexed.pickers.get(source)
  if (pickers === undefined) {
    pickers = new Map()
    indexed.pickers.set(source, pickers)
  }
  // A client may ask for any port: those that the service does not have share one picker, which has nothing.
  const known = mode === 'waypoint' || indexed.ports.has(port)
  const key = known ? `${mode} ${port}` : ''
  let picker = pickers.get(key)
  if (picker === undefined) {
    picker = new EndpointPicker(indexed, port, source, mode)
    pickers.set(key, picker)
  }
  return picker
}

/** The port of the workload for one of the service; 0: it has none. */
export function targetPort(indexed: IndexedService, endpoint: MeshEndpoint, port: number): number {
  const own = endpoint.ports.get(port)
  if (own !== undefined) return own
  const ofService = indexed.ports.get(port) ?? 0
  if (ofService > 0) return ofService
  // Whoever is behind an application tunnel learns the port from it.
  return (endpoint.workload.applicationTunnel?.port ?? 0) > 0 ? port : 0
}

/** How many leading scopes both share. A network that leads is worth more than all others together, and a miss of it ends nothing. */
export function rankOf(scopes: readonly LoadBalancingScope[], source: Workload, target: Workload): number {
  const networkLeads = scopes[0] === 'NETWORK'
  let rank = 0
  let bonus = 0
  for (const scope of scopes) {
    if (sameScope(scope, source, target)) {
      rank++
      if (scope === 'NETWORK' && networkLeads) bonus = scopes.length - 1
    } else if (!(scope === 'NETWORK' && networkLeads)) break
  }
  return rank + bonus
}

function isReachable(target: Workload, source: Workload): boolean {
  if (target.addresses.length > 0 || target.hostname !== '') return true
  // The feed is the same for all clients: a workload of the own network may have a gateway, too, and it is not for us.
  return target.network !== source.network && target.networkGateway !== null
}

function hasPort(indexed: IndexedService, endpoint: MeshEndpoint, port: number, mode: ResolutionMode): boolean {
  const ofService = indexed.ports.get(port)
  if (mode === 'waypoint') return ofService !== undefined || endpoint.workload.applicationTunnel !== null
  return ofService !== undefined && (ofService > 0 || endpoint.ports.has(port))
}

function nearest(
  usable: readonly MeshEndpoint[],
  balancing: LoadBalancing | null,
  source: Workload,
): { candidates: readonly MeshEndpoint[]; shared: number } {
  if (balancing === null || balancing.mode === 'STANDARD') return { candidates: usable, shared: 0 }
  const { scopes, mode } = balancing
  const ranked = usable
    .map((endpoint) => ({ endpoint, rank: rankOf(scopes, source, endpoint.workload) }))
    .filter(({ endpoint }) => mode !== 'STRICT' || scopes.every((s) => sameScope(s, source, endpoint.workload)))
  const top = ranked.reduce((max, { rank }) => Math.max(max, rank), 0)
  return { candidates: ranked.filter(({ rank }) => rank === top).map(({ endpoint }) => endpoint), shared: top }
}

function sameScope(scope: LoadBalancingScope, a: Workload, b: Workload): boolean {
  switch (scope) {
    case 'REGION':
      return a.locality.region === b.locality.region
    case 'ZONE':
      return a.locality.zone === b.locality.zone
    case 'SUBZONE':
      return a.locality.subzone === b.locality.subzone
    case 'NODE':
      return a.node === b.node
    case 'CLUSTER':
      return a.clusterId === b.clusterId
    case 'NETWORK':
      return a.network === b.network
  }
}

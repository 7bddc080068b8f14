// Where a node's tunnel sends a connection of one of its workloads. The order is ztunnel's, and the words of its refusals too, so
// that dashboards and runbooks made for it fit. Pure: draws, addresses and the index come with the facts.
import { isLoopback, parseIp } from '../../base/ip-prefix.ts'
import type { MeshService } from '../../state/mesh-service.ts'
import { addressText, type GatewayAddress } from '../../state/network-address.ts'
import { type Workload, workloadIdentity, workloadInfoText } from '../../state/workload.ts'
import type { IndexedService } from './indexed-service.ts'
import type { MeshIndex } from './mesh-index.ts'
import type { IpPort, OutboundDecision, OutboundFacts, OutboundRefusal } from './outbound-decision.ts'
import type { TunnelStep } from './tunnel-steps.ts'
import {
  addressName,
  ask,
  identitiesOf,
  isService,
  networkGatewayOf,
  noDestination,
  refuse,
  type Search,
  type Stop,
  serviceIdentities,
  type Upstream,
  upstreamOf,
  waypointOf,
} from './upstream.ts'

type Way = Omit<OutboundDecision, 'steps' | 'source' | 'refusal' | 'error' | 'lookup'>

export function decideOutbound(index: MeshIndex, facts: OutboundFacts): OutboundDecision {
  const steps: TunnelStep[] = []
  const { source, destination } = facts
  const way = isSelfCall(facts)
    ? refuse('self-call', 'attempted recursive call to ourselves')
    : source === null
      ? refuse('unknown-source', `failed to fetch information about local workload: ${workloadInfoText(facts.sourceInfo)}`)
      : findWay({ index, facts, source, steps }, destination)
  if (!('kind' in way)) return decision(way, null, '', '', source, steps)
  if (way.kind === 'ask') return decision(ASK, null, '', way.name, source, steps)
  if (way.kind === 'lookup') return decision(LOOKUP, null, '', way.hostname, source, steps)
  steps.push({ kind: 'refused', error: way.error })
  return decision(DENIED, way.refusal, way.error, '', source, steps)
}

const NOWHERE = { dial: null, authority: '', serverIdentities: [], innerIdentities: [], workload: null, service: null }
const DENIED: Way = { verdict: 'deny', ...NOWHERE }
const LOOKUP: Way = { verdict: 'resolve', ...NOWHERE }
const ASK: Way = { verdict: 'ask', ...NOWHERE }

/** Field by field: spreading costs many times what all the rest of a decision does. */
function decision(
  way: Way,
  refusal: OutboundRefusal | null,
  error: string,
  lookup: string,
  source: Workload | null,
  steps: readonly TunnelStep[],
): OutboundDecision {
  return {
    verdict: way.verdict,
    refusal,
    error,
    dial: way.dial,
    authority: way.authority,
    serverIdentities: way.serverIdentities,
    innerIdentities: way.innerIdentities,
    source,
    workload: way.workload,
    service: way.service,
    lookup,
    steps,
  }
}

function isSelfCall({ destination, ownPorts }: OutboundFacts): boolean {
  const ip = parseIp(destination.ip)
  return ip !== null && isLoopback(ip) && ownPorts.includes(destination.port)
}

function findWay(search: Search, destination: IpPort): Way | Stop {
  const { index, source, steps } = search
  steps.push({ kind: 'source', workload: source })
  const addressed = whoHas(search, destination.ip)
  const unknown = addressed === null ? ask(search, addressName({ network: source.network, address: destination.ip })) : null
  if (unknown !== null) return unknown
  const service = addressed !== null && isService(addressed) ? addressed.service : null
  if (service !== null) {
    const waypoint = serviceWaypoint(search, service)
    if (waypoint !== null) return byServiceWaypoint(search, service, waypoint)
  }
  const upstream = addressed === null ? null : upstreamOf(search, addressed, destination.port)
  if (upstream === null) return withoutUpstream(search, service)
  if (upstream.kind !== 'upstream') return upstream
  if (upstream.workload.network !== source.network) return byGateway(search, service, upstream)
  const waypoint = upstream.workload.waypoint
  if (waypoint !== null && service === null) {
    if (!isWaypointOf(index, waypoint, source, search.facts.sourceIp))
      return byWorkloadWaypoint(search, upstream.workload, waypoint)
    steps.push({ kind: 'from-waypoint', workload: upstream.workload })
  } else if (waypoint !== null && service !== null) {
    steps.push({ kind: 'waypoint-not-used', workload: upstream.workload, service })
  }
  return straight(search, upstream, service)
}

/** An address of a service goes before the same address of a workload. */
function whoHas({ index, source, steps }: Search, ip: string): IndexedService | Workload | null {
  const byVip = index.serviceByVip(source.network, ip, source.namespace)
  if (byVip !== null) {
    steps.push({ kind: 'service', service: byVip.found.service, ip, prefix: byVip.prefix })
    return byVip.found
  }
  const workload = index.workloadByAddress(source.network, ip)
  if (workload === null) steps.push({ kind: 'stranger', ip, network: source.network })
  else steps.push({ kind: 'workload', workload, ip })
  return workload
}

function serviceWaypoint({ facts, steps }: Search, service: MeshService): GatewayAddress | null {
  const total = service.weightedWaypoints.reduce((sum, w) => sum + w.weight, 0)
  let at = Math.floor((facts.draws.waypoint / 2 ** 32) * total)
  for (const { destination, weight } of service.weightedWaypoints) {
    at -= weight
    if (at >= 0) continue
    steps.push({ kind: 'weighted-waypoint', service, waypoint: destination, weight, total })
    return destination
  }
  if (service.waypoint !== null) steps.push({ kind: 'waypoint', of: service, waypoint: service.waypoint })
  return service.waypoint
}

function byServiceWaypoint(search: Search, service: MeshService, gateway: GatewayAddress): Way | Stop {
  const waypoint = waypointOf(search, gateway)
  if (waypoint.kind !== 'upstream') return waypoint
  if (waypoint.workload.network !== search.source.network) return byGateway(search, service, waypoint)
  return toWaypoint(search, waypoint, service)
}

function byWorkloadWaypoint(search: Search, workload: Workload, gateway: GatewayAddress): Way | Stop {
  search.steps.push({ kind: 'waypoint', of: workload, waypoint: gateway })
  const waypoint = waypointOf(search, gateway)
  return waypoint.kind === 'upstream' ? toWaypoint(search, waypoint, null) : waypoint
}

/** The waypoint learns what the client dialled, and does the rest. */
function toWaypoint({ facts }: Search, waypoint: Upstream, service: MeshService | null): Way | Stop {
  if (waypoint.ip === null) return noDestination(waypoint.workload)
  return {
    verdict: 'hbone',
    dial: { ip: waypoint.ip, port: waypoint.port },
    authority: addressText(facts.destination.ip, facts.destination.port),
    serverIdentities: identitiesOf(waypoint),
    innerIdentities: [],
    workload: waypoint.workload,
    service,
  }
}

/**
 * Another network is reached by its gateway, which ends the outer tunnel only. Inside is a second one, to whoever the gateway
 * picks of the service: so both are addressed by the service's name, and the inner server must be the service's.
 */
function byGateway(search: Search, service: MeshService | null, upstream: Upstream): Way | Stop {
  const { facts, steps } = search
  const gateway = upstream.workload.networkGateway
  if (gateway === null || service === null) return noDestination(upstream.workload)
  steps.push({ kind: 'remote', workload: upstream.workload, gateway })
  const next = networkGatewayOf(search, gateway)
  if (next.kind !== 'upstream') return next
  if (next.ip === null) return noDestination(next.workload)
  const inner = serviceIdentities(upstream.service)
  return {
    verdict: 'double-hbone',
    dial: { ip: next.ip, port: next.port },
    authority: `${service.hostname}:${facts.destination.port}`,
    serverIdentities: identitiesOf(next),
    // A service that names nobody could be reached by nobody: then it is the workload that was picked.
    innerIdentities: inner.length > 0 ? inner : [workloadIdentity(upstream.workload)],
    workload: next.workload,
    service,
  }
}

function withoutUpstream({ facts, steps }: Search, service: MeshService | null): Way | Stop {
  const { ip, port } = facts.destination
  if (service !== null && service.loadBalancing?.mode !== 'PASSTHROUGH')
    return refuse('no-healthy-upstream', `no healthy upstream: ${addressText(ip, port)}`)
  steps.push({ kind: 'passthrough', service })
  return {
    verdict: 'tcp',
    dial: facts.destination,
    authority: '',
    serverIdentities: [],
    innerIdentities: [],
    workload: null,
    service: null,
  }
}

function straight({ facts }: Search, upstream: Upstream, service: MeshService | null): Way | Stop {
  const { workload, ip, port } = upstream
  if (ip === null) return noDestination(workload)
  const hbone = workload.protocol === 'HBONE'
  return {
    verdict: hbone ? 'hbone' : 'tcp',
    dial: { ip, port: hbone ? facts.hbonePort : port },
    authority: hbone ? addressText(ip, port) : '',
    serverIdentities: hbone ? identitiesOf(upstream) : [],
    innerIdentities: [],
    workload,
    service,
  }
}

/** By its identity and its address: both are the waypoint's only where its own outbound traffic comes through a tunnel. */
function isWaypointOf(index: MeshIndex, waypoint: GatewayAddress, source: Workload, sourceIp: string): boolean {
  const found = index.gateway(waypoint.destination, null)
  if (found === null) return false
  const all = isService(found) ? found.endpoints.map((e) => e.workload) : [found]
  const id = workloadIdentity(source)
  return all.some((w) => w.addresses.includes(sourceIp) && workloadIdentity(w) === id)
}

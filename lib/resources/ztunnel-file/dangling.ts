// Names in a world that nobody has: services of workloads, policies that they list, waypoints and gateways. With files that is a
// misspelling; from a control plane it would only be early.
import { didYouMean } from '../../base/nearest.ts'
import { policyKey } from '../../state/authorization.ts'
import { serviceKey } from '../../state/mesh-service.ts'
import type { GatewayAddress } from '../../state/network-address.ts'
import type { Origin } from '../../state/origin.ts'
import type { ResourceNote } from '../../state/snapshot.ts'
import type { WorkloadWorld } from '../../state/workload-world.ts'

export function danglingNotes(world: WorkloadWorld): ResourceNote[] {
  const services = new Set(world.services.map(serviceKey))
  const policies = new Set(world.policies.map(policyKey))
  const places = new Set([...services, ...world.workloads.filter((w) => w.hostname !== '').map(serviceKey)])
  const uids = new Set(world.workloads.map((w) => w.uid))
  const notes: ResourceNote[] = []
  const note = (origin: Origin, message: string): void => {
    const { kind, namespace, name, file, line, column } = origin
    notes.push({ kind, namespace, name, route: '', message, file, line, column })
  }
  const missing = (origin: Origin, field: string, name: string, known: ReadonlySet<string>, means: string): void => {
    if (!known.has(name)) note(origin, `${field}: nobody has ${name}${didYouMean(name, known)}; ${means}`)
  }
  const gateway = (origin: Origin, field: string, address: GatewayAddress | null, means: string): void => {
    if (address?.destination.kind !== 'hostname') return
    const { namespace, hostname } = address.destination
    missing(origin, field, `${namespace}/${hostname}`, places, means)
  }
  for (const w of world.workloads) {
    for (const { service } of w.services) missing(w.origin, 'services', service, services, 'it is an endpoint of nothing there')
    for (const name of w.authorizationPolicies)
      missing(w.origin, 'authorizationPolicies', name, policies, 'the policy does not count')
    gateway(w.origin, 'waypoint', w.waypoint, 'connections to this workload are refused')
    gateway(w.origin, 'networkGateway', w.networkGateway, 'connections from other networks are refused')
  }
  for (const s of world.services) {
    gateway(s.origin, 'waypoint', s.waypoint, 'connections to this service are refused')
    for (const { destination } of s.weightedWaypoints)
      gateway(s.origin, 'weightedWaypoints', destination, 'connections that draw it are refused')
    for (const { workloadUid } of s.endpoints) missing(s.origin, 'endpoints', workloadUid, uids, 'the endpoint does not count')
  }
  return notes
}

// Which workload an address, a waypoint or a gateway comes to, and by which of its addresses it is dialled.
import type { MeshService } from '../../state/mesh-service.ts'
import { type GatewayAddress, gatewayText, type NetworkAddress } from '../../state/network-address.ts'
import { isIstioIdentity } from '../../state/peer-identity.ts'
import { type Workload, workloadIdentity } from '../../state/workload.ts'
import type { IndexedService } from './indexed-service.ts'
import { pickerOf, type ResolutionMode, targetPort } from './load-balance.ts'
import type { MeshIndex } from './mesh-index.ts'
import type { IpPort, OutboundFacts, OutboundRefusal } from './outbound-decision.ts'
import type { TunnelStep } from './tunnel-steps.ts'

export interface Upstream {
  readonly kind: 'upstream'
  readonly workload: Workload
  /** null: it has none that we could dial, and is reached by its gateway. */
  readonly ip: string | null
  readonly port: number
  /** That it was picked from. */
  readonly service: MeshService | null
}

/** The decision ends here: refused, or something has to be found out first. */
export type Stop =
  | { readonly kind: 'refuse'; readonly refusal: OutboundRefusal; readonly error: string }
  | { readonly kind: 'lookup'; readonly hostname: string }
  | { readonly kind: 'ask'; readonly name: string }

/** What one decision is made with. */
export interface Search {
  readonly index: MeshIndex
  readonly facts: OutboundFacts
  readonly source: Workload
  readonly steps: TunnelStep[]
}

/** Before its address is chosen. */
interface Parts {
  readonly workload: Workload
  readonly port: number
  readonly service: IndexedService | null
}

/** null: nobody that is known, or nobody who is well. */
export function upstreamOf(search: Search, addressed: IndexedService | Workload, port: number): Upstream | Stop | null {
  const parts = partsOf(search, addressed, port, 'standard', search.facts.draws.endpoint)
  return parts === null ? null : withAddress(search, parts, search.facts.destination)
}

/** Of a service or of a workload: without it the connection is refused, since a waypoint is there to be gone through. */
export function waypointOf(search: Search, waypoint: GatewayAddress): Upstream | Stop {
  const unknown = (): Stop => refuse('unknown-waypoint', `unknown waypoint: waypoint ${gatewayText(waypoint)} not found`)
  return atGateway(search, waypoint, 'waypoint', search.facts.draws.endpoint) ?? unknown()
}

export function networkGatewayOf(search: Search, gateway: GatewayAddress): Upstream | Stop {
  const unknown = (): Stop =>
    refuse('unknown-gateway', `unknown network gateway: network gateway ${gatewayText(gateway)} not found`)
  return atGateway(search, gateway, 'standard', search.facts.draws.gateway) ?? unknown()
}

/** SPIFFE ids that the server may have: its own, and those that its service says; what is no id of Istio's form is left out. */
export function identitiesOf({ workload, service }: Upstream): readonly string[] {
  return [...serviceIdentities(service), workloadIdentity(workload)]
}

export function serviceIdentities(service: MeshService | null): readonly string[] {
  return service === null ? [] : service.subjectAltNames.filter(isIstioIdentity)
}

export function refuse(refusal: OutboundRefusal, error: string): Stop {
  return { kind: 'refuse', refusal, error }
}

export function noDestination(w: Workload): Stop {
  const text = `Workload{${w.name} with uid ${w.uid} (${w.protocol})}`
  return refuse('no-destination', `no valid routing destination for workload: ${text}`)
}

/** What is not known may be known to the control plane. null: it has been asked, or has told everything. */
export function ask({ facts }: Search, name: string): Stop | null {
  return facts.asked === null || facts.asked.has(name) ? null : { kind: 'ask', name }
}

/** As the feed has it: `network/ip`. */
export function addressName({ network, address }: NetworkAddress): string {
  return `${network}/${address}`
}

export function isService(x: IndexedService | Workload): x is IndexedService {
  return 'service' in x
}

function atGateway(search: Search, gateway: GatewayAddress, mode: ResolutionMode, draw: number): Upstream | Stop | null {
  const { destination, hboneMtlsPort: port } = gateway
  const found = placeOf(search, gateway)
  if (found === null) {
    const { kind } = destination
    return ask(search, kind === 'address' ? addressName(destination) : `${destination.namespace}/${destination.hostname}`)
  }
  const parts = partsOf(search, found, port, mode, draw)
  if (parts === null) return null
  // By host name the client's family of addresses is kept; by address there is only that one.
  const wanted = destination.kind === 'address' ? { ip: destination.address, port } : search.facts.destination
  return withAddress(search, parts, wanted)
}

function placeOf({ index, source }: Search, { destination }: GatewayAddress): IndexedService | Workload | null {
  if (destination.kind === 'hostname') return index.gateway(destination, source.namespace)
  // Of an address the service goes first here: what is dialled is balanced.
  const { network, address } = destination
  return index.serviceByVip(network, address, source.namespace)?.found ?? index.workloadByAddress(network, address)
}

function partsOf(
  search: Search,
  addressed: IndexedService | Workload,
  port: number,
  mode: ResolutionMode,
  draw: number,
): Parts | null {
  if (!isService(addressed)) return { workload: addressed, port, service: null }
  if (addressed.service.loadBalancing?.mode === 'PASSTHROUGH') return null
  const picker = pickerOf(addressed, port, search.source, mode)
  search.steps.push({ kind: 'balanced', outcome: picker.outcome, port })
  const endpoint = picker.pick(draw)
  if (endpoint === null) return null
  const target = targetPort(addressed, endpoint, port)
  return target === 0 ? null : { workload: endpoint.workload, port: target, service: addressed }
}

function withAddress(search: Search, { workload, port, service }: Parts, wanted: IpPort): Upstream | Stop {
  const ip = addressOf(search, workload, service?.service ?? null, wanted)
  if (typeof ip === 'object' && ip !== null) return ip
  search.steps.push({ kind: 'picked', workload, ip, port })
  return { kind: 'upstream', workload, ip, port, service: service?.service ?? null }
}

/** The address that was asked for, else one of its family that the service allows, else any that it allows. */
function addressOf(search: Search, workload: Workload, service: MeshService | null, wanted: IpPort): string | null | Stop {
  if (workload.addresses.includes(wanted.ip)) return wanted.ip
  const allowed = workload.addresses.filter((ip) => isAllowed(ip, service))
  const found = allowed.find((ip) => isV6(ip) === isV6(wanted.ip)) ?? allowed[0]
  if (found !== undefined) return found
  if (workload.hostname !== '') return lookUp(search, workload, wanted)
  return workload.networkGateway === null ? noDestination(workload) : null
}

function lookUp({ facts, steps }: Search, workload: Workload, wanted: IpPort): string | Stop {
  const all = facts.resolved.get(workload.hostname)
  if (all === undefined) return { kind: 'lookup', hostname: workload.hostname }
  if (all === null) return refuse('not-resolved', `no ip addresses were resolved for workload: ${workload.uid}`)
  const same = all.filter((ip) => isV6(ip) === isV6(wanted.ip))
  const list = same.length > 0 ? same : all
  const ip = list[Math.floor((facts.draws.address / 2 ** 32) * list.length)]
  if (ip === undefined) {
    const error = `ip addresses were resolved for workload ${workload.uid}, but valid dns response had no A/AAAA records`
    return refuse('not-resolved', error)
  }
  steps.push({ kind: 'resolved', workload, ip, of: all.length })
  return ip
}

function isAllowed(ip: string, service: MeshService | null): boolean {
  const families = service?.ipFamilies ?? null
  return families === null || families === 'DUAL' || (families === 'IPV6') === isV6(ip)
}

/** Of an address that is one. */
function isV6(ip: string): boolean {
  return ip.includes(':')
}

// Whether a connection reaches a workload of the node, and how: through a tunnel or in plain text. The checks come in ztunnel's
// order, and what is dialled is always the workload itself, so that nobody can use the tunnel to get elsewhere. Pure.

import { type L4Authorizer, type L4Verdict, rejectionText } from '../../policy/l4-authorizer.ts'
import { l4Connection } from '../../policy/l4-match.ts'
import type { MeshService } from '../../state/mesh-service.ts'
import type { PeerIdentity } from '../../state/peer-identity.ts'
import { type Workload, workloadInfoText } from '../../state/workload.ts'
import { type Authority, parseAuthority } from './authority.ts'
import type { HboneFacts, InboundDecision, PlainFacts, ProxyHeader } from './inbound-decision.ts'
import type { IndexedService } from './indexed-service.ts'
import type { MeshIndex } from './mesh-index.ts'
import type { IpPort } from './outbound-decision.ts'
import type { TunnelStep } from './tunnel-steps.ts'
import { isService } from './upstream.ts'

interface Refusal {
  readonly refused: 400 | 503
  readonly error: string
}

/** Where it goes to, before anybody is asked whether it may. */
interface Target {
  readonly target: IpPort
  readonly proxyTo: IpPort | null
  readonly services: readonly IndexedService[]
}

const SELF_CALL = 'attempted recursive call to ourselves'

export function decideInboundPlain(index: MeshIndex, authorizer: L4Authorizer, facts: PlainFacts): InboundDecision {
  const steps: TunnelStep[] = []
  const { local, destination, source } = facts
  if (facts.ownPorts.includes(destination.port)) return refused({ refused: 503, error: SELF_CALL }, local, steps)
  if (local === null) return refused(unknownLocal(facts), local, steps)
  const service = guessService(index.servicesOf(local), '', local, destination.port)
  steps.push({ kind: 'target', workload: local, ip: destination.ip, port: destination.port, service })
  const l4 = authorize(authorizer, local, source, destination, null, steps)
  const bindIp = facts.keepSource && source.ip !== destination.ip ? source.ip : null
  return decision(l4, destination, bindIp, null, local, service, index.workloadByAddress(local.network, source.ip), steps)
}

export function decideInbound(index: MeshIndex, authorizer: L4Authorizer, facts: HboneFacts): InboundDecision {
  const steps: TunnelStep[] = []
  const { local } = facts
  if (facts.method !== 'CONNECT')
    return refused({ refused: 400, error: `expected method CONNECT, got ${facts.method}` }, local, steps)
  const authority = parseAuthority(facts.authority)
  if (authority === null) {
    return refused({ refused: 400, error: `no valid authority pseudo header: ${facts.authority}` }, local, steps)
  }
  if (local === null) return refused(unknownLocal(facts), local, steps)
  const foreign = checkAddress(index, facts, local, authority, steps)
  if (foreign !== null) return refused(foreign, local, steps)
  const found = findTarget(index, facts, local, authority, steps)
  if ('refused' in found) return refused(found, local, steps)
  const { identity, source, forwardedNetwork } = facts
  const onLoopback = facts.localTunnel && local.applicationTunnel?.protocol === 'PROXY'
  const loopback = found.target.ip.includes(':') ? '::1' : '127.0.0.1'
  const service = guessService(found.services, facts.forwardedHost, local, found.target.port)
  steps.push({ kind: 'target', workload: local, ip: found.target.ip, port: found.target.port, service })
  const l4 = authorize(authorizer, local, source, found.target, identity, steps)
  const target = onLoopback ? { ip: loopback, port: found.target.port } : found.target
  const bindIp = onLoopback || !facts.keepSource || source.ip === found.target.ip ? null : source.ip
  // What a gateway of another network passed on has the gateway's address, which says nothing of who sent it.
  const byGateway = forwardedNetwork !== '' && forwardedNetwork.toLowerCase() !== local.network.toLowerCase()
  const sender = byGateway ? null : index.workloadByAddress(local.network, source.ip)
  return decision(l4, target, bindIp, proxyHeader(found.proxyTo, facts, local), local, service, sender, steps)
}

function refused({ refused: status, error }: Refusal, workload: Workload | null, steps: TunnelStep[]): InboundDecision {
  steps.push({ kind: 'refused', error })
  const nothing = { target: null, bindIp: null, proxyHeader: null, service: null, source: null, l4: null }
  return { verdict: 'refuse', status, flag: '', error, ...nothing, workload, steps }
}

function unknownLocal({ localInfo }: PlainFacts): Refusal {
  return { refused: 503, error: `failed to fetch information about local workload: ${workloadInfoText(localInfo)}` }
}

/** `destination`: of the application. */
function authorize(
  authorizer: L4Authorizer,
  local: Workload,
  source: IpPort,
  destination: IpPort,
  identity: PeerIdentity | null,
  steps: TunnelStep[],
): L4Verdict {
  const connection = l4Connection(source.ip, destination.ip, destination.port, identity)
  const verdict = authorizer.check(local, connection)
  steps.push({ kind: 'policy', workload: local, verdict, policies: authorizer.policiesOf(local), connection })
  if (!verdict.allowed) steps.push({ kind: 'refused', error: rejectionText(verdict) })
  return verdict
}

function decision(
  l4: L4Verdict,
  target: IpPort,
  bindIp: string | null,
  proxyHeader: ProxyHeader | null,
  workload: Workload,
  service: MeshService | null,
  source: Workload | null,
  steps: readonly TunnelStep[],
): InboundDecision {
  const { allowed } = l4
  return {
    verdict: allowed ? 'connect' : 'refuse',
    status: allowed ? 200 : 401,
    flag: allowed ? '' : 'DENY',
    error: rejectionText(l4),
    target,
    bindIp: allowed ? bindIp : null,
    proxyHeader: allowed ? proxyHeader : null,
    workload,
    service,
    source,
    l4,
    steps,
  }
}

/** An address must be the one that the tunnel came to, unless this workload stands in front of whoever has it. */
function checkAddress(
  index: MeshIndex,
  { destination, authority: text }: HboneFacts,
  local: Workload,
  authority: Authority,
  steps: TunnelStep[],
): Refusal | null {
  const accept = (why: Extract<TunnelStep, { kind: 'authority' }>['why']): null => {
    steps.push({ kind: 'authority', authority: text, why })
    return null
  }
  if (authority.kind === 'hostname') return accept('hostname')
  if (authority.ip === destination.ip) return accept('own-address')
  if (local.applicationTunnel !== null) return accept('application-tunnel')
  if (isInFrontOf(index, authority.ip, local, destination.ip)) return accept('waypoint')
  return { refused: 400, error: `ip mismatch: ${destination.ip} != ${authority.ip}` }
}

/** Whether the service or workload at `ip` has `local` as its waypoint. */
function isInFrontOf(index: MeshIndex, ip: string, local: Workload, localIp: string): boolean {
  const target = index.workloadByAddress(local.network, ip) ?? index.serviceByVip(local.network, ip, null)?.found.service
  const waypoint = target?.waypoint ?? null
  if (waypoint === null) return false
  const found = index.gateway(waypoint.destination, null)
  if (found === null) return false
  return isService(found) ? found.endpoints.some((e) => e.workload.uid === local.uid) : found.addresses.includes(localIp)
}

function findTarget(
  index: MeshIndex,
  { destination, ownPorts, authority: text }: HboneFacts,
  local: Workload,
  authority: Authority,
  steps: TunnelStep[],
): Target | Refusal {
  const named = authority.kind === 'hostname' ? index.serviceByHost(authority.hostname, local.namespace) : null
  if (authority.kind === 'hostname' && named === null)
    return { refused: 503, error: `no service or workload for hostname: ${authority.hostname}` }
  const port = named === null ? authority.port : portOf(named, local, authority.port)
  if (port === 0) return { refused: 503, error: `requested service ${text} found, but cannot resolve port` }
  if (ownPorts.includes(port)) return { refused: 503, error: SELF_CALL }
  const services = named === null ? index.servicesOf(local) : [named]
  const tunnel = local.applicationTunnel
  if (tunnel === null) return { target: { ip: destination.ip, port }, proxyTo: null, services }
  const target = { ip: destination.ip, port: tunnel.port === 0 ? port : tunnel.port }
  steps.push({ kind: 'application-tunnel', workload: local, port: target.port })
  if (authority.kind === 'address') return { target, proxyTo: { ip: authority.ip, port: authority.port }, services }
  // PROXY has no place for a name: an address that stands for the service takes its place.
  const vip = vipOf(named?.service ?? null, local.network)
  if (vip === null) return { refused: 503, error: `requested service ${authority.hostname} found, but has no IP addresses` }
  return { target, proxyTo: { ip: vip, port: authority.port }, services }
}

/** The endpoint's own, then the service's; 0: none. */
function portOf({ ports, endpoints }: IndexedService, local: Workload, port: number): number {
  const own = endpoints.find((e) => e.workload.uid === local.uid)?.ports.get(port)
  return own ?? ports.get(port) ?? 0
}

/** The own network first, there IPv4 first. */
function vipOf(service: MeshService | null, network: string): string | null {
  const vips = service?.vips ?? []
  const own = vips.filter((v) => v.network === network)
  return (own.find((v) => !v.address.includes(':')) ?? own[0] ?? vips[0])?.address ?? null
}

function proxyHeader(to: IpPort | null, { source, identity }: HboneFacts, local: Workload): ProxyHeader | null {
  if (to === null || local.applicationTunnel?.protocol !== 'PROXY') return null
  return { source, destination: to, identity: identity?.id ?? '' }
}

/** The one that the client named, if it is one of the workload's; else one that has the port. */
function guessService(services: readonly IndexedService[], named: string, local: Workload, port: number): MeshService | null {
  const found =
    services.find(({ service }) => service.hostname === named) ??
    services.find(({ ports, endpoints }) => {
      const own = endpoints.find((e) => e.workload.uid === local.uid)?.ports
      for (const [servicePort, target] of ports) if (target === port || own?.get(servicePort) === port) return true
      return false
    })
  return found?.service ?? null
}

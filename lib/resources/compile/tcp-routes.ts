// Where connections to `host:port` go: the tcp rules of the first VirtualService for the host, else the service itself
// (Istio TCPRoute).
import { BlockList, isIP } from 'node:net'
import type { TcpChain } from '../../state/listener.ts'
import { ALL_METRICS } from '../../state/metric-terms.ts'
import type { WeightedCluster } from '../../state/route.ts'
import type { L4MatchSpec, L4RouteSpec } from '../schema/virtual-service.ts'
import { clusterName } from './clusters.ts'
import type { DestinationHashes } from './hash-policies.ts'
import { covers, resolveHost } from './host-names.ts'
import type { RegistryService } from './registry.ts'
import { destinationCluster } from './route-action.ts'
import { isOneOf } from './route-match.ts'
import type { VirtualServiceRules } from './rules.ts'
import type { World } from './world.ts'

export function tcpTarget(
  world: World,
  service: RegistryService,
  port: number,
  virtualServices: readonly VirtualServiceRules[],
  hashes: DestinationHashes,
): TcpChain {
  for (const { object, hosts } of virtualServices) {
    if (!hosts.some((host) => covers(host, service.hostname))) continue
    for (const rule of object.spec.tcp ?? []) {
      const fits = (rule.match ?? []).length === 0 || rule.match!.some((m) => l4Fits(world, m, service, port))
      if (!fits) continue
      return chainToRoutes(world, rule.route ?? [], object.namespace, port, hashes)
    }
  }
  return chainToService(service, port, hashes)
}

/** To the destinations of a rule of a VirtualService in `namespace`. */
export function chainToRoutes(
  world: World,
  routes: readonly L4RouteSpec[],
  namespace: string,
  port: number,
  hashes: DestinationHashes,
): TcpChain {
  const kept = routes.length === 1 ? routes : routes.filter((r) => (r.weight ?? 0) > 0)
  const clusters = kept.map((r) => weighted(destinationCluster(world, r.destination, namespace, port), r.weight ?? 0))
  // Of several destinations the first one's rule says it, subsets apart (istiod).
  const first = routes[0]?.destination
  const host = first === undefined ? '' : resolveHost(first.host, namespace, world.domain)
  return {
    kind: 'tcp',
    clusters,
    byServerName: false,
    tunnel: hashes.tunnelOf(host, routes.length === 1 ? (first?.subset ?? '') : ''),
    hashSourceIp: hashes.bySourceIp(host, routes.length === 1 ? (first?.subset ?? '') : ''),
    connectAttempts: 1,
    serverNamePort: 0,
    metrics: ALL_METRICS,
    idleTimeoutMs: null,
    maxDurationMs: null,
    accessLogs: [],
    authorization: [],
  }
}

export function chainToService(service: RegistryService, port: number, hashes: DestinationHashes): TcpChain {
  const clusters = [weighted(clusterName(port, '', service.hostname), 1)]
  return {
    kind: 'tcp',
    clusters,
    byServerName: false,
    tunnel: hashes.tunnelOf(service.hostname, ''),
    hashSourceIp: hashes.bySourceIp(service.hostname, ''),
    connectAttempts: 1,
    serverNamePort: 0,
    metrics: ALL_METRICS,
    idleTimeoutMs: null,
    maxDurationMs: null,
    accessLogs: [],
    authorization: [],
  }
}

export function weighted(cluster: string, weight: number): WeightedCluster {
  return { cluster, clusterHeader: '', weight, requestEdits: [], responseEdits: [], hostRewrite: '', filters: null }
}

function l4Fits(world: World, match: L4MatchSpec, service: RegistryService, port: number): boolean {
  if ((match.port ?? 0) !== 0 && match.port !== port) return false
  if ((match.destinationSubnets?.length ?? 0) > 0 && !service.addresses.some((a) => isWithin(a, match.destinationSubnets!)))
    return false
  if ((match.gateways?.length ?? 0) > 0) return match.gateways!.includes('mesh')
  return isOneOf(world.client, match)
}

function isWithin(address: string, subnets: readonly string[]): boolean {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  const list = new BlockList()
  for (const subnet of subnets) {
    const [base = '', bits] = subnet.split('/')
    const baseFamily = isIP(base) === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(base, baseFamily)
    else list.addSubnet(base, Number(bits), baseFamily)
  }
  return list.check(address, family)
}

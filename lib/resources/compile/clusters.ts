// Clusters: one for each port of a visible service and each subset of the DestinationRule in force, and those that are always
// there. Names are Istio's, `outbound|port|subset|host`.

import { isIP } from 'node:net'
import { isSocketPath } from '../../base/socket-path.ts'
import type { Cluster, Endpoint } from '../../state/cluster.ts'
import { BUILT_IN } from '../../state/origin.ts'
import { MESH_TRUST } from '../../state/tls.ts'
import type { Workloads } from './backends.ts'
import type { EffectiveRule, RuleSubset } from './destination-rules.ts'
import type { EndpointTunnels } from './endpoint-tunnels.ts'
import { hasLabels } from './host-names.ts'
import { type ClientPlace, localityRules, type PlacedBackend, place, trafficDistributionOf } from './locality.ts'
import type { MeshMtls } from './mesh-mtls.ts'
import { clusterProtocol } from './protocol.ts'
import type { Registry, RegistryPort, RegistryService } from './registry.ts'
import { parseLocality, withTopology } from './topology.ts'
import { DEFAULT_POLICY, PANIC_THRESHOLD, policyFor } from './traffic-policy.ts'
import { type ClusterTls, clusterTls, isExternal, NO_TLS } from './upstream-tls.ts'
import type { World } from './world.ts'

export const PASSTHROUGH_CLUSTER = 'PassthroughCluster'
/** Where connections lead that may go nowhere: it has no endpoints, and is what metrics and access logs know them by. */
export const BLACK_HOLE_CLUSTER = 'BlackHoleCluster'
/** Istio gives connections to unknown destinations five minutes. */
export const PASSTHROUGH_IDLE_MS = 300_000

export function clusterName(port: number, subset: string, host: string): string {
  return `outbound|${port}|${subset}|${host}`
}

export interface ClusterSources {
  readonly world: World
  readonly workloads: Workloads
  readonly registry: Registry
  readonly rules: ReadonlyMap<string, EffectiveRule>
  readonly mtls: MeshMtls
  readonly tunnels: EndpointTunnels
  /** Whose waypoint this proxy is. */
  readonly served: readonly RegistryService[]
}

export function buildClusters(sources: ClusterSources): Cluster[] {
  const { world, workloads, registry, rules, mtls, tunnels } = sources
  const served = new Set(sources.served.map((s) => s.hostname))
  const view: ClusterView = { world, mtls, tunnels, served, client: clientPlace(world, workloads) }
  const clusters: Cluster[] = [passthrough()]
  const captures = world.bootstrap.capture.mode !== 'none'
  if (captures && world.scope.outboundTrafficPolicy !== 'ALLOW_ANY')
    clusters.push({
      ...passthrough(),
      name: BLACK_HOLE_CLUSTER,
      type: 'STATIC',
      loadBalancer: { kind: 'ROUND_ROBIN' },
      peers: 'mesh',
    })
  for (const service of registry.values()) {
    const rule = rules.get(service.hostname)
    for (const port of service.ports) {
      for (const subset of [null, ...(rule?.subsets ?? [])]) clusters.push(outbound(view, service, port, rule, subset))
    }
  }
  return clusters
}

/** Who asks. */
interface ClusterView {
  readonly world: World
  readonly mtls: MeshMtls
  readonly tunnels: EndpointTunnels
  readonly served: ReadonlySet<string>
  readonly client: ClientPlace
}

function passthrough(): Cluster {
  return {
    name: PASSTHROUGH_CLUSTER,
    type: 'ORIGINAL_DST',
    dnsNames: [],
    firstAddressOnly: false,
    dnsFamily: 'V4_PREFERRED',
    dialsHostAt: 0,
    endpoints: [],
    loadBalancer: { kind: 'PASSTHROUGH' },
    slowStart: null,
    localityWeights: null,
    panicThreshold: PANIC_THRESHOLD,
    outlierDetection: null,
    limits: { ...DEFAULT_POLICY.limits, httpIdleTimeoutMs: PASSTHROUGH_IDLE_MS },
    tls: null,
    tlsReason: NO_TLS,
    bind: null,
    proxyProtocol: 'none',
    peers: 'outside',
    protocol: 'client',
    host: '',
    serviceName: '',
    serviceNamespace: '',
    port: 0,
    subset: '',
    origin: BUILT_IN,
    policyOrigin: BUILT_IN,
  }
}

function clientPlace(world: World, workloads: Workloads): ClientPlace {
  const { locality: written, address } = world.bootstrap.workload
  const locality = parseLocality(written)
  return { locality, labels: withTopology(world.client.labels, locality, workloads.nodeAt(address), '') }
}

function outbound(
  { world, mtls, tunnels, served, client }: ClusterView,
  service: RegistryService,
  port: RegistryPort,
  rule: EffectiveRule | undefined,
  subset: RuleSubset | null,
): Cluster {
  const policy = policyFor(rule, subset, port.number)
  const name = subset?.spec.name ?? ''
  const wanted = subset?.spec.labels ?? {}
  const selected = port.backends.filter((b) => hasLabels(b.labels, wanted))
  const distribution = trafficDistributionOf(trafficDistribution(service), service.object.annotations)
  const rules = localityRules(policy.locality, distribution, world.bootstrap.mesh.localityFailover)
  const { placed, weights } = place(rules, client, selected, policy.outlierDetection !== null)
  // Also where an endpoint of a Service is a name (EndpointSlice addressType FQDN).
  const dns = port.resolution.startsWith('DNS') || placed.some(isName)
  // Who is captured dials one of the pods of a headless service, and is led there, as with istiod. A client of an explicit listener dials
  // the listener, so that the pods are picked from like other endpoints.
  const dialled =
    port.resolution === 'NONE' || policy.loadBalancer.kind === 'PASSTHROUGH' || (service.headless && world.capturesOutbound)
  const behindUs = served.has(service.hostname)
  const tls = clusterTls({ world, mtls, service, port, subset: name, rule: policy.tls, behindUs, dialled })
  const protocol = clusterProtocol(port.protocol)
  return {
    name: clusterName(port.number, name, service.hostname),
    type: dialled ? 'ORIGINAL_DST' : dns ? 'DNS' : 'STATIC',
    // Addresses as well as names: what is resolved replaces `endpoints` as a whole.
    dnsNames: dialled || !dns ? [] : placed.map((p) => nameOf(p, tls, tunnels)),
    firstAddressOnly: port.resolution === 'DNS_ROUND_ROBIN',
    dnsFamily: 'V4_PREFERRED',
    dialsHostAt: 0,
    endpoints: dialled || dns ? [] : placed.map((p) => endpointOf(p, tls, tunnels)),
    loadBalancer: dialled ? { kind: 'PASSTHROUGH' } : policy.loadBalancer,
    slowStart: dialled ? null : policy.slowStart,
    localityWeights: dialled ? null : weights,
    panicThreshold: policy.panicThreshold,
    outlierDetection: policy.outlierDetection,
    limits: policy.limits,
    tls: tls.tls,
    tlsReason: tls.reason,
    bind: null,
    proxyProtocol: policy.proxyProtocol,
    peers: isExternal(service) ? 'outside' : 'mesh',
    protocol: protocolOf(protocol, policy.upstreamProtocol),
    host: service.hostname,
    serviceName: service.name,
    serviceNamespace: service.namespace,
    port: port.number,
    subset: name,
    origin: port.object.origin(),
    policyOrigin: policy.origin,
  }
}

function trafficDistribution({ object }: RegistryService): string | undefined {
  return object.kind === 'Service' ? object.spec.trafficDistribution : undefined
}

/** A policy changes only what speaks HTTP, and does not take HTTP/2 from who declares it. */
function protocolOf(declared: Cluster['protocol'], policy: 'http2' | 'client' | null): Cluster['protocol'] {
  return policy === null || declared === 'tcp' || (declared === 'http2' && policy === 'http2') ? declared : policy
}

function isName({ backend }: PlacedBackend): boolean {
  return isIP(backend.address) === 0 && !isSocketPath(backend.address)
}

function nameOf(placed: PlacedBackend, tls: ClusterTls, tunnels: EndpointTunnels): Cluster['dnsNames'][number] {
  const { address, port } = placed.backend
  return { host: address, port, endpoint: endpointOf(placed, tls, tunnels) }
}

function endpointOf({ backend, priority }: PlacedBackend, of: ClusterTls, tunnels: EndpointTunnels): Endpoint {
  const { address, port, weight, locality, workload, healthCheck, origin } = backend
  const { tls, reason: tlsReason } = of.of(backend)
  const tunnel = tunnels.of(backend)
  // The tunnel is the mesh's mutual TLS. What a rule asks for besides is for the application.
  const inside = tls && (tunnel === null || of.tls?.trust !== MESH_TRUST)
  return {
    address,
    otherAddresses: [],
    port,
    weight,
    locality,
    priority,
    workload,
    healthy: true,
    keepsSessions: true,
    healthCheck,
    tls: inside,
    tlsReason,
    tunnel,
    origin,
  }
}

// AUTO_PASSTHROUGH: mutual TLS of the mesh is passed on to the service that its server name says, `outbound_.PORT_.SUBSET_.HOST`, without a VirtualService, as of a gateway
// between networks (istiod's SNI-DNAT clusters).
import type { Cluster, Endpoint } from '../../../state/cluster.ts'
import type { Listener } from '../../../state/listener.ts'
import { ALL_METRICS } from '../../../state/metric-terms.ts'
import type { Origin } from '../../../state/origin.ts'
import type { EffectiveRule } from '../destination-rules.ts'
import type { Registry, RegistryService } from '../registry.ts'
import { weighted } from '../tcp-routes.ts'
import { NO_TLS } from '../upstream-tls.ts'
import { intersection, type ServedBytes } from './server.ts'

/** What sidecars offer when they speak mutual TLS of the mesh (istiod mtls ALPN): nobody else comes through. */
const MESH_ALPN: readonly string[] = ['istio', 'istio-peer-exchange', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2']

const PREFIX = 'outbound_.'

/** The server name of a service, which is the name of its cluster here as well. */
function sniName(port: number, subset: string, host: string): string {
  return `${PREFIX}${port}_.${subset}_.${host}`
}

/** `hosts`: those of the server, each with the namespace whose services it lets through; `*`: any. */
export function sniChains(
  registry: Registry,
  rules: ReadonlyMap<string, EffectiveRule>,
  hosts: readonly { readonly namespace: string; readonly host: string }[],
  origin: Origin,
): ServedBytes[] {
  const served = [...registry.values()].filter(
    (service) =>
      isOfMesh(service) &&
      hosts.some((h) => (h.namespace === '*' || h.namespace === service.namespace) && covers(h.host, service.hostname)),
  )
  return served.flatMap((service) => {
    const subsets = ['', ...(rules.get(service.hostname)?.subsets ?? []).map((s) => s.spec.name ?? '')]
    const ports = service.ports.filter((port) => port.resolution !== 'NONE')
    return ports.flatMap((port) => subsets.map((subset) => chainTo(sniName(port.number, subset, service.hostname), origin)))
  })
}

/** `*.shop.svc` covers a name, and not the other way round. */
function covers(host: string, hostname: string): boolean {
  return intersection(host, hostname) === hostname
}

function isOfMesh({ object }: RegistryService): boolean {
  if (object.kind === 'Service') return object.spec.type !== 'ExternalName'
  return object.spec.location === 'MESH_INTERNAL'
}

function chainTo(name: string, origin: Origin): ServedBytes {
  return {
    serverNames: [name],
    applicationProtocols: MESH_ALPN,
    ranges: [],
    network: {
      kind: 'tcp',
      clusters: [weighted(name, 1)],
      byServerName: false,
      tunnel: null,
      hashSourceIp: false,
      connectAttempts: 1,
      serverNamePort: 0,
      metrics: ALL_METRICS,
      idleTimeoutMs: null,
      maxDurationMs: null,
      accessLogs: [],
      authorization: [],
    },
    origin,
  }
}

/** Those that the chains of these listeners lead to: the ones of the mesh again, without TLS of our own around that of the client. */
export function sniClusters(listeners: readonly Listener[], clusters: readonly Cluster[]): Cluster[] {
  const wanted = new Set<string>()
  for (const { network } of listeners.flatMap((l) => l.filterChains))
    if (network?.kind === 'tcp') for (const { cluster } of network.clusters) if (cluster.startsWith(PREFIX)) wanted.add(cluster)
  if (wanted.size === 0) return []
  return clusters.flatMap((cluster): Cluster[] => {
    const name = sniName(cluster.port, cluster.subset, cluster.host)
    if (!cluster.name.startsWith('outbound|') || !wanted.has(name)) return []
    return [
      {
        ...cluster,
        name,
        endpoints: cluster.endpoints.map(plain),
        dnsNames: cluster.dnsNames.map((d) => ({ ...d, endpoint: plain(d.endpoint) })),
        tls: null,
        tlsReason: NO_TLS,
        protocol: 'tcp',
      },
    ]
  })
}

function plain(endpoint: Endpoint): Endpoint {
  return { ...endpoint, tls: false, tlsReason: null, tunnel: null }
}

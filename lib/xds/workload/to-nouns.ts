// Resources of the workload feed to nouns: an Address holds a workload or a service. What cannot be understood is a fault, and the noun is for nobody then.

import type { LoadBalancing, LoadBalancingScope, MeshService } from '../../state/mesh-service.ts'
import type { Origin } from '../../state/origin.ts'
import { isIstioIdentity } from '../../state/peer-identity.ts'
import type { Workload } from '../../state/workload.ts'
import type {
  LoadBalancing as BalancingMessage,
  Service as ServiceMessage,
  Workload as WorkloadMessage,
} from '../proto/workload.ts'
import type { Findings } from '../translate/findings.ts'
import { checkPort, gatewayOf, ipOfBytes, networkAddressOf, portsOf, prefixOfBytes } from './addresses.ts'

/** Of workloads that name none (workload.proto). */
const TRUST_DOMAIN = 'cluster.local'
const SERVICE_ACCOUNT = 'default'
/** What enumerations become that have a number nobody knows. */
const UNKNOWN = '#'

export function toWorkload(w: WorkloadMessage, findings: Findings): Workload {
  if (w.uid === '') findings.fault('the workload has no uid')
  if (w.tunnel_protocol !== 'NONE' && w.tunnel_protocol !== 'HBONE')
    findings.at('tunnel_protocol').fault(`${w.tunnel_protocol} is not spoken here`)
  for (const field of ['network_mode', 'status'] as const) known(w[field], findings.at(field))
  const tunnel = w.application_tunnel
  if (tunnel !== null) {
    known(tunnel.protocol, findings.at('application_tunnel.protocol'))
    checkPort(tunnel.port, findings.at('application_tunnel.port'))
  }
  return {
    uid: w.uid,
    name: w.name,
    namespace: w.namespace,
    serviceAccount: w.service_account || SERVICE_ACCOUNT,
    trustDomain: w.trust_domain || TRUST_DOMAIN,
    network: w.network,
    addresses: w.addresses.flatMap((bytes, i) => ipOfBytes(bytes, findings.at('addresses', i)) ?? []),
    hostname: w.hostname.toLowerCase(),
    protocol: w.tunnel_protocol === 'HBONE' ? 'HBONE' : 'TCP',
    networkMode: w.network_mode === 'HOST_NETWORK' ? 'HOST_NETWORK' : 'STANDARD',
    nativeTunnel: w.native_tunnel,
    applicationTunnel: tunnel === null ? null : { protocol: tunnel.protocol === 'PROXY' ? 'PROXY' : 'NONE', port: tunnel.port },
    waypoint: gatewayOf(w.waypoint, findings.at('waypoint')),
    networkGateway: gatewayOf(w.network_gateway, findings.at('network_gateway')),
    services: [...w.services].map(([key, { ports }]) => ({
      service: serviceNameOf(key, findings.at('services')),
      ports: portsOf(ports, findings.at(`services["${key}"]`)),
    })),
    authorizationPolicies: w.authorization_policies,
    healthy: w.status !== 'UNHEALTHY',
    capacity: w.capacity ?? 1,
    node: w.node,
    clusterId: w.cluster_id,
    locality: { region: w.locality?.region ?? '', zone: w.locality?.zone ?? '', subzone: w.locality?.subzone ?? '' },
    canonicalName: w.canonical_name,
    canonicalRevision: w.canonical_revision,
    workloadName: w.workload_name,
    workloadType: isUnknown(w.workload_type) ? '' : w.workload_type.toLowerCase(),
    origin: fed('Workload', w.namespace, w.name || w.uid),
  }
}

export function toService(s: ServiceMessage, findings: Findings): MeshService {
  if (s.hostname === '') findings.fault('the service has no host name')
  for (const field of ['ip_families', 'visibility'] as const) known(s[field], findings.at(field))
  for (const [i, san] of s.subject_alt_names.entries())
    if (!isIstioIdentity(san)) findings.at('subject_alt_names', i).note(`nobody can have the identity ${san}`)
  const addresses = s.addresses.map((address, i) => ({ ...address, at: findings.at('addresses', i), bytes: address.address }))
  const exact = addresses.filter(({ length, bytes }) => length === null || length === bytes.length * 8)
  const prefixes = addresses.filter((a) => !exact.includes(a))
  return {
    name: s.name,
    namespace: s.namespace,
    hostname: s.hostname.toLowerCase(),
    vips: exact.flatMap((a) => networkAddressOf(a, a.at) ?? []),
    prefixVips: prefixes.flatMap(({ network, bytes, length, at }) => {
      const prefix = prefixOfBytes(bytes, length ?? 0, at)
      return prefix === null ? [] : [{ network, prefix }]
    }),
    ports: portsOf(s.ports, findings),
    // They say so themselves.
    endpoints: [],
    subjectAltNames: s.subject_alt_names,
    waypoint: gatewayOf(s.waypoint, findings.at('waypoint')),
    weightedWaypoints: s.weighted_waypoints.flatMap(({ destination, weight }, i) => {
      const gateway = gatewayOf(destination, findings.at('weighted_waypoints', i))
      if (destination === null) findings.at('weighted_waypoints', i).fault('`destination` is not set')
      return gateway === null ? [] : [{ destination: gateway, weight }]
    }),
    loadBalancing: balancingOf(s.load_balancing, findings.at('load_balancing')),
    ipFamilies: FAMILIES[s.ip_families as keyof typeof FAMILIES] ?? null,
    canonical: s.canonical,
    visibility: s.visibility === 'NAMESPACE' ? 'NAMESPACE' : 'PUBLIC',
    origin: fed('Service', s.namespace, s.name || s.hostname),
  }
}

const FAMILIES = { AUTOMATIC: null, IPV4_ONLY: 'IPV4', IPV6_ONLY: 'IPV6', DUAL: 'DUAL' } as const
const MODES = { UNSPECIFIED_MODE: 'STANDARD', STRICT: 'STRICT', FAILOVER: 'FAILOVER', PASSTHROUGH: 'PASSTHROUGH' } as const

function balancingOf(lb: BalancingMessage | null, findings: Findings): LoadBalancing | null {
  if (lb === null) return null
  known(lb.mode, findings.at('mode'))
  known(lb.health_policy, findings.at('health_policy'))
  for (const scope of lb.routing_preference) known(scope, findings.at('routing_preference'))
  return {
    scopes: lb.routing_preference.filter((scope): scope is LoadBalancingScope => scope !== 'UNSPECIFIED_SCOPE'),
    mode: MODES[lb.mode] ?? 'STANDARD',
    healthPolicy: lb.health_policy === 'ALLOW_ALL' ? 'ALLOW_ALL' : 'ONLY_HEALTHY',
  }
}

/** A value that came with a newer control plane may mean anything. */
function known(name: string, findings: Findings): void {
  if (isUnknown(name)) findings.fault(`nothing is known of the value ${name.slice(UNKNOWN.length)}`)
}

function isUnknown(name: string): boolean {
  return name.startsWith(UNKNOWN)
}

/** `namespace/hostname`. */
function serviceNameOf(key: string, findings: Findings): string {
  const slash = key.indexOf('/')
  if (slash <= 0 || slash === key.length - 1) findings.fault(`expected \`namespace/hostname\`, found "${key}"`)
  return key.slice(0, slash + 1) + key.slice(slash + 1).toLowerCase()
}

/** The feed has no places. */
export function fed(kind: string, namespace: string, name: string): Origin {
  return { kind, namespace, name, file: '', line: 0, column: 0 }
}

// Objects of ztunnel's file, which have passed their schema, to the nouns of a mesh. What a text should have been is reported;
// the noun is for nobody then.
import type { Authorization, AuthorizationMatch, AuthorizationRule } from '../../state/authorization.ts'
import type { LoadBalancing, LoadBalancingScope, MeshService } from '../../state/mesh-service.ts'
import type { Origin } from '../../state/origin.ts'
import { isIstioIdentity } from '../../state/peer-identity.ts'
import type { Workload } from '../../state/workload.ts'
import type { Path, Report } from '../finding.ts'
import { gatewayOf, ipOf, networkAddressOf, portOf, portsOf, prefixOf, serviceNameOf, stringMatchOf } from './forms.ts'
import type { LocalMatch, LocalPolicy, LocalService, LocalWorkload } from './schema.ts'

/** The place of a part of an object. */
export type PlaceOf = (path: Path) => Origin

export function toWorkload(w: LocalWorkload, trustDomain: string, placeOf: PlaceOf, report: Report): Workload {
  const { name = '', namespace, hostname = '', clusterId = 'Kubernetes', applicationTunnel: tunnel } = w
  const addresses = (w.workloadIps ?? []).map((ip, i) => ipOf(ip, ['workloadIps', i], report))
  if (addresses.length === 0 && hostname === '' && w.networkGateway === undefined)
    report([], 'the workload cannot be reached: it needs `workloadIps`, a `hostname` or a `networkGateway`')
  if (name === '' && (w.uid ?? '') === '') report([], 'the workload needs a `uid` or a `name`')
  return {
    uid: w.uid || `${clusterId}//Pod/${namespace}/${name}`,
    name,
    namespace,
    serviceAccount: w.serviceAccount || 'default',
    trustDomain: w.trustDomain || trustDomain,
    network: w.network ?? '',
    addresses,
    hostname,
    protocol: w.protocol ?? 'TCP',
    networkMode: w.networkMode === 'HostNetwork' ? 'HOST_NETWORK' : 'STANDARD',
    nativeTunnel: w.nativeTunnel ?? false,
    applicationTunnel:
      tunnel === undefined
        ? null
        : { protocol: tunnel.protocol, port: portOf(tunnel.port ?? 0, 0, ['applicationTunnel', 'port'], report) },
    waypoint: gatewayOf(w.waypoint, ['waypoint'], report),
    networkGateway: gatewayOf(w.networkGateway, ['networkGateway'], report),
    services: Object.entries(w.services ?? {}).map(([key, ports]) => ({
      service: serviceNameOf(key, ['services', key], report, true),
      ports: portsOf(ports, ['services', key], report),
    })),
    authorizationPolicies: w.authorizationPolicies ?? [],
    healthy: w.status !== 'Unhealthy',
    capacity: capacityOf(w.capacity, report),
    node: w.node ?? '',
    clusterId,
    locality: { region: w.locality?.region ?? '', zone: w.locality?.zone ?? '', subzone: w.locality?.subzone ?? '' },
    canonicalName: w.canonicalName ?? '',
    canonicalRevision: w.canonicalRevision ?? '',
    workloadName: w.workloadName ?? '',
    workloadType: w.workloadType ?? '',
    origin: placeOf([]),
  }
}

export function toService(s: LocalService, placeOf: PlaceOf, report: Report): MeshService {
  for (const [i, san] of (s.subjectAltNames ?? []).entries())
    if (!isIstioIdentity(san))
      report(['subjectAltNames', i], `expected spiffe://<trust domain>/ns/<namespace>/sa/<service account>, found "${san}"`)
  if (s.hostname === '') report(['hostname'], 'the host name is empty')
  return {
    name: s.name ?? '',
    namespace: s.namespace,
    hostname: s.hostname.toLowerCase(),
    vips: (s.vips ?? []).map((vip, i) => networkAddressOf(vip, ['vips', i], report)),
    prefixVips: (s.cidrVips ?? []).map(({ network = '', cidr }, i) => ({
      network,
      prefix: prefixOf(cidr, ['cidrVips', i, 'cidr'], report),
    })),
    ports: portsOf(s.ports, ['ports'], report),
    endpoints: Object.entries(s.endpoints ?? {}).map(([uid, { workloadUid = uid, port, status }]) => ({
      workloadUid,
      ports: portsOf(port, ['endpoints', uid, 'port'], report),
      healthy: status !== 'Unhealthy',
    })),
    subjectAltNames: s.subjectAltNames ?? [],
    waypoint: gatewayOf(s.waypoint, ['waypoint'], report),
    weightedWaypoints: (s.weightedWaypoints ?? []).flatMap(({ destination, weight }, i) => {
      if (weight < 0) report(['weightedWaypoints', i, 'weight'], `expected 0 or more, found ${weight}`)
      const gateway = gatewayOf(destination, ['weightedWaypoints', i, 'destination'], report)
      return gateway === null ? [] : [{ destination: gateway, weight }]
    }),
    loadBalancing: balancingOf(s.loadBalancer),
    ipFamilies: s.ipFamilies === undefined ? null : (s.ipFamilies.toUpperCase() as 'DUAL' | 'IPV4' | 'IPV6'),
    canonical: s.canonical ?? false,
    visibility: s.visibility === 'Namespace' ? 'NAMESPACE' : 'PUBLIC',
    origin: placeOf([]),
  }
}

const SCOPES = { Global: 'GLOBAL', Namespace: 'NAMESPACE', WorkloadSelector: 'WORKLOAD_SELECTOR' } as const

export function toAuthorization(p: LocalPolicy, placeOf: PlaceOf, report: Report): Authorization {
  const rules = p.rules.map(
    (clauses, i): AuthorizationRule => ({
      clauses: clauses.map((matches, k) => ({
        matches: matches.map((match, l) => toMatch(match, ['rules', i, k, l], placeOf, report)),
      })),
      origin: placeOf(['rules', i]),
    }),
  )
  return {
    name: p.name,
    namespace: p.namespace,
    scope: SCOPES[p.scope],
    action: p.action === 'Allow' ? 'ALLOW' : 'DENY',
    rules,
    dryRun: p.dryRun ?? false,
    origin: placeOf([]),
  }
}

function toMatch(m: LocalMatch, at: Path, placeOf: PlaceOf, report: Report): AuthorizationMatch {
  const texts = (field: 'namespaces' | 'notNamespaces' | 'principals' | 'notPrincipals') =>
    (m[field] ?? []).map((value, i) => stringMatchOf(value, [...at, field, i], report))
  const prefixes = (field: 'sourceIps' | 'notSourceIps' | 'destinationIps' | 'notDestinationIps') =>
    (m[field] ?? []).map((value, i) => prefixOf(value, [...at, field, i], report))
  const ports = (field: 'destinationPorts' | 'notDestinationPorts') =>
    (m[field] ?? []).map((value, i) => portOf(value, 0, [...at, field, i], report))
  return {
    namespaces: texts('namespaces'),
    notNamespaces: texts('notNamespaces'),
    serviceAccounts: m.serviceAccounts ?? [],
    notServiceAccounts: m.notServiceAccounts ?? [],
    principals: texts('principals'),
    notPrincipals: texts('notPrincipals'),
    sourceIps: prefixes('sourceIps'),
    notSourceIps: prefixes('notSourceIps'),
    destinationIps: prefixes('destinationIps'),
    notDestinationIps: prefixes('notDestinationIps'),
    destinationPorts: ports('destinationPorts'),
    notDestinationPorts: ports('notDestinationPorts'),
    origin: placeOf(at),
  }
}

function balancingOf(lb: LocalService['loadBalancer']): LoadBalancing | null {
  if (lb === undefined) return null
  return {
    scopes: (lb.routingPreferences ?? []).map((scope) => scope.toUpperCase() as LoadBalancingScope),
    mode: (lb.mode ?? 'Standard').toUpperCase() as LoadBalancing['mode'],
    healthPolicy: lb.healthPolicy === 'AllowAll' ? 'ALLOW_ALL' : 'ONLY_HEALTHY',
  }
}

function capacityOf(capacity: number | undefined, report: Report): number {
  if (capacity === undefined) return 1
  if (capacity < 0 || capacity > 0xffffffff) report(['capacity'], `expected a number from 0 to 4294967295, found ${capacity}`)
  return capacity
}

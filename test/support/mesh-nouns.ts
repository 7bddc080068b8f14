// Builders of mesh nouns for tests: everything has a default, so that a row says only what it is about.
import { parseIp, parsePrefix } from '../../lib/base/ip-prefix.ts'
import type { Authorization, AuthorizationMatch, AuthorizationRule, StringMatch } from '../../lib/state/authorization.ts'
import type { MeshService } from '../../lib/state/mesh-service.ts'
import type { GatewayAddress, NetworkAddress } from '../../lib/state/network-address.ts'
import { BUILT_IN } from '../../lib/state/origin.ts'
import type { PortMapping, ServiceMembership, Workload } from '../../lib/state/workload.ts'

/** `*`: presence, `a*`, `*a`, else exact: as AuthorizationPolicy writes them. */
export function texts(...list: string[]): StringMatch[] {
  return list.map((text): StringMatch => {
    if (text === '*') return { kind: 'presence' }
    if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) }
    if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) }
    return { kind: 'exact', value: text }
  })
}

export const prefixes = (...list: string[]) => list.map((text) => parsePrefix(text)!)
export const accounts = (...list: string[]) =>
  list.map((text) => ({ namespace: text.split('/')[0]!, serviceAccount: text.split('/')[1]! }))

export function match(over: Partial<AuthorizationMatch> = {}): AuthorizationMatch {
  return {
    namespaces: [],
    notNamespaces: [],
    serviceAccounts: [],
    notServiceAccounts: [],
    principals: [],
    notPrincipals: [],
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: [],
    notDestinationPorts: [],
    origin: BUILT_IN,
    ...over,
  }
}

/** Clauses as lists of matches: all clauses, any match. */
export function rule(...clauses: Partial<AuthorizationMatch>[][]): AuthorizationRule {
  return { clauses: clauses.map((matches) => ({ matches: matches.map(match) })), origin: BUILT_IN }
}

export function policy(
  action: 'ALLOW' | 'DENY',
  rules: readonly AuthorizationRule[],
  over: Partial<Authorization> = {},
): Authorization {
  const { namespace = 'ns', name = action.toLowerCase() } = over
  const origin = { ...BUILT_IN, kind: 'Authorization', namespace, name, file: 'mesh.yaml', line: 1, column: 1 }
  return { name, namespace, scope: 'NAMESPACE', action, rules, dryRun: false, origin, ...over }
}

export function workload(name: string, over: Partial<Workload> = {}): Workload {
  const { namespace = 'ns' } = over
  return {
    uid: `cluster1//Pod/${namespace}/${name}`,
    name,
    namespace,
    serviceAccount: name,
    trustDomain: 'cluster.local',
    network: '',
    addresses: [],
    hostname: '',
    protocol: 'HBONE',
    networkMode: 'STANDARD',
    nativeTunnel: false,
    applicationTunnel: null,
    waypoint: null,
    networkGateway: null,
    services: [],
    authorizationPolicies: [],
    healthy: true,
    capacity: 1,
    node: '',
    clusterId: 'Kubernetes',
    locality: { region: '', zone: '', subzone: '' },
    canonicalName: '',
    canonicalRevision: '',
    workloadName: '',
    workloadType: '',
    origin: { ...BUILT_IN, kind: 'Workload', namespace, name, file: 'mesh.yaml', line: 1, column: 1 },
    ...over,
  }
}

/** `host` alone is of namespace `ns`. Ports: 80 → 8080. */
export function service(host: string, over: Partial<MeshService> = {}): MeshService {
  const { namespace = 'ns' } = over
  const [name = ''] = host.split('.')
  return {
    name,
    namespace,
    hostname: host,
    vips: [],
    prefixVips: [],
    ports: ports({ 80: 8080 }),
    endpoints: [],
    subjectAltNames: [],
    waypoint: null,
    weightedWaypoints: [],
    loadBalancing: null,
    ipFamilies: null,
    canonical: false,
    visibility: 'PUBLIC',
    origin: { ...BUILT_IN, kind: 'Service', namespace, name, file: 'mesh.yaml', line: 1, column: 1 },
    ...over,
  }
}

export function ports(map: Readonly<Record<number, number>>): PortMapping[] {
  return Object.entries(map).map(([servicePort, targetPort]) => ({ servicePort: Number(servicePort), targetPort }))
}

/** `network/ip`, a list of them. */
export function vips(...list: string[]): NetworkAddress[] {
  return list.map((text) => ({ network: text.slice(0, text.indexOf('/')), address: text.slice(text.indexOf('/') + 1) }))
}

/** `ns/host` or `network/ip`. */
export function gateway(text: string, hboneMtlsPort = 15008): GatewayAddress {
  const [first = '', rest = ''] = [text.slice(0, text.indexOf('/')), text.slice(text.indexOf('/') + 1)]
  const isAddress = parseIp(rest) !== null
  return {
    destination: isAddress
      ? { kind: 'address', network: first, address: rest }
      : { kind: 'hostname', namespace: first, hostname: rest },
    hboneMtlsPort,
  }
}

/** The workload is an endpoint of `ns/host`; its own ports, if any. */
export function memberOf(key: string, own: Readonly<Record<number, number>> = {}): ServiceMembership {
  return { service: key, ports: ports(own) }
}

// Nouns of a tunnel in the words in which ztunnel shows its own, for comparing the two field by field.
import type { MeshIndex } from '../../../../lib/decide/tunnel/mesh-index.ts'
import type { Authorization, AuthorizationMatch, StringMatch } from '../../../../lib/state/authorization.ts'
import { type MeshService, serviceKey } from '../../../../lib/state/mesh-service.ts'
import type { GatewayAddress } from '../../../../lib/state/network-address.ts'
import type { PortMapping, Workload } from '../../../../lib/state/workload.ts'
import type { WorkloadWorld } from '../../../../lib/state/workload-world.ts'

type Json = Record<string, unknown>

export interface ZtunnelView {
  readonly workloads: readonly Json[]
  readonly services: readonly Json[]
  readonly policies: readonly Json[]
}

/** Lists whose order means nothing are sorted: what ztunnel keeps in hash maps. */
export function ztunnelView(world: WorkloadWorld, index: MeshIndex): ZtunnelView {
  return sorted({
    workloads: world.workloads.map(workloadView),
    services: world.services.map((s) => serviceView(s, index)),
    policies: world.policies.map(policyView),
  })
}

export function sorted({ workloads, services, policies }: ZtunnelView): ZtunnelView {
  const by = (list: readonly Json[], ...keys: string[]) =>
    [...list].sort((a, b) => (keys.map((k) => a[k]).join(' ') < keys.map((k) => b[k]).join(' ') ? -1 : 1))
  return {
    workloads: by(
      workloads.map((w) => ('services' in w ? { ...w, services: [...(w['services'] as string[])].sort() } : w)),
      'uid',
    ),
    services: by(services, 'namespace', 'hostname'),
    policies: by(policies, 'namespace', 'name'),
  }
}

function workloadView(w: Workload): Json {
  return {
    uid: w.uid,
    name: w.name,
    namespace: w.namespace,
    serviceAccount: w.serviceAccount,
    trustDomain: w.trustDomain,
    workloadIps: w.addresses,
    ...some('network', w.network),
    ...some('hostname', w.hostname),
    protocol: w.protocol,
    networkMode: w.networkMode === 'HOST_NETWORK' ? 'HostNetwork' : 'Standard',
    status: w.healthy ? 'Healthy' : 'Unhealthy',
    capacity: w.capacity,
    clusterId: w.clusterId,
    ...some('node', w.node),
    ...(w.locality.region === '' && w.locality.zone === '' && w.locality.subzone === '' ? {} : { locality: w.locality }),
    canonicalName: w.canonicalName,
    canonicalRevision: w.canonicalRevision,
    workloadName: w.workloadName,
    workloadType: w.workloadType,
    ...(w.authorizationPolicies.length === 0 ? {} : { authorizationPolicies: w.authorizationPolicies }),
    ...(w.services.length === 0 ? {} : { services: w.services.map((s) => s.service) }),
    ...gateway('waypoint', w.waypoint),
    ...gateway('networkGateway', w.networkGateway),
  }
}

/** ztunnel does not keep endpoints that nothing may be sent to. */
function serviceView(s: MeshService, index: MeshIndex): Json {
  const endpoints = index.serviceByKey(serviceKey(s))?.endpoints ?? []
  return {
    name: s.name,
    namespace: s.namespace,
    hostname: s.hostname,
    vips: s.vips.map((v) => `${v.network}/${v.address}`),
    ports: portView(s.ports),
    endpoints: Object.fromEntries(
      endpoints
        .filter((e) => e.healthy)
        .map(({ workload: { uid }, ports }) => [uid, { workloadUid: uid, port: Object.fromEntries(ports), status: 'Healthy' }]),
    ),
    subjectAltNames: s.subjectAltNames,
    canonical: s.canonical,
    visibility: s.visibility === 'PUBLIC' ? 'Public' : 'Namespace',
    ...(s.loadBalancing === null
      ? {}
      : {
          loadBalancer: {
            healthPolicy: s.loadBalancing.healthPolicy === 'ONLY_HEALTHY' ? 'OnlyHealthy' : 'AllowAll',
            mode: capital(s.loadBalancing.mode),
            routingPreferences: s.loadBalancing.scopes.map(capital),
          },
        }),
    ...gateway('waypoint', s.waypoint),
  }
}

function policyView(p: Authorization): Json {
  const scopes = { GLOBAL: 'Global', NAMESPACE: 'Namespace', WORKLOAD_SELECTOR: 'WorkloadSelector' }
  return {
    name: p.name,
    namespace: p.namespace,
    scope: scopes[p.scope],
    action: capital(p.action),
    dryRun: p.dryRun,
    rules: p.rules.map((r) => r.clauses.map((c) => c.matches.map(matchView))),
  }
}

function matchView({ origin: _, ...attributes }: AuthorizationMatch): Json {
  const view: Json = {}
  for (const [field, list] of Object.entries(attributes)) {
    if (list.length === 0) continue
    view[field] = list.map((item: unknown) => {
      if (typeof item !== 'object' || item === null) return item
      if ('kind' in item) return textView(item as StringMatch)
      const { address, length } = item as { address: string; length: number }
      return address === undefined ? item : `${address}/${length}`
    })
  }
  return view
}

function textView(m: StringMatch): Json {
  return m.kind === 'presence' ? { Presence: [] } : { [capital(m.kind)]: m.value }
}

function gateway(field: string, address: GatewayAddress | null): Json {
  if (address === null) return {}
  const { destination: d, hboneMtlsPort } = address
  const destination = d.kind === 'address' ? `${d.network}/${d.address}` : `${d.namespace}/${d.hostname}`
  return { [field]: { destination, hboneMtlsPort } }
}

function portView(ports: readonly PortMapping[]): Json {
  return Object.fromEntries(ports.map((p) => [p.servicePort, p.targetPort]))
}

function some(field: string, value: string): Json {
  return value === '' ? {} : { [field]: value }
}

function capital(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase()
}

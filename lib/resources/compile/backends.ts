// Who answers for a port of a service: endpoint slices, inline endpoints, and the workloads that a selector picks.
import type { EndpointWorkload, Locality } from '../../state/cluster.ts'
import type { HealthCheck } from '../../state/health-check.ts'
import type { Origin } from '../../state/origin.ts'
import type { ResourceObject } from '../resource-object.ts'
import type { ServicePortSpec } from '../schema/service.ts'
import type { WorkloadEntrySpec } from '../schema/workload-entry.ts'
import { hasLabels } from './host-names.ts'
import { knownRegions, parseLocality, podLocality, type Regions, withTopology } from './topology.ts'
import { WorkloadGroups } from './workload-groups.ts'
import type { World } from './world.ts'

/** An endpoint with the labels that subsets ask for, those of its place among them. */
export interface Backend {
  /** IP address or, with DNS resolution, a name. */
  readonly address: string
  readonly port: number
  readonly weight: number
  readonly locality: Locality
  readonly labels: Readonly<Record<string, string>>
  readonly workload: EndpointWorkload
  readonly namespace: string
  /** Who it runs as; empty: not known. */
  readonly serviceAccount: string
  /** It takes mutual TLS of the mesh (istiod tlsMode). */
  readonly hasSidecar: boolean
  /** Of its WorkloadGroup; null: none. */
  readonly healthCheck: HealthCheck | null
  readonly origin: Origin
}

type Labels = Readonly<Record<string, string>>

const UNKNOWN: EndpointWorkload = {
  workload: '',
  namespace: '',
  app: '',
  version: '',
  canonicalService: '',
  canonicalRevision: '',
  cluster: '',
}
/** Label that the injection of a sidecar writes. */
const TLS_MODE = 'security.istio.io/tlsMode'
const MUTUAL = 'istio'
const NOWHERE: Locality = { region: '', zone: '', subzone: '' }

/** Slices, pods and workload entries, indexed once for a compilation. */
export class Workloads {
  readonly entries: readonly ResourceObject<'WorkloadEntry'>[]
  readonly pods: readonly ResourceObject<'Pod'>[]
  readonly groups: WorkloadGroups
  /** Those that some service selected. */
  readonly selected: Set<ResourceObject>
  readonly regions: Regions
  private readonly slices: Map<string, ResourceObject<'EndpointSlice'>[]>
  private readonly podsByName: Map<string, ResourceObject<'Pod'>>
  private readonly podsByIp: Map<string, ResourceObject<'Pod'>>

  constructor(world: World) {
    this.entries = world.objects('WorkloadEntry')
    this.pods = world.objects('Pod')
    this.groups = new WorkloadGroups(world)
    this.selected = new Set()
    this.regions = knownRegions(world)
    this.slices = new Map()
    this.podsByName = new Map()
    this.podsByIp = new Map()
    for (const pod of this.pods) {
      this.podsByName.set(`${pod.namespace}/${pod.name}`, pod)
      for (const ip of podIps(pod)) if (!this.podsByIp.has(ip)) this.podsByIp.set(ip, pod)
    }
    for (const slice of world.objects('EndpointSlice')) {
      const service = `${slice.namespace}/${slice.labels['kubernetes.io/service-name'] ?? ''}`
      this.slices.set(service, [...(this.slices.get(service) ?? []), slice])
    }
  }

  slicesOf(service: ResourceObject<'Service'>): readonly ResourceObject<'EndpointSlice'>[] {
    return this.slices.get(`${service.namespace}/${service.name}`) ?? []
  }

  /** Name of the node on which the pod with this address runs; empty: not known. */
  nodeAt(ip: string): string {
    return nodeOf(this.podsByIp.get(ip))
  }

  pod(namespace: string, name: string, ip: string): ResourceObject<'Pod'> | undefined {
    return this.podsByName.get(`${namespace}/${name}`) ?? this.podsByIp.get(ip)
  }
}

/** Of a Kubernetes service: ready endpoints of its slices, workload entries that its selector picks, or its external name. */
export function serviceBackends(workloads: Workloads, service: ResourceObject<'Service'>, port: ServicePortSpec): Backend[] {
  const spec = service.spec
  if (spec.type === 'ExternalName') {
    const origin = service.origin(['externalName'])
    return [
      {
        address: spec.externalName ?? '',
        port: port.port,
        weight: 1,
        locality: NOWHERE,
        labels: {},
        workload: UNKNOWN,
        ...stranger(service.namespace),
        healthCheck: null,
        origin,
      },
    ]
  }
  const all = spec.publishNotReadyAddresses === true
  const backends = workloads.slicesOf(service).flatMap((slice) => {
    workloads.selected.add(slice)
    return sliceBackends(workloads, slice, service, port, all)
  })
  const selector = spec.selector ?? {}
  if (Object.keys(selector).length === 0) return backends
  for (const entry of workloads.entries) {
    if (entry.namespace !== service.namespace || !hasLabels(entryLabels(entry), selector)) continue
    workloads.selected.add(entry)
    const target = typeof port.targetPort === 'number' ? port.targetPort : port.port
    backends.push(
      entryBackend(
        entry.spec,
        entry.spec.ports?.[port.name ?? ''] ?? target,
        entry.namespace,
        entry.name,
        entryLabels(entry),
        workloads.groups.checkFor(entry),
        entry.origin(),
      ),
    )
  }
  return backends
}

interface EntryPort {
  readonly number: number
  readonly name: string
  readonly targetPort: number
}

/** Of a service entry: its endpoints, what its selector picks, or with DNS the host itself. */
export function entryBackends(
  world: World,
  workloads: Workloads,
  object: ResourceObject<'ServiceEntry'>,
  port: EntryPort,
  hostname: string,
): Backend[] {
  const spec = object.spec
  const target = port.targetPort === 0 ? port.number : port.targetPort
  if (spec.workloadSelector !== undefined) return selectedBackends(workloads, object, port, target)
  const endpoints = spec.endpoints ?? []
  if (endpoints.length === 0 && (spec.resolution ?? 'NONE').startsWith('DNS')) {
    const nothing = { weight: 1, locality: NOWHERE, labels: {}, workload: UNKNOWN, healthCheck: null }
    const whose = stranger(object.namespace)
    return [{ address: hostname, port: target, ...nothing, ...whose, origin: object.origin(['hosts']) }]
  }
  return endpoints.flatMap((endpoint, i) => {
    if (unusable(world, object, ['endpoints', i], endpoint)) return []
    const at = endpoint.ports?.[port.name] ?? target
    return [entryBackend(endpoint, at, object.namespace, '', endpoint.labels ?? {}, null, object.origin(['endpoints', i]))]
  })
}

function unusable(
  world: World,
  object: ResourceObject,
  path: readonly (string | number)[],
  endpoint: WorkloadEntrySpec,
): boolean {
  const address = endpoint.address ?? ''
  if (address !== '') return false
  world.verdicts.partly(object, path, 'endpoints behind the gateway of another network are not carried out yet: left out')
  return true
}

function selectedBackends(
  workloads: Workloads,
  object: ResourceObject<'ServiceEntry'>,
  port: EntryPort,
  target: number,
): Backend[] {
  const wanted = object.spec.workloadSelector?.labels ?? {}
  const backends: Backend[] = []
  for (const entry of workloads.entries) {
    const address = entry.spec.address ?? ''
    if (entry.namespace !== object.namespace || !hasLabels(entryLabels(entry), wanted)) continue
    workloads.selected.add(entry)
    if (address === '') continue
    backends.push(
      entryBackend(
        entry.spec,
        entry.spec.ports?.[port.name] ?? target,
        entry.namespace,
        entry.name,
        entryLabels(entry),
        workloads.groups.checkFor(entry),
        entry.origin(),
      ),
    )
  }
  for (const pod of workloads.pods) {
    const ip = podIps(pod)[0]
    if (ip === undefined || pod.namespace !== object.namespace || !hasLabels(pod.labels, wanted)) continue
    backends.push(podBackend(workloads, pod, ip, target))
  }
  return backends
}

/** A workload as it is reached when it is dialled itself: at each of its addresses, at any port (0). */
export function directBackends(workloads: Workloads, object: ResourceObject<'Pod'> | ResourceObject<'WorkloadEntry'>): Backend[] {
  if (object.kind === 'Pod') return podIps(object).map((ip) => podBackend(workloads, object, ip, 0))
  return [entryBackend(object.spec, 0, object.namespace, object.name, entryLabels(object), null, object.origin())]
}

function podBackend(workloads: Workloads, pod: ResourceObject<'Pod'>, address: string, port: number): Backend {
  const workload = workloadOf(podWorkload(pod), pod.namespace, pod.labels)
  const locality = podLocality(pod.labels, {}, '', workloads.regions)
  const labels = withTopology(pod.labels, locality, nodeOf(pod), '')
  const whose = podIdentity(pod)
  return { address, port, weight: 1, locality, labels, workload, ...whose, healthCheck: null, origin: pod.origin() }
}

function sliceBackends(
  workloads: Workloads,
  slice: ResourceObject<'EndpointSlice'>,
  service: ResourceObject<'Service'>,
  port: ServicePortSpec,
  notReady: boolean,
): Backend[] {
  const ports = slice.spec.ports ?? []
  const named = ports.find((p) => (p.name ?? '') === (port.name ?? '') && (p.protocol ?? 'TCP') === (port.protocol ?? 'TCP'))
  // Written by hand, a single port is often left without the name that the controller would give it.
  const found = named ?? (ports.length === 1 && service.spec.ports?.length === 1 ? ports[0] : undefined)
  if (found?.port === undefined) return []
  const at = found.port
  return (slice.spec.endpoints ?? []).flatMap((endpoint, i): Backend[] => {
    // Unknown counts as ready (EndpointConditions). Of several addresses consumers take the first only.
    const address = endpoint.addresses[0]
    if (address === undefined || (endpoint.conditions?.ready === false && !notReady)) return []
    const ref = endpoint.targetRef
    const pod = workloads.pod(ref?.namespace ?? slice.namespace, ref?.name ?? '', address)
    const own = pod?.labels ?? {}
    const name = pod === undefined ? (ref?.name ?? '') : podWorkload(pod)
    const topology = endpoint.deprecatedTopology ?? {}
    const locality = podLocality(own, topology, endpoint.zone ?? '', workloads.regions)
    const node = endpoint.nodeName ?? nodeOf(pod)
    const labels = withTopology(own, locality, node, '')
    const workload = workloadOf(name, pod?.namespace ?? slice.namespace, own)
    const origin = slice.origin(['endpoints', i])
    const whose = pod === undefined ? stranger(slice.namespace) : podIdentity(pod)
    return [{ address, port: at, weight: 1, locality, labels, workload, ...whose, healthCheck: null, origin }]
  })
}

const UNIX = 'unix://'

function entryBackend(
  entry: WorkloadEntrySpec,
  port: number,
  namespace: string,
  name: string,
  labels: Labels,
  healthCheck: HealthCheck | null,
  origin: Origin,
): Backend {
  const locality = parseLocality(entry.locality ?? '')
  const weight = entry.weight === undefined || entry.weight === 0 ? 1 : entry.weight
  const workload = workloadOf(name === '' ? (labels['app'] ?? '') : name, namespace, labels)
  const placed = withTopology(labels, locality, '', entry.network ?? '')
  const serviceAccount = entry.serviceAccount ?? ''
  const tlsMode = labels[TLS_MODE] ?? (serviceAccount === '' ? '' : MUTUAL)
  const whose = { namespace, serviceAccount, hasSidecar: tlsMode === MUTUAL }
  const written = entry.address ?? ''
  const isPath = written.startsWith(UNIX)
  const at = { address: isPath ? written.slice(UNIX.length) : written, port: isPath ? 0 : port }
  return { ...at, weight, locality, labels: placed, workload, ...whose, healthCheck, origin }
}

type Whose = Pick<Backend, 'namespace' | 'serviceAccount' | 'hasSidecar'>

function stranger(namespace: string): Whose {
  return { namespace, serviceAccount: '', hasSidecar: false }
}

/** Kubernetes gives a pod without a service account that of its namespace. */
function podIdentity(pod: ResourceObject<'Pod'>): Whose {
  const serviceAccount = pod.spec.spec?.serviceAccountName || 'default'
  return { namespace: pod.namespace, serviceAccount, hasSidecar: pod.labels[TLS_MODE] === MUTUAL }
}

/** Labels of the spec win over those of the metadata. */
function entryLabels(entry: ResourceObject<'WorkloadEntry'>): Labels {
  return { ...entry.labels, ...(entry.spec.labels ?? {}) }
}

function nodeOf(pod: ResourceObject<'Pod'> | undefined): string {
  return pod?.spec.spec?.nodeName ?? ''
}

function podIps(pod: ResourceObject<'Pod'>): string[] {
  const status = pod.spec.status
  const ips = (status?.podIPs ?? []).flatMap((p) => (p.ip === undefined ? [] : [p.ip]))
  return ips.length > 0 ? ips : status?.podIP === undefined ? [] : [status.podIP]
}

/** A pod's name without what its Deployment and ReplicaSet appended; a pod on its own is its own workload. */
function podWorkload(pod: ResourceObject<'Pod'>): string {
  const hash = pod.labels['pod-template-hash']
  const at = hash === undefined ? -1 : pod.name.lastIndexOf(`-${hash}-`)
  return at > 0 ? pod.name.slice(0, at) : pod.name
}

/** Istio standard labels. Without a name and labels nothing is known. */
function workloadOf(name: string, namespace: string, labels: Labels): EndpointWorkload {
  const app = labels['app'] ?? ''
  // Somebody outside of the mesh: nothing is known, not even a namespace.
  if (name === '' && Object.keys(labels).length === 0) return UNKNOWN
  const version = labels['version'] ?? ''
  const canonical = labels['service.istio.io/canonical-name'] ?? labels['app.kubernetes.io/name'] ?? (app === '' ? name : app)
  const revision =
    labels['service.istio.io/canonical-revision'] ?? labels['app.kubernetes.io/version'] ?? (version === '' ? 'latest' : version)
  return {
    workload: name,
    namespace,
    app,
    version,
    canonicalService: canonical,
    canonicalRevision: canonical === '' ? '' : revision,
    cluster: '',
  }
}

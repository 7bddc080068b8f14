// Valid objects down to a Snapshot, as istiod compiles them for the outbound side of one sidecar.
import type { BootstrapConfig } from '../../state/bootstrap-config.ts'
import type { ResourceNote, Snapshot } from '../../state/snapshot.ts'
import { EMPTY_WORLD } from '../../state/workload-world.ts'
import type { Credential } from '../../transport/secrets.ts'
import type { ResourceObject } from '../resource-object.ts'
import { noteUnknownAnnotations } from './annotations.ts'
import { Workloads } from './backends.ts'
import { inboundCapture } from './capture/inbound-listeners.ts'
import { outboundCapture } from './capture/outbound-listeners.ts'
import { noteClaimRoutes } from './claim-notes.ts'
import { buildClusters } from './clusters.ts'
import { noteMissingDestinations, noteMissingTcpDestinations, noteWrongPorts } from './destination-check.ts'
import { noteDestinationRule } from './destination-notes.ts'
import { assignRules } from './destination-rules.ts'
import { EndpointTunnels } from './endpoint-tunnels.ts'
import { credentialsOf } from './gateway/credentials.ts'
import { type GatewayListeners, gatewayListeners } from './gateway/gateway-listeners.ts'
import { type GatewaySource, istioServers } from './gateway/istio-servers.ts'
import { sniClusters } from './gateway/sni-passthrough.ts'
import { DestinationHashes } from './hash-policies.ts'
import { unusedHealthChecks, withHealthChecks } from './health-checks.ts'
import { heldBackRetries } from './held-back-retries.ts'
import { buildListeners } from './listeners.ts'
import { MeshMtls } from './mesh-mtls.ts'
import { noteHttpRules } from './not-carried-out.ts'
import { idleDetections } from './outlier-detection.ts'
import { notePeerAuthentications } from './peer-authentications.ts'
import { isHttp } from './protocol.ts'
import { buildRegistry, domainsOf, type Registry, type RegistryService } from './registry.ts'
import { type BuiltTables, buildRouteTables, noteLosses, type Placement } from './route-tables.ts'
import { noteUnreachable } from './routes.ts'
import { isBoundToGateway, isBoundToMesh, selectVirtualServices, type VirtualServiceRules } from './rules.ts'
import { withDestinations } from './sidecar-scope.ts'
import { tlsMismatches } from './tls-notes.ts'
import { Verdicts } from './verdicts.ts'
import { rulesOfOwners } from './waypoint/rules.ts'
import { WaypointUsers } from './waypoint/users.ts'
import { NO_WAYPOINT, waypointListeners } from './waypoint/waypoint-listeners.ts'
import { World } from './world.ts'

export interface Compiled {
  readonly snapshot: Snapshot
  readonly verdicts: Verdicts
  readonly notes: readonly ResourceNote[]
  /** What the Secrets that the snapshot names hold. */
  readonly credentials: readonly Credential[]
}

/** `objects`: one of each identity. */
export function compile(bootstrap: BootstrapConfig, objects: readonly ResourceObject[], version: number): Compiled {
  const verdicts = new Verdicts()
  const world = new World(bootstrap, objects, verdicts)
  const workloads = new Workloads(world)
  const all = buildRegistry(world, workloads)
  const users = new WaypointUsers(world)
  const served = world.servesOthers ? users.services(all) : []
  const registry = world.servesOthers ? new Map(served.map((s) => [s.hostname, s])) : world.scope.visible(world, all)
  const rulesOfAll = selectVirtualServices(world)
  const virtualServices = meshRules(world, served, rulesOfAll)
  const reachable = withDestinations(world, all, registry, world.servesOthers ? virtualServices : rulesOfAll)
  if (world.isGateway) for (const service of reachable.values()) noteOnlyPort(world, service)
  const rules = assignRules(world, reachable)
  const hashes = new DestinationHashes(world, rules)
  const extraPorts = bootstrap.listeners
    .filter((l) => l.direction === 'outbound' && l.protocol === 'http' && l.destinationPort !== 0)
    .map((l) => l.destinationPort)
  const tables = world.servesMesh ? buildRouteTables(world, registry, virtualServices, extraPorts, hashes) : NO_TABLES
  const gateway = buildGateway(world, rulesOfAll, { hashes, registry: reachable, rules })
  const mtls = new MeshMtls(world)
  const tunnels = new EndpointTunnels(world, workloads)
  const source = { world, virtualServices, hashes }
  const outbound = outboundCapture(source, registry, tables.tables)
  const waypoint = world.servesOthers
    ? waypointListeners(source, served, tables.tables, tunnels.direct(users.workloads()))
    : NO_WAYPOINT
  const inbound = inboundCapture(world, all)
  const listeners = buildListeners(world, registry, virtualServices, hashes, inbound.clusters)
  const meshClusters = buildClusters({ world, workloads, registry: reachable, rules, mtls, tunnels, served })
  const clusters = withHealthChecks(world, [
    ...meshClusters,
    ...sniClusters(gateway.listeners, meshClusters),
    ...inbound.clusters,
    ...waypoint.clusters,
    ...listeners.clusters,
  ])
  noteLosses(world, tables, virtualServices)
  noteMissingDestinations(world, reachable, clusters, [...tables.placements, ...gateway.placements])
  noteMissingTcpDestinations(
    world,
    reachable,
    rulesOfAll.map((v) => v.object),
  )
  noteWrongPorts(world, tables.placements)
  for (const rule of world.objects('DestinationRule')) noteDestinationRule(world, rule)
  noteUnknownAnnotations(verdicts, objects)
  for (const virtualService of rulesOfAll) noteVirtualService(world, virtualService)
  noteWorkloads(world, workloads)
  world.authentications.note()
  world.authorizations.note()
  world.gatewayApi.note()
  notePeerAuthentications(world, [...inbound.policies, ...listeners.policies, ...mtls.asked])
  const snapshot: Snapshot = {
    version,
    listeners: [...outbound.listeners, ...inbound.listeners, ...gateway.listeners, ...waypoint.listeners, ...listeners.listeners],
    routeTables: [
      ...tables.tables,
      ...outbound.tables,
      ...inbound.tables,
      ...gateway.tables,
      ...waypoint.tables,
      ...listeners.tables,
    ],
    defaultPorts: defaultPorts(world, registry),
    clusters,
    world: EMPTY_WORLD,
  }
  const notes = [
    ...unusedHealthChecks(world, clusters),
    ...idleDetections(clusters),
    ...tlsMismatches(world, mtls, reachable, rules),
    ...heldBackRetries(snapshot.routeTables, clusters),
    ...world.authentications.notes(),
    ...world.authorizations.notes(),
  ]
  return { snapshot, verdicts, notes, credentials: credentialsOf(world, snapshot) }
}

const NO_TABLES: BuiltTables = { tables: [], placements: [], losses: new Map() }

interface BuiltGateway extends GatewayListeners {
  readonly placements: readonly Placement[]
}

function buildGateway(
  world: World,
  bound: readonly VirtualServiceRules[],
  destinations: Pick<GatewaySource, 'hashes' | 'registry' | 'rules'>,
): BuiltGateway {
  if (!world.isGateway) {
    for (const gateway of world.objects('Gateway')) world.verdicts.waiting(gateway, 'waiting for a proxy with `role: gateway`')
    return { listeners: [], tables: [], placements: [] }
  }
  const placements: Placement[] = []
  const virtualServices = bound.filter(({ object }) => isBoundToGateway(object))
  const servers = istioServers({ world, virtualServices, ...destinations, placements })
  return { ...gatewayListeners(world, servers), placements }
}

function noteOnlyPort({ onlyPorts }: World, { hostname, ports }: RegistryService): void {
  const [first] = ports
  if (first !== undefined && ports.length === 1) onlyPorts.set(hostname, first.number)
}

/** Those that hold for connections within the mesh. */
function meshRules(world: World, served: readonly RegistryService[], all: readonly VirtualServiceRules[]): VirtualServiceRules[] {
  if (!world.servesMesh) return []
  const bound = all.filter(({ object }) => isBoundToMesh(object))
  return world.servesOthers ? rulesOfOwners(world, served, bound) : bound
}

/** The service's only or first HTTP port, for each of its domains; the first service keeps a domain. */
function defaultPorts(world: World, registry: Registry): [string, number][] {
  const ports = new Map<string, number>()
  for (const service of registry.values()) {
    const http = service.ports.find((p) => isHttp(p.protocol))
    if (http === undefined) continue
    for (const domain of domainsOf(service, world).domains) if (!ports.has(domain)) ports.set(domain, http.number)
  }
  return [...ports]
}

function noteVirtualService(world: World, rules: VirtualServiceRules): void {
  noteUnreachable(world, rules)
  const { object } = rules
  if (!world.capturesOutbound && !world.isGateway && !world.servesOthers) {
    const why =
      'has no effect: nothing is captured (`capture` of heddle.yaml), and explicit listeners do not route by server name'
    for (const i of (object.spec.tls ?? []).keys()) world.verdicts.partly(object, ['tls', i], why)
  }
  noteHttpRules(world, object)
  noteClaimRoutes(world, rules)
  for (const rule of rules.http) {
    if (rule.actionObject !== object) noteHttpRules(world, rule.actionObject)
    const abort = rule.spec.fault?.abort
    if (abort !== undefined && abort.httpStatus === undefined && abort.grpcStatus === undefined) {
      world.verdicts.partly(
        rule.actionObject,
        [...rule.actionPath, 'fault', 'abort'],
        'the abort names no httpStatus and no grpcStatus: nothing is aborted',
      )
    }
  }
}

function noteWorkloads(world: World, workloads: Workloads): void {
  workloads.groups.note()
  for (const slice of world.objects('EndpointSlice')) {
    if (workloads.selected.has(slice)) continue
    const name = slice.labels['kubernetes.io/service-name']
    const wanted =
      name === undefined ? 'a label kubernetes.io/service-name that names its Service' : `the Service ${slice.namespace}/${name}`
    world.verdicts.waiting(slice, `waiting for ${wanted}`)
  }
  for (const entry of world.objects('WorkloadEntry')) {
    if (!workloads.selected.has(entry))
      world.verdicts.waiting(
        entry,
        `waiting for a ServiceEntry or Service in \`${entry.namespace}\` whose selector picks its labels`,
      )
  }
}

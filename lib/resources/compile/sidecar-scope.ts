// What the workload's Sidecar lets it see: which services, which rules, and whether hosts that nobody declared are let through
// (Istio Sidecar). Without a Sidecar everything that is exported to the workload.
import { identityText, type ResourceObject } from '../resource-object.ts'
import { covers, hasLabels, resolveHost } from './host-names.ts'
import type { Registry, RegistryService } from './registry.ts'
import type { VirtualServiceRules } from './rules.ts'
import type { World } from './world.ts'

type Sidecar = ResourceObject<'Sidecar'>

/** `namespace/host` of an egress entry. */
interface Import {
  /** `*`: any. */
  readonly namespace: string
  /** Lower case; `*` or `*.suffix`: a wildcard. */
  readonly host: string
  /** The others without these. */
  readonly except: boolean
}

interface Egress {
  /** 0: every port that no other entry is for. */
  readonly port: number
  readonly imports: readonly Import[]
}

export class SidecarScope {
  /** null: none holds for this workload. */
  readonly object: Sidecar | null
  /** Of the Sidecar, else of the mesh. */
  readonly outboundTrafficPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY'
  private readonly egress: readonly Egress[]

  constructor(world: World) {
    this.object = select(world)
    this.egress = this.object === null ? [] : egressOf(this.object, world.client.namespace)
    const policy = this.object?.spec.outboundTrafficPolicy
    // The API's zero value is REGISTRY_ONLY.
    if (policy === undefined) this.outboundTrafficPolicy = world.bootstrap.mesh.outboundTrafficPolicy
    else this.outboundTrafficPolicy = (policy.mode ?? 'REGISTRY_ONLY') === 'REGISTRY_ONLY' ? 'REGISTRY_ONLY' : 'ALLOW_ANY'
    if (this.object !== null) noteNotCarriedOut(world, this.object)
  }

  /** Whether rules of `namespace` for one of `hosts` are seen. */
  importsRules(namespace: string, hosts: readonly string[]): boolean {
    if (this.egress.length === 0) return true
    return this.egress.some(({ imports }) => hosts.some((host) => isImported(imports, namespace, host, true)))
  }

  /** The services that the workload may name, each with the ports on which it may. Says of the others why they are not seen. */
  visible(world: World, registry: Registry): Registry {
    if (this.egress.length === 0) return registry
    const seen = new Map<string, RegistryService>()
    const hidden = new Map<RegistryService['object'], string[]>()
    for (const [hostname, service] of registry) {
      const ports = service.ports.filter((p) => this.importsService(service, p.number))
      if (ports.length > 0) seen.set(hostname, ports.length === service.ports.length ? service : { ...service, ports })
      else hidden.set(service.object, [...(hidden.get(service.object) ?? []), hostname])
    }
    for (const [object, hosts] of hidden) this.noteHidden(world, object, hosts)
    return seen
  }

  private importsService(service: RegistryService, port: number): boolean {
    const entry = this.egress.find((e) => e.port === port) ?? this.egress.find((e) => e.port === 0)
    return entry !== undefined && isImported(entry.imports, service.namespace, service.hostname, false)
  }

  private noteHidden(world: World, object: RegistryService['object'], hosts: readonly string[]): void {
    const sidecar = this.object as Sidecar
    const by = `${identityText(sidecar)} (${sidecar.source.file}:${sidecar.origin().line})`
    const all = object.kind === 'Service' || hosts.length === (object.spec.hosts?.length ?? 0)
    if (all) world.verdicts.waiting(object, `waiting to be imported: ${by} lists ${hosts.join(', ')} in no egress entry`)
    else world.verdicts.partly(object, ['hosts'], `${by} lists ${hosts.join(', ')} in no egress entry`)
  }
}

/** `visible`, and what its rules name as a destination: such a service can be reached by the rule only, not by its own name. */
export function withDestinations(
  world: World,
  registry: Registry,
  visible: Registry,
  virtualServices: readonly VirtualServiceRules[],
): Registry {
  if (visible === registry) return registry
  const names = new Set(visible.keys())
  const add = (host: string, namespace: string) => names.add(resolveHost(host, namespace, world.domain))
  for (const { object, http } of virtualServices) {
    for (const { spec, actionObject } of http) {
      const mirrors = [spec.mirror, ...(spec.mirrors ?? []).map((m) => m.destination)]
      for (const { destination } of spec.route ?? []) add(destination.host, actionObject.namespace)
      for (const mirror of mirrors) if (mirror !== undefined) add(mirror.host, actionObject.namespace)
    }
    for (const rule of object.spec.tcp ?? [])
      for (const { destination } of rule.route ?? []) add(destination.host, object.namespace)
  }
  return new Map([...registry].filter(([hostname]) => names.has(hostname)))
}

/** One that selects the workload, else one for its whole namespace, else the mesh's; of several the oldest. */
function select(world: World): Sidecar | null {
  if (world.isGateway) {
    for (const sidecar of world.objects('Sidecar'))
      world.verdicts.waiting(sidecar, 'not for gateways, which see all that is exported to them')
    return null
  }
  const { namespace, labels } = world.client
  const all = world.objects('Sidecar')
  const selectorOf = (s: Sidecar) => s.spec.workloadSelector?.labels ?? null
  const own = all.filter((s) => s.namespace === namespace)
  const found =
    own.find((s) => selectorOf(s) !== null && hasLabels(labels, selectorOf(s) ?? {})) ??
    own.find((s) => selectorOf(s) === null) ??
    all.find((s) => s.namespace === world.rootNamespace && selectorOf(s) === null) ??
    null
  for (const sidecar of all) if (sidecar !== found) noteUnused(world, sidecar, found)
  return found
}

function noteUnused(world: World, sidecar: Sidecar, found: Sidecar | null): void {
  const { namespace, labels } = world.client
  const selector = sidecar.spec.workloadSelector?.labels
  const elsewhere = sidecar.namespace !== namespace && (sidecar.namespace !== world.rootNamespace || selector !== undefined)
  if (elsewhere) world.verdicts.waiting(sidecar, `waiting for a workload of its namespace; this one is in \`${namespace}\``)
  else if (selector !== undefined && !hasLabels(labels, selector))
    world.verdicts.waiting(sidecar, 'waiting for a workload with the labels of its workloadSelector; this one has others')
  else if (found !== null) {
    const why = found.namespace === sidecar.namespace ? 'which comes first for this workload' : 'which is nearer to this workload'
    world.verdicts.shadowed(sidecar, `shadowed by ${identityText(found)}, ${why}`)
  }
}

function egressOf(sidecar: Sidecar, own: string): Egress[] {
  return (sidecar.spec.egress ?? []).map(({ port, hosts }) => ({
    port: port?.number ?? 0,
    imports: (hosts ?? []).flatMap((text): Import[] => {
      const slash = text.indexOf('/')
      const written = text.slice(0, slash)
      if (written === '~') return []
      const except = written.startsWith('~')
      const namespace = except ? written.slice(1) : written
      return [{ namespace: namespace === '.' ? own : namespace, host: text.slice(slash + 1).toLowerCase(), except }]
    }),
  }))
}

/** `either`: a wildcard may stand on either side, as for the hosts of rules. */
function isImported(imports: readonly Import[], namespace: string, host: string, either: boolean): boolean {
  const fits = (i: Import) =>
    (i.namespace === '*' || i.namespace === namespace) &&
    (i.host === '*' || covers(i.host, host) || (either && covers(host, i.host)))
  return imports.some((i) => !i.except && fits(i)) && !imports.some((i) => i.except && fits(i))
}

function noteNotCarriedOut(world: World, sidecar: Sidecar): void {
  const { ingress, egress, inboundConnectionPool, outboundTrafficPolicy } = sidecar.spec
  const note = (path: readonly (string | number)[], reason: string) => world.verdicts.partly(sidecar, path, reason)
  const { mode } = world.bootstrap.capture
  if (ingress !== undefined && ingress.length > 0 && mode === 'none')
    note(
      ['ingress'],
      'has no effect: nothing is captured (`capture` of heddle.yaml), and listeners are those that heddle.yaml names',
    )
  for (const [i, entry] of (egress ?? []).entries()) {
    if (entry.bind !== undefined) note(['egress', i, 'bind'], 'listeners are those that heddle.yaml names: no address is bound')
    if (entry.captureMode === 'IPTABLES' && mode === 'none')
      note(['egress', i, 'captureMode'], 'has no effect: nothing is captured (`capture` of heddle.yaml)')
  }
  if (inboundConnectionPool !== undefined) note(['inboundConnectionPool'], 'limits for inbound traffic are not carried out yet')
  if (outboundTrafficPolicy?.egressProxy !== undefined)
    note(['outboundTrafficPolicy', 'egressProxy'], 'an egress proxy is not carried out yet: unknown hosts are passed on directly')
}

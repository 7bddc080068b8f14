// The services that the client can see, from Service and ServiceEntry objects.
import type { Origin } from '../../state/origin.ts'
import type { ResourceObject } from '../resource-object.ts'
import { type Backend, entryBackends, serviceBackends, type Workloads } from './backends.ts'
import { isExported, resolveHost, shortNames } from './host-names.ts'
import { isHttp, kubernetesProtocol, type Protocol, serviceEntryProtocol } from './protocol.ts'
import type { World } from './world.ts'

/** Where the addresses of a port come from. NONE: the client dials them itself. */
export type Resolution = 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'NONE'

export interface RegistryPort {
  readonly number: number
  readonly name: string
  readonly protocol: Protocol
  readonly resolution: Resolution
  readonly backends: readonly Backend[]
  readonly object: ResourceObject<'Service'> | ResourceObject<'ServiceEntry'>
}

export interface RegistryService {
  /** Lower case, fully qualified; may begin with `*.`. */
  readonly hostname: string
  readonly name: string
  readonly namespace: string
  readonly object: ResourceObject<'Service'> | ResourceObject<'ServiceEntry'>
  readonly origin: Origin
  /** Without a virtual address of its own, so that names of its pods are asked for. */
  readonly headless: boolean
  readonly addresses: readonly string[]
  /** CIDRs of a ServiceEntry: all of their addresses are the service's. */
  readonly ranges: readonly string[]
  readonly ports: RegistryPort[]
}

/** By hostname, in the order of hostnames. */
export type Registry = ReadonlyMap<string, RegistryService>

export function buildRegistry(world: World, workloads: Workloads): Registry {
  const services = new Map<string, RegistryService>()
  for (const object of world.objects('Service')) addService(world, workloads, object, services)
  // The client's own entries before those of others, as its own DestinationRules come first.
  const entries = world.objects('ServiceEntry')
  const own = entries.filter((e) => e.namespace === world.client.namespace)
  for (const object of [...own, ...entries.filter((e) => !own.includes(e))]) addEntry(world, workloads, object, services)
  return new Map([...services].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** Every domain under which the client may ask for the service, in istiod's order. */
export function domainsOf(service: RegistryService, world: World): { domains: string[]; short: string[] } {
  const short = shortNames(service.hostname, world.client.namespace, world.domain)
  const domains = [service.hostname, `${service.hostname}.`, ...short]
  if (service.headless) domains.push(...domains.map((d) => `*.${d}`))
  domains.push(...service.addresses.map((a) => (a.includes(':') ? `[${a}]` : a)))
  return { domains, short }
}

/** The service that a client means with `name`, which may be short, full or an address. */
export function findByDomain(registry: Registry, name: string, world: World): RegistryService | undefined {
  const lower = name.toLowerCase()
  const direct = registry.get(lower) ?? registry.get(resolveHost(lower, world.client.namespace, world.domain))
  if (direct !== undefined) return direct
  for (const service of registry.values()) if (domainsOf(service, world).domains.includes(lower)) return service
  return undefined
}

export function hasHttpPort(service: RegistryService): boolean {
  return service.ports.some((p) => isHttp(p.protocol))
}

function addService(
  world: World,
  workloads: Workloads,
  object: ResourceObject<'Service'>,
  services: Map<string, RegistryService>,
): void {
  const exportTo = (object.annotations['networking.istio.io/exportTo'] ?? '')
    .split(',')
    .map((s) => s.trim())
    .filter((s) => s !== '')
  if (hidden(world, object, exportTo)) return
  const spec = object.spec
  const external = spec.type === 'ExternalName'
  const clusterIps = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP])
  const ports = (spec.ports ?? []).flatMap((port, i): RegistryPort[] => {
    const name = port.name ?? ''
    const protocol = kubernetesProtocol(port.port, name, port.appProtocol ?? '', port.protocol ?? 'TCP')
    if (protocol === 'UDP') {
      world.verdicts.partly(object, ['ports', i], `${port.protocol} is not proxied`)
      return []
    }
    const backends = serviceBackends(workloads, object, port)
    return [{ number: port.port, name, protocol, resolution: external ? 'DNS' : 'STATIC', backends, object }]
  })
  const hostname = `${object.name}.${object.namespace}.svc.${world.domain}`
  services.set(hostname, {
    hostname,
    name: object.name,
    namespace: object.namespace,
    object,
    origin: object.origin(),
    headless: clusterIps[0] === 'None' && !external,
    addresses: clusterIps.filter((ip) => ip !== 'None' && ip !== ''),
    ranges: [],
    ports,
  })
}

function addEntry(
  world: World,
  workloads: Workloads,
  object: ResourceObject<'ServiceEntry'>,
  services: Map<string, RegistryService>,
): void {
  const spec = object.spec
  if (hidden(world, object, spec.exportTo ?? [])) return
  if (spec.resolution === 'DYNAMIC_DNS') {
    world.verdicts.waiting(object, 'resolution DYNAMIC_DNS is not carried out yet: its hosts are unknown')
    return
  }
  const lost: string[] = []
  for (const [i, host] of (spec.hosts ?? []).entries()) {
    const hostname = host.toLowerCase()
    const ports = entryPorts(world, workloads, object, hostname)
    const earlier = services.get(hostname)
    if (earlier === undefined) services.set(hostname, entryService(object, hostname, ports))
    else if (!mergePorts(earlier, object, ports)) {
      lost.push(hostname)
      const by = `${earlier.object.kind} ${earlier.namespace}/${earlier.object.name}`
      if (lost.length === spec.hosts?.length)
        world.verdicts.shadowed(object, `shadowed by ${by}, which declares ${lost.join(', ')} already`)
      else world.verdicts.partly(object, ['hosts', i], `shadowed by ${by}, which declares ${hostname} already`)
    }
  }
}

function hidden(world: World, object: ResourceObject, exportTo: readonly string[]): boolean {
  const visible = isExported(exportTo, object.namespace, world.client.namespace)
  if (!visible)
    world.verdicts.waiting(
      object,
      `waiting for a client that it is exported to (${exportTo.join(', ')}); this workload is in \`${world.client.namespace}\``,
    )
  return !visible
}

/** One host in two entries of one namespace: the ports of the later one are added. False when it brings nothing new. */
function mergePorts(earlier: RegistryService, object: ResourceObject<'ServiceEntry'>, ports: readonly RegistryPort[]): boolean {
  if (earlier.object.kind !== 'ServiceEntry' || earlier.namespace !== object.namespace) return false
  const added = ports.filter((p) => !earlier.ports.some((q) => q.number === p.number))
  earlier.ports.push(...added)
  return added.length > 0
}

function entryService(object: ResourceObject<'ServiceEntry'>, hostname: string, ports: RegistryPort[]): RegistryService {
  return {
    hostname,
    name: hostname,
    namespace: object.namespace,
    object,
    origin: object.origin(),
    headless: false,
    addresses: (object.spec.addresses ?? []).filter((a) => !a.includes('/')),
    ranges: (object.spec.addresses ?? []).filter((a) => a.includes('/')),
    ports,
  }
}

function entryPorts(
  world: World,
  workloads: Workloads,
  object: ResourceObject<'ServiceEntry'>,
  hostname: string,
): RegistryPort[] {
  const spec = object.spec
  const resolution = (spec.resolution ?? 'NONE') as Resolution
  return (spec.ports ?? []).flatMap((port, i): RegistryPort[] => {
    const number = port.number ?? 0
    const name = port.name ?? ''
    const protocol = serviceEntryProtocol(number, name, port.protocol ?? '')
    if (protocol === 'UDP') {
      world.verdicts.partly(object, ['ports', i], 'UDP is not proxied')
      return []
    }
    const backends = entryBackends(world, workloads, object, { number, name, targetPort: port.targetPort ?? 0 }, hostname)
    return [{ number, name, protocol, resolution, backends, object }]
  })
}

// A WorkloadWorld, quick to ask: who has this address, which service has this host name, what are its endpoints. Made anew when
// the world changes, never edited.
import { PrefixSet, parseIp } from '../../base/ip-prefix.ts'
import { type MeshService, serviceKey } from '../../state/mesh-service.ts'
import type { GatewayDestination, NetworkPrefix } from '../../state/network-address.ts'
import type { PortMapping, Workload, WorkloadInfo } from '../../state/workload.ts'
import type { WorkloadWorld } from '../../state/workload-world.ts'
import type { EndpointPicker } from './load-balance.ts'

export interface MeshEndpoint {
  readonly workload: Workload
  /** Service port → port of the workload; these go before the service's own. */
  readonly ports: ReadonlyMap<number, number>
  readonly healthy: boolean
}

/** A service and what the tunnel asks of it. */
export interface IndexedService {
  readonly service: MeshService
  /** Service port → target port; 0: each endpoint has its own. */
  readonly ports: ReadonlyMap<number, number>
  /** Healthy or not, in the order of the world. */
  readonly endpoints: readonly MeshEndpoint[]
  /** By client, then by what it asks for; filled by `pickerOf`. */
  readonly pickers: WeakMap<Workload, Map<string, EndpointPicker>>
}

/** How a service was found by an address. */
export interface ServiceByAddress {
  readonly found: IndexedService
  /** null: the address itself is one of the service's. */
  readonly prefix: NetworkPrefix | null
}

interface PrefixEntry {
  readonly prefix: NetworkPrefix
  readonly set: PrefixSet
  readonly service: IndexedService
}

const NO_SERVICES: readonly IndexedService[] = []

export class MeshIndex {
  readonly world: WorkloadWorld
  readonly #byUid: Map<string, Workload>
  /** By `network/ip`. */
  readonly #byAddress: Map<string, Workload>
  /** By `namespace/service account/name`. */
  readonly #byInfo: Map<string, Workload>
  /** Workloads with a host name, by `namespace/hostname`. */
  readonly #byHostname: Map<string, Workload>
  readonly #services: Map<string, IndexedService>
  readonly #byVip: Map<string, IndexedService[]>
  readonly #byPrefix: PrefixEntry[]
  readonly #byHost: Map<string, IndexedService[]>

  constructor(world: WorkloadWorld) {
    this.world = world
    this.#byUid = new Map()
    this.#byAddress = new Map()
    this.#byInfo = new Map()
    this.#byHostname = new Map()
    this.#services = new Map()
    this.#byVip = new Map()
    this.#byPrefix = []
    this.#byHost = new Map()
    for (const workload of world.workloads) this.#addWorkload(workload)
    const members = membersOf(world.workloads)
    for (const service of world.services) this.#addService(service, members.get(serviceKey(service)) ?? [])
  }

  workloadByUid(uid: string): Workload | null {
    return this.#byUid.get(uid) ?? null
  }

  /** Never one of the host's network, whose address is its node's. */
  workloadByAddress(network: string, ip: string): Workload | null {
    return this.#byAddress.get(`${network}/${ip}`) ?? null
  }

  workloadByInfo({ namespace, serviceAccount, name }: WorkloadInfo): Workload | null {
    return this.#byInfo.get(`${namespace}/${serviceAccount}/${name}`) ?? null
  }

  /**
   * By an address that stands for it: one that `clientNamespace` sees, the client's own first, then a canonical one, then the
   * first; an address before a prefix. Of prefixes the client's namespace first, then the longest. `clientNamespace` null: all
   * are seen and none is nearer.
   */
  serviceByVip(network: string, ip: string, clientNamespace: string | null): ServiceByAddress | null {
    const exact = best(this.#byVip.get(`${network}/${ip}`) ?? NO_SERVICES, clientNamespace)
    return exact !== null ? { found: exact, prefix: null } : this.#byPrefixOf(network, ip, clientNamespace)
  }

  /** `hostname` alone may be defined by several namespaces: as `serviceByVip`. */
  serviceByHost(hostname: string, clientNamespace: string): IndexedService | null {
    return best(this.#byHost.get(hostname) ?? NO_SERVICES, clientNamespace)
  }

  /** `namespace/hostname`. */
  serviceByKey(key: string): IndexedService | null {
    return this.#services.get(key) ?? null
  }

  servicesOf(workload: Workload): IndexedService[] {
    const found: IndexedService[] = []
    for (const { service } of workload.services) {
      const indexed = this.#services.get(service)
      if (indexed !== undefined) found.push(indexed)
    }
    return found
  }

  /** What a waypoint or gateway stands at: a service or a workload. Host names are services first. */
  gateway(destination: GatewayDestination, clientNamespace: string | null): IndexedService | Workload | null {
    if (destination.kind === 'hostname') {
      const key = `${destination.namespace}/${destination.hostname}`
      return this.serviceByKey(key) ?? this.#byHostname.get(key) ?? null
    }
    const { network, address } = destination
    return this.workloadByAddress(network, address) ?? this.serviceByVip(network, address, clientNamespace)?.found ?? null
  }

  #addWorkload(workload: Workload): void {
    this.#byUid.set(workload.uid, workload)
    const { namespace, serviceAccount, name, hostname } = workload
    this.#byInfo.set(`${namespace}/${serviceAccount}/${name}`, workload)
    if (hostname !== '') this.#byHostname.set(`${namespace}/${hostname}`, workload)
    if (workload.networkMode === 'HOST_NETWORK') return
    for (const ip of workload.addresses) {
      const key = `${workload.network}/${ip}`
      const other = this.#byAddress.get(key)
      if (other === undefined || trust(workload) >= trust(other)) this.#byAddress.set(key, workload)
    }
  }

  #addService(service: MeshService, members: readonly MeshEndpoint[]): void {
    const listed = service.endpoints.flatMap(({ workloadUid, ports, healthy }): MeshEndpoint[] => {
      const workload = this.#byUid.get(workloadUid)
      return workload === undefined ? [] : [{ workload, ports: portMap(ports), healthy }]
    })
    // What a workload says of itself counts, whatever the service says of it.
    const endpoints = new Map([...listed, ...members].map((e) => [e.workload.uid, e]))
    const indexed: IndexedService = {
      service,
      ports: portMap(service.ports),
      endpoints: [...endpoints.values()],
      pickers: new WeakMap(),
    }
    this.#services.set(serviceKey(service), indexed)
    push(this.#byHost, service.hostname, indexed)
    for (const { network, address } of service.vips) push(this.#byVip, `${network}/${address}`, indexed)
    for (const prefix of service.prefixVips)
      this.#byPrefix.push({ prefix, set: new PrefixSet([prefix.prefix]), service: indexed })
  }

  #byPrefixOf(network: string, ip: string, clientNamespace: string | null): ServiceByAddress | null {
    const number = this.#byPrefix.length === 0 ? null : parseIp(ip)
    if (number === null) return null
    let found: PrefixEntry | null = null
    for (const entry of this.#byPrefix) {
      if (entry.prefix.network !== network || !isVisible(entry.service, clientNamespace) || !entry.set.contains(number)) continue
      if (found === null || isNearer(entry, found, clientNamespace)) found = entry
    }
    return found === null ? null : { found: found.service, prefix: found.prefix }
  }
}

function membersOf(workloads: readonly Workload[]): Map<string, MeshEndpoint[]> {
  const members = new Map<string, MeshEndpoint[]>()
  for (const workload of workloads)
    for (const { service, ports } of workload.services)
      push(members, service, { workload, ports: portMap(ports), healthy: workload.healthy })
  return members
}

function portMap(ports: readonly PortMapping[]): ReadonlyMap<number, number> {
  return new Map(ports.map(({ servicePort, targetPort }) => [servicePort, targetPort]))
}

function push<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}

/** Of several with one address: a pod cannot easily be made up, and what is in the mesh tells more than what is not. */
function trust(workload: Workload): number {
  return (workload.uid.includes('//Pod/') ? 2 : 0) + (workload.protocol === 'HBONE' ? 1 : 0)
}

function isVisible({ service }: IndexedService, clientNamespace: string | null): boolean {
  return clientNamespace === null || service.visibility === 'PUBLIC' || service.namespace === clientNamespace
}

function best(services: readonly IndexedService[], clientNamespace: string | null): IndexedService | null {
  let found: IndexedService | null = null
  for (const candidate of services) {
    if (!isVisible(candidate, clientNamespace)) continue
    if (candidate.service.namespace === clientNamespace) return candidate
    // The last canonical one, as ztunnel has it: no two are expected.
    if (found === null || candidate.service.canonical) found = candidate
  }
  return found
}

function isNearer(a: PrefixEntry, b: PrefixEntry, clientNamespace: string | null): boolean {
  const [own, other] = [a, b].map((e) => e.service.service.namespace === clientNamespace)
  if (own !== other) return own === true
  if (a.prefix.prefix.length !== b.prefix.prefix.length) return a.prefix.prefix.length > b.prefix.prefix.length
  return a.service.service.canonical && !b.service.service.canonical
}

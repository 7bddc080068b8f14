// A WorkloadWorld, quick to ask: who has this address, which service has this host name, what are its endpoints. Kept up with changes, between two events,
// in proportion to what changed; what it answers does not depend on the order in which things came.
import { PrefixSet, parseIp } from '../../base/ip-prefix.ts'
import { serviceKey } from '../../state/mesh-service.ts'
import type { GatewayDestination, NetworkPrefix } from '../../state/network-address.ts'
import type { Workload, WorkloadInfo } from '../../state/workload.ts'
import { EMPTY_WORLD, type WorkloadWorld, type WorldChange } from '../../state/workload-world.ts'
import { IndexedService, type MeshEndpoint, portMap } from './indexed-service.ts'

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
const NOTHING_REMOVED: WorldChange['removed'] = { workloads: [], services: [], policies: [] }

export class MeshIndex {
  readonly #byUid: Map<string, Workload>
  /** By `network/ip`. Of several with one key the first counts, here and below. */
  readonly #byAddress: Map<string, readonly Workload[]>
  /** By `namespace/service account/name`. */
  readonly #byInfo: Map<string, readonly Workload[]>
  readonly #ownCluster: string
  /** Workloads with a host name, by `namespace/hostname`. */
  readonly #byHostname: Map<string, readonly Workload[]>
  readonly #services: Map<string, IndexedService>
  readonly #byVip: Map<string, readonly IndexedService[]>
  #byPrefix: PrefixEntry[]
  readonly #byHost: Map<string, readonly IndexedService[]>
  /** By `serviceKey`, then by uid: also of services that nobody has told of yet. */
  readonly #members: Map<string, Map<string, MeshEndpoint>>
  /** By uid: services that list the workload. */
  readonly #listing: Map<string, readonly IndexedService[]>

  /** `ownCluster`: of several pods with one name those of this cluster are meant; empty: any. */
  constructor(world: WorkloadWorld, ownCluster = '') {
    this.#ownCluster = ownCluster
    this.#byUid = new Map()
    this.#byAddress = new Map()
    this.#byInfo = new Map()
    this.#byHostname = new Map()
    this.#services = new Map()
    this.#byVip = new Map()
    this.#byPrefix = []
    this.#byHost = new Map()
    this.#members = new Map()
    this.#listing = new Map()
    if (world !== EMPTY_WORLD) this.apply({ put: world, removed: NOTHING_REMOVED })
  }

  apply({ put, removed }: WorldChange): void {
    for (const uid of removed.workloads) this.#removeWorkload(uid)
    for (const key of removed.services) this.#removeService(key)
    for (const workload of put.workloads) {
      this.#removeWorkload(workload.uid)
      this.#addWorkload(workload)
    }
    for (const service of put.services) {
      this.#removeService(serviceKey(service))
      this.#addService(new IndexedService(service, this.#membersOf(serviceKey(service)), this.#byUid))
    }
  }

  workloadByUid(uid: string): Workload | null {
    return this.#byUid.get(uid) ?? null
  }

  /** Never one of the host's network, whose address is its node's. */
  workloadByAddress(network: string, ip: string): Workload | null {
    return this.#byAddress.get(`${network}/${ip}`)?.[0] ?? null
  }

  workloadByInfo({ namespace, serviceAccount, name }: WorkloadInfo): Workload | null {
    const all = this.#byInfo.get(`${namespace}/${serviceAccount}/${name}`)
    if (all === undefined) return null
    return all.find((w) => w.clusterId === this.#ownCluster) ?? all[0] ?? null
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

  /** As `serviceByHost`, of those whose addresses may be told: without one of its own that are services of Kubernetes only, whose hosts end so (`.svc.cluster.local`). */
  serviceByName(hostname: string, clientNamespace: string, clusterSuffix: string): IndexedService | null {
    const all = this.#byHost.get(hostname) ?? NO_SERVICES
    return best(
      all.filter(({ service }) => service.vips.length > 0 || service.hostname.endsWith(clusterSuffix)),
      clientNamespace,
    )
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
      return this.serviceByKey(key) ?? this.#byHostname.get(key)?.[0] ?? null
    }
    const { network, address } = destination
    return this.workloadByAddress(network, address) ?? this.serviceByVip(network, address, clientNamespace)?.found ?? null
  }

  #addWorkload(workload: Workload): void {
    const { uid, hostname, services } = workload
    this.#byUid.set(uid, workload)
    add(this.#byInfo, infoKey(workload), workload, byUid)
    if (hostname !== '') add(this.#byHostname, `${workload.namespace}/${hostname}`, workload, byUid)
    for (const key of addressKeys(workload)) add(this.#byAddress, key, workload, byTrust)
    for (const { service, ports } of services) {
      this.#membersOf(service).set(uid, { workload, ports: portMap(ports), healthy: workload.healthy })
      this.#services.get(service)?.changed()
    }
    for (const service of this.#listing.get(uid) ?? []) service.changed()
  }

  #removeWorkload(uid: string): void {
    const workload = this.#byUid.get(uid)
    if (workload === undefined) return
    const { hostname, services } = workload
    this.#byUid.delete(uid)
    remove(this.#byInfo, infoKey(workload), workload)
    if (hostname !== '') remove(this.#byHostname, `${workload.namespace}/${hostname}`, workload)
    for (const key of addressKeys(workload)) remove(this.#byAddress, key, workload)
    for (const { service } of services) {
      const members = this.#members.get(service)
      members?.delete(uid)
      if (members?.size === 0 && !this.#services.has(service)) this.#members.delete(service)
      this.#services.get(service)?.changed()
    }
    for (const service of this.#listing.get(uid) ?? []) service.changed()
  }

  #membersOf(service: string): Map<string, MeshEndpoint> {
    let members = this.#members.get(service)
    if (members === undefined) {
      members = new Map()
      this.#members.set(service, members)
    }
    return members
  }

  #addService(indexed: IndexedService): void {
    const { service } = indexed
    this.#services.set(serviceKey(service), indexed)
    add(this.#byHost, service.hostname, indexed, byRank)
    for (const { network, address } of service.vips) add(this.#byVip, `${network}/${address}`, indexed, byRank)
    for (const { workloadUid } of service.endpoints) add(this.#listing, workloadUid, indexed, byRank)
    for (const prefix of service.prefixVips)
      this.#byPrefix.push({ prefix, set: new PrefixSet([prefix.prefix]), service: indexed })
  }

  #removeService(key: string): void {
    const indexed = this.#services.get(key)
    if (indexed === undefined) return
    const { service } = indexed
    this.#services.delete(key)
    if (this.#members.get(key)?.size === 0) this.#members.delete(key)
    remove(this.#byHost, service.hostname, indexed)
    for (const { network, address } of service.vips) remove(this.#byVip, `${network}/${address}`, indexed)
    for (const { workloadUid } of service.endpoints) remove(this.#listing, workloadUid, indexed)
    if (service.prefixVips.length > 0) this.#byPrefix = this.#byPrefix.filter((e) => e.service !== indexed)
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

/** Keeps the list of a key in order. */
function add<V>(map: Map<string, readonly V[]>, key: string, value: V, order: (a: V, b: V) => number): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else if (!list.includes(value)) map.set(key, [...list, value].sort(order))
}

function remove<V>(map: Map<string, readonly V[]>, key: string, value: V): void {
  const left = (map.get(key) ?? []).filter((v) => v !== value)
  if (left.length === 0) map.delete(key)
  else map.set(key, left)
}

function infoKey({ namespace, serviceAccount, name }: WorkloadInfo): string {
  return `${namespace}/${serviceAccount}/${name}`
}

/** The address of the host's network says nothing of who it is. */
function addressKeys({ networkMode, network, addresses }: Workload): string[] {
  return networkMode === 'HOST_NETWORK' ? [] : addresses.map((ip) => `${network}/${ip}`)
}

function byUid(a: Workload, b: Workload): number {
  return a.uid < b.uid ? -1 : 1
}

function byTrust(a: Workload, b: Workload): number {
  return trust(b) - trust(a) || byUid(a, b)
}

/** Canonical ones first: no two are expected. */
function byRank({ service: a }: IndexedService, { service: b }: IndexedService): number {
  return Number(b.canonical) - Number(a.canonical) || (serviceKey(a) < serviceKey(b) ? -1 : 1)
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
    found ??= candidate
  }
  return found
}

function isNearer(a: PrefixEntry, b: PrefixEntry, clientNamespace: string | null): boolean {
  const [own, other] = [a, b].map((e) => e.service.service.namespace === clientNamespace)
  if (own !== other) return own === true
  if (a.prefix.prefix.length !== b.prefix.prefix.length) return a.prefix.prefix.length > b.prefix.prefix.length
  return byRank(a.service, b.service) < 0
}

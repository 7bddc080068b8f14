// The names of a mesh as a pod of a node sees them: host names of services that it may know of, also without the domains that a resolver of Kubernetes adds
// (ztunnel src/dns/server.rs). Other names of Kubernetes, such as those of single pods, its own DNS knows.
import type { IndexedService } from '../decide/tunnel/indexed-service.ts'
import type { MeshIndex } from '../decide/tunnel/mesh-index.ts'
import type { Workload } from '../state/workload.ts'
import type { Names } from './dns-proxy.ts'
import { addressesOf, type FoundName } from './name-table.ts'

export class MeshNames implements Names {
  readonly #index: MeshIndex
  readonly #client: Workload
  /** Of the cluster: `cluster.local`. */
  readonly #domain: string

  constructor(index: MeshIndex, client: Workload, domain: string) {
    this.#index = index
    this.#client = client
    this.#domain = domain
  }

  find(name: string): FoundName | null {
    const { namespace } = this.#client
    for (const candidate of expanded(name, namespace, this.#domain)) {
      const found = this.#service(candidate)
      if (found !== null) return { alias: '', ...this.#addresses(found) }
    }
    for (const search of [`${namespace}.svc.${this.#domain}`, `svc.${this.#domain}`, this.#domain]) {
      if (!name.endsWith(`.${search}`)) continue
      const bare = name.slice(0, -search.length - 1)
      for (const candidate of expanded(bare, namespace, this.#domain)) {
        const found = this.#service(candidate)
        if (found === null) continue
        return { alias: found.service.hostname.startsWith('*') ? '' : bare, ...this.#addresses(found) }
      }
    }
    return null
  }

  /** By its host name, then by wildcards, the longest first. */
  #service(name: string): IndexedService | null {
    const { namespace } = this.#client
    const suffix = `.svc.${this.#domain}`
    let found = this.#index.serviceByName(name, namespace, suffix)
    for (let point = name.indexOf('.'); found === null && point >= 0; point = name.indexOf('.', point + 1))
      found = this.#index.serviceByName(`*${name.slice(point)}`, namespace, suffix)
    return found
  }

  #addresses(indexed: IndexedService): { readonly v4: readonly Uint8Array[]; readonly v6: readonly Uint8Array[] } {
    const { vips, ipFamilies } = indexed.service
    const all =
      vips.length > 0
        ? addressesOf(vips.filter((vip) => vip.network === this.#client.network).map((vip) => vip.address))
        : ofEndpoints(indexed)
    return { v4: ipFamilies === 'IPV6' ? [] : all.v4, v6: ipFamilies === 'IPV4' ? [] : all.v6 }
  }
}

/** Of a headless service: one address of each family of each endpoint. */
function ofEndpoints({ service, endpoints }: IndexedService): ReturnType<typeof addressesOf> {
  const toAll = service.loadBalancing?.healthPolicy === 'ALLOW_ALL'
  const each = endpoints.filter((e) => e.healthy || toAll).map((e) => addressesOf(e.workload.addresses))
  return { v4: each.flatMap(({ v4 }) => v4.slice(0, 1)), v6: each.flatMap(({ v6 }) => v6.slice(0, 1)) }
}

/** The name itself, and what it may be short for in Kubernetes. */
function expanded(name: string, namespace: string, domain: string): readonly string[] {
  switch (name.split('.').length) {
    case 1:
      return [name, `${name}.${namespace}.svc.${domain}`]
    case 2:
      return [name, `${name}.svc.${domain}`, `${name}.${namespace}.svc.${domain}`]
    case 3:
      return name.endsWith('.svc') ? [name, `${name}.${domain}`, `${name}.svc.${domain}`] : [name, `${name}.svc.${domain}`]
    case 4:
      return name.endsWith('.svc') ? [name, `${name}.${domain}`] : [name]
    default:
      return [name]
  }
}

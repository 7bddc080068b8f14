// The names of a mesh, as a control plane tells them (NDS), and the further names by which an application in a pod may ask for them. Pure.
import { isIPv4, isIPv6 } from 'node:net'

export interface NamedService {
  /** `reviews.default.svc.cluster.local`, `*.example.com`. */
  readonly host: string
  readonly addresses: readonly string[]
  /** `Kubernetes`, or where else it is from. */
  readonly registry: string
  /** Of Kubernetes: `reviews`; of a pod of a headless service `db-0.db`. */
  readonly shortName: string
  readonly namespace: string
  /** Further names that the control plane gives it. */
  readonly alsoCalled: readonly string[]
}

export interface NameTableTerms {
  /** Of the asking pod, whose services it may ask for by their first name alone. */
  readonly namespace: string
  /** Of the cluster: `cluster.local`. */
  readonly domain: string
  /** What the pod's resolver appends to names first (resolv.conf `search`); '': nothing. */
  readonly searchDomain: string
}

export interface FoundName {
  /** The name that has the addresses, where it is another than the one that was asked for; ''. */
  readonly alias: string
  /** Each of 4 and of 16 bytes. */
  readonly v4: readonly Uint8Array[]
  readonly v6: readonly Uint8Array[]
}

export type Addresses = Pick<FoundName, 'v4' | 'v6'>

export class NameTable {
  readonly #names: Map<string, Addresses>
  readonly #searchDomain: string

  constructor(services: Iterable<NamedService>, terms: NameTableTerms) {
    this.#names = new Map()
    this.#searchDomain = terms.searchDomain === '' ? '' : `.${terms.searchDomain.toLowerCase()}`
    const aliases: (readonly [string, Addresses])[] = []
    for (const service of services) {
      const addresses = addressesOf(service.addresses)
      if (addresses.v4.length + addresses.v6.length === 0) continue
      this.#names.set(withoutPoint(service.host), addresses)
      for (const name of furtherNames(service, terms)) aliases.push([name, addresses])
    }
    // A service's own name goes before what another may be called besides.
    for (const [name, addresses] of aliases) if (!this.#names.has(name)) this.#names.set(name, addresses)
  }

  /** Names by which one may ask. */
  get size(): number {
    return this.#names.size
  }

  /** @param name in lower case, without the point at its end. null: it is not of the mesh. */
  find(name: string): FoundName | null {
    const exact = this.#names.get(name)
    if (exact !== undefined) return { alias: '', ...exact }
    // `reviews.shop.web.svc.cluster.local`, before a resolver asks for `reviews.shop`.
    const search = this.#searchDomain
    const bare = search !== '' && name.endsWith(search) ? name.slice(0, -search.length) : ''
    const under = bare === '' ? undefined : this.#names.get(bare)
    if (under !== undefined) return { alias: bare, ...under }
    const wild = this.#wildcard(name)
    if (wild !== undefined) return { alias: '', ...wild }
    const wildUnder = bare === '' ? undefined : this.#wildcard(bare)
    return wildUnder === undefined ? null : { alias: bare, ...wildUnder }
  }

  /** The longest goes first. */
  #wildcard(name: string): Addresses | undefined {
    for (let point = name.indexOf('.'); point >= 0; point = name.indexOf('.', point + 1)) {
      const found = this.#names.get(`*${name.slice(point)}`)
      if (found !== undefined) return found
    }
    return undefined
  }
}

/** Names of Kubernetes are short within their cluster; in another's domain `reviews.default` could be two services. */
function furtherNames({ host, registry, shortName, namespace, alsoCalled }: NamedService, terms: NameTableTerms): string[] {
  const inDomain = withoutPoint(host).endsWith(`.${terms.domain.toLowerCase()}`)
  if (registry !== 'Kubernetes' || !inDomain || shortName === '' || namespace === '') return alsoCalled.map(withoutPoint)
  const names = [`${shortName}.${namespace}`, `${shortName}.${namespace}.svc`, ...alsoCalled]
  if (namespace === terms.namespace) names.push(shortName)
  return names.map(withoutPoint)
}

function withoutPoint(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase()
}

/** IP addresses as text; others are left out. */
export function addressesOf(texts: readonly string[]): Addresses {
  return { v4: texts.filter(isIPv4).map(v4Bytes), v6: texts.filter((a) => isIPv6(a) && !a.includes('%')).map(v6Bytes) }
}

function v4Bytes(text: string): Uint8Array {
  return Uint8Array.from(text.split('.'), Number)
}

function v6Bytes(text: string): Uint8Array {
  // The last 32 bits may be written as IPv4.
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text)
  const [a = 0, b = 0, c = 0, d = 0] = dotted === null ? [] : v4Bytes(dotted[2] as string)
  const plain = dotted === null ? text : `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  const [head = '', tail] = plain.split('::')
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((g) => Number.parseInt(g, 16)))
  const first = groups(head)
  const last = tail === undefined ? [] : groups(tail)
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last]
  return Uint8Array.from(all.flatMap((g) => [g >> 8, g & 255]))
}

// The incremental protocol (xDS REST and gRPC protocol, "Incremental xDS"). For each type the control plane is told once what is wanted and what is still held,
// later only what changes. What it knows ends with the stream.
import { decode } from '../proto/decode.ts'
import { DeltaDiscoveryRequest, DeltaDiscoveryResponse, type Resource } from '../proto/discovery.ts'
import { encode } from '../proto/encode.ts'
import type { DiscoveryStream, Incoming, IncomingResource, StreamTerms } from './discovery-stream.ts'
import { healthStatus, nackStatus } from './nack-text.ts'
import { XDS } from './resource-types.ts'
import type { ResourceFault } from './resource-update.ts'
import type { Subscription } from './subscriptions.ts'

/** What the control plane knows of a type. */
interface Told {
  interest: Subscription['interest']
  names: ReadonlySet<string>
  /** The first response of a wildcard names all that there is: it could not have left out what is held, having been told no version of it. */
  firstIsWhole: boolean
}

export class DeltaStream implements DiscoveryStream {
  readonly #terms: StreamTerms
  readonly #told: Map<string, Told>
  #introduced: boolean

  constructor(terms: StreamTerms) {
    this.#terms = terms
    this.#told = new Map()
    this.#introduced = false
  }

  requests(): Uint8Array[] {
    const out: Uint8Array[] = []
    const { subscriptions } = this.#terms
    for (const [typeUrl, told] of this.#told) {
      if (subscriptions.get(typeUrl)?.interest === told.interest) continue
      const names = told.interest === 'wildcard' ? ['*'] : [...told.names]
      if (names.length > 0) out.push(this.#request(typeUrl, { resource_names_unsubscribe: names }))
      this.#told.delete(typeUrl)
    }
    for (const [typeUrl, subscription] of subscriptions.types) {
      const told = this.#told.get(typeUrl)
      if (told === undefined) out.push(...this.#first(typeUrl, subscription))
      else out.push(...this.#later(typeUrl, told, subscription))
    }
    return out
  }

  read(message: Uint8Array): Incoming {
    const response = decode(DeltaDiscoveryResponse, message)
    const told = this.#told.get(response.type_url)
    const complete = told?.firstIsWhole ?? false
    if (told !== undefined) told.firstIsWhole = false
    return {
      typeUrl: response.type_url,
      version: response.system_version_info,
      nonce: response.nonce,
      controlPlane: response.control_plane?.identifier ?? '',
      resources: response.resources.map(incomingResource),
      removed: response.removed_resources,
      complete,
    }
  }

  answer(to: Pick<Incoming, 'typeUrl' | 'nonce'>, faults: readonly ResourceFault[]): Uint8Array | null {
    if (to.nonce === '' || !this.#told.has(to.typeUrl)) return null
    return this.#request(to.typeUrl, {
      response_nonce: to.nonce,
      error_detail: faults.length === 0 ? null : nackStatus(faults),
    })
  }

  health(problem: string | null): Uint8Array {
    return this.#request(XDS.health, { error_detail: healthStatus(problem) })
  }

  /** A request that names nothing asks for everything; so names that nobody knows yet are not a request. */
  #first(typeUrl: string, { interest, names }: Subscription): Uint8Array[] {
    if (interest === 'names' && names.size === 0) return []
    const versions = this.#versions(typeUrl, interest, names)
    const unversioned = [...versions.values()].every((version) => version === '')
    this.#told.set(typeUrl, { interest, names, firstIsWhole: interest === 'wildcard' && unversioned })
    const initial = { initial_resource_versions: versions }
    if (interest === 'wildcard') return [this.#request(typeUrl, initial)]
    if (interest === 'names') return [this.#request(typeUrl, { ...initial, resource_names_subscribe: [...names] })]
    const nothing = this.#request(typeUrl, {
      ...initial,
      resource_names_subscribe: ['*'],
      resource_names_unsubscribe: ['*'],
    })
    return names.size === 0 ? [nothing] : [nothing, this.#request(typeUrl, { resource_names_subscribe: [...names] })]
  }

  #later(typeUrl: string, told: Told, { names }: Subscription): Uint8Array[] {
    // Most responses change nothing of what is wanted.
    if (told.names === names) return []
    const subscribe = [...names].filter((name) => !told.names.has(name))
    const unsubscribe = [...told.names].filter((name) => !names.has(name))
    told.names = names
    if (subscribe.length === 0 && unsubscribe.length === 0) return []
    return [this.#request(typeUrl, { resource_names_subscribe: subscribe, resource_names_unsubscribe: unsubscribe })]
  }

  /**
   * What is held and wanted. Also without versions: then the control plane can say what it no longer has. Of what was refused no version is known, but that it has
   * gone has to be heard: a policy that cannot be read denies until then. What is asked for by name has an answer anyway.
   */
  #versions(typeUrl: string, interest: Subscription['interest'], names: ReadonlySet<string>): ReadonlyMap<string, string> {
    const { resources, refused } = this.#terms.held.of(typeUrl)
    const held = [...resources.values()].map((r) => [r.name, r.version] as const)
    if (interest === 'names') return new Map(held.filter(([name]) => names.has(name)))
    return new Map([...[...refused.keys()].map((name) => [name, ''] as const), ...held])
  }

  #request(typeUrl: string, rest: Partial<DeltaDiscoveryRequest>): Uint8Array {
    const node = this.#introduced ? null : this.#terms.node
    this.#introduced = true
    return encode(DeltaDiscoveryRequest, { node, type_url: typeUrl, ...rest })
  }
}

export function incomingResource({ name, version, aliases, resource, ttl }: Resource): IncomingResource {
  return { name, version, aliases, typeUrl: resource?.typeUrl ?? '', bytes: resource?.value ?? null, ttlMs: ttl }
}

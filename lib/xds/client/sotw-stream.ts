// The state of the world (xDS REST and gRPC protocol, "ACK/NACK and resource type instance version"): each request has all names of its type, each response all that
// there is of a type, or of some types a part (resource-types.ts).
import { eachField, ProtobufError } from '../../grpc/protobuf-fields.ts'
import { decode } from '../proto/decode.ts'
import { DiscoveryRequest, DiscoveryResponse, Resource } from '../proto/discovery.ts'
import { encode } from '../proto/encode.ts'
import { type Any, typeUrlOf } from '../proto/schema.ts'
import { incomingResource } from './delta-stream.ts'
import type { DiscoveryStream, Incoming, IncomingResource, StreamTerms } from './discovery-stream.ts'
import { healthStatus, nackStatus } from './nack-text.ts'
import { hasNameInside, isWholeInStateOfTheWorld, XDS } from './resource-types.ts'
import type { ResourceFault } from './resource-update.ts'
import type { Subscription } from './subscriptions.ts'

interface Told {
  names: ReadonlySet<string>
  /** Of the last response that was answered; '' before it. */
  nonce: string
}

const ENVELOPE = typeUrlOf(Resource)

export class StateOfTheWorldStream implements DiscoveryStream {
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
      if (subscriptions.get(typeUrl) !== null) continue
      // No names after some: nothing is wanted. A wildcard cannot be taken back, so its responses are passed over.
      if (told.names.size > 0) out.push(this.#request(typeUrl, new Set(), told.nonce, null))
      this.#told.delete(typeUrl)
    }
    for (const [typeUrl, subscription] of subscriptions.types) {
      const request = this.#asked(typeUrl, subscription)
      if (request !== null) out.push(request)
    }
    return out
  }

  read(message: Uint8Array): Incoming {
    const { type_url: typeUrl, version_info: version, nonce, resources, control_plane } = decode(DiscoveryResponse, message)
    const wildcard = this.#terms.subscriptions.get(typeUrl)?.interest === 'wildcard'
    return {
      typeUrl,
      version,
      nonce,
      controlPlane: control_plane?.identifier ?? '',
      resources: resources.map((resource) => unwrapped(resource, typeUrl)),
      removed: [],
      complete: wildcard && isWholeInStateOfTheWorld(typeUrl),
    }
  }

  /** Called when the response has been taken: `held` has the version that is told. */
  answer(to: Pick<Incoming, 'typeUrl' | 'nonce'>, faults: readonly ResourceFault[]): Uint8Array | null {
    const told = this.#told.get(to.typeUrl)
    if (told === undefined || to.nonce === '') return null
    told.nonce = to.nonce
    return this.#request(to.typeUrl, told.names, to.nonce, faults.length === 0 ? null : faults)
  }

  health(problem: string | null): Uint8Array {
    const node = this.#introduced ? null : this.#terms.node
    this.#introduced = true
    return encode(DiscoveryRequest, { node, type_url: XDS.health, error_detail: healthStatus(problem) })
  }

  #asked(typeUrl: string, { interest, names }: Subscription): Uint8Array | null {
    const told = this.#told.get(typeUrl)
    if (told === undefined) {
      // Without a name it would be a wildcard.
      if (interest !== 'wildcard' && names.size === 0) return null
      this.#told.set(typeUrl, { names, nonce: '' })
      // A server that sees its newest version here may wait with its answer until there is another, though a name is new.
      const { resources } = this.#terms.held.of(typeUrl)
      const hasAll = [...names].every((name) => resources.has(name))
      return this.#request(typeUrl, names, '', null, hasAll)
    }
    if (told.names.size === names.size && [...names].every((name) => told.names.has(name))) return null
    told.names = names
    return this.#request(typeUrl, names, told.nonce, null)
  }

  #request(
    typeUrl: string,
    names: ReadonlySet<string>,
    nonce: string,
    faults: readonly ResourceFault[] | null,
    withVersion = true,
  ): Uint8Array {
    const node = this.#introduced ? null : this.#terms.node
    this.#introduced = true
    return encode(DiscoveryRequest, {
      node,
      type_url: typeUrl,
      version_info: withVersion ? this.#terms.held.of(typeUrl).version : '',
      resource_names: [...names],
      response_nonce: nonce,
      error_detail: faults === null ? null : nackStatus(faults),
    })
  }
}

/** A resource with a time to live comes in an envelope. One without has no version of its own: that of the response changes with any of them. */
function unwrapped(resource: Any, expected: string): IncomingResource {
  if (resource.typeUrl === ENVELOPE) return incomingResource(decode(Resource, resource.value))
  const name = resource.typeUrl === expected && hasNameInside(expected) ? nameInside(resource.value) : ''
  return { name, version: '', aliases: [], typeUrl: resource.typeUrl, bytes: resource.value, ttlMs: null }
}

/** Field 1 of all types that have one: `name`, of ClusterLoadAssignment `cluster_name`. What is no message is found out by its decoder. */
function nameInside(bytes: Uint8Array): string {
  let name = ''
  try {
    eachField(bytes, (field, value) => {
      if (field === 1) name = value.string() ?? name
    })
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error
  }
  return name
}

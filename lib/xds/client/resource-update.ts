// What the client of a control plane hands on, and what it is answered: the seam between the stream and what resources mean.

/** One resource as it came. The same object is handed on, kept by the client and written to disk; its bytes are nobody's to change. */
export interface XdsResource {
  readonly typeUrl: string
  /** Unique within its type. Empty where a type has one resource only (`istio.networking.nds.v1.NameTable`). */
  readonly name: string
  /** Further names of it: of WDS `network/ip`. */
  readonly aliases: readonly string[]
  /** Opaque; '' from istiod for all types but those of WDS. */
  readonly version: string
  /** The value of the Any, a copy of its own: no view into a message that may be large. */
  readonly bytes: Uint8Array
}

/**
 * stream: a control plane said so just now. disk: the last that one said before the process began, in force until the stream is there.
 * expired: a time to live ended (`Resource.ttl`), or a subscription was given up.
 */
export type UpdateOrigin = 'stream' | 'disk' | 'expired'

/** A response of the control plane, of one type, as the differences to what is held. */
export interface ResourceUpdate {
  readonly typeUrl: string
  readonly origin: UpdateOrigin
  /**
   * New, or other bytes than those that were accepted before; what came again unchanged is not in it. A resource that was refused before
   * comes each time that it is sent.
   */
  readonly changed: readonly XdsResource[]
  /** Held before and gone now, or asked for by name and not there. */
  readonly removed: readonly string[]
  /**
   * The response was the whole of the type: what is not held now does not exist, and what is gone is in `removed` all the same. Of named types
   * always false.
   */
  readonly complete: boolean
  /** For messages: `system_version_info` of delta, `version_info` of the state of the world. */
  readonly version: string
}

/** Why a resource was not taken. The one that was accepted before, if any, stays in force. */
export interface ResourceFault {
  /** Of a resource of the update; '' for the update as a whole. */
  readonly name: string
  /** A clause without a full stop: `filter envoy.filters.http.foo is not understood`. */
  readonly reason: string
}

/**
 * Called for each response, one after the other, also when nothing changed: the first of a type says that the type has been answered.
 * Answers at once: no fault is an ACK, any is a NACK that names them all, and what has no fault counts as taken all the same. What is in
 * force is the consumer's to decide. It may change subscriptions, which are sent behind the answer. Faults of updates that are not from
 * the stream have nobody to be told to; of disk the resource is forgotten.
 */
export type UpdateConsumer = (update: ResourceUpdate) => readonly ResourceFault[]

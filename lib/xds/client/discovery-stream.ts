// What both protocols of a discovery stream have in common, so that the client need not know which one it speaks. Implementations are pure: messages in, messages
// out, one object for each stream.
import type { Node } from '../proto/core.ts'
import type { HeldResources } from './held-resources.ts'
import type { ResourceFault } from './resource-update.ts'
import type { Subscriptions } from './subscriptions.ts'

/** delta: incremental. sotw: state of the world, in which each response has all resources that were asked for. */
export type DiscoveryProtocol = 'delta' | 'sotw'

export interface IncomingResource {
  readonly name: string
  readonly version: string
  readonly aliases: readonly string[]
  /** Of the Any. */
  readonly typeUrl: string
  /** A view. Null: nothing but a new time to live (Envoy API docs, "TTL"). */
  readonly bytes: Uint8Array | null
  /** Null: it lives until it is removed. */
  readonly ttlMs: number | null
}

/** A response in the words of neither protocol. */
export interface Incoming {
  readonly typeUrl: string
  readonly version: string
  readonly nonce: string
  /** What the control plane says of itself; '' for nothing. */
  readonly controlPlane: string
  readonly resources: readonly IncomingResource[]
  readonly removed: readonly string[]
  /** What it does not name does not exist. */
  readonly complete: boolean
}

export interface StreamTerms {
  /** Sent with the first request of the stream. */
  readonly node: Node
  readonly subscriptions: Subscriptions
  readonly held: HeldResources
}

export interface DiscoveryStream {
  /** What the control plane has to be told so that it knows the subscriptions; none when it knows them. */
  requests(): Uint8Array[]
  /** Throws ProtobufError when the message is no response. */
  read(message: Uint8Array): Incoming
  /**
   * The answer to a response: an ACK, or with faults a NACK. Null: it takes none, having no nonce, or its type is not wanted. It may be made again later: it then
   * says what is wanted by then.
   */
  answer(to: Pick<Incoming, 'typeUrl' | 'nonce'>, faults: readonly ResourceFault[]): Uint8Array | null
  /** What is told of the application (istio.v1.HealthInformation), which has no answer. Null: it is well. */
  health(problem: string | null): Uint8Array
}

export const STREAM_PATHS: Readonly<Record<DiscoveryProtocol, string>> = {
  delta: '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
  sotw: '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources',
}

// What authorization reads of a request or a connection. The HTTP and the TCP filter bring what they have; the explainer brings it again later.
import type { IpNumber } from '../base/ip-prefix.ts'
import type { JsonObject } from '../base/json-value.ts'
import type { RequestView } from '../route/request-view.ts'

/** Getters that are dear are asked only by policies that need them. */
export interface RbacFacts {
  /** null: a connection, of which there is no request. */
  readonly request: RequestView | null
  /** Normalised, without query; null: there is none, on TCP and of a CONNECT. */
  readonly path: string | null
  /** Where the client's connection was going; null: not known. */
  readonly destinationIp: IpNumber | null
  readonly destinationPort: number
  /** The other end of the connection. */
  readonly directRemoteIp: IpNumber | null
  /** The client, by x-forwarded-for as far as that is believed. */
  readonly remoteIp: IpNumber | null
  /** SNI; empty: none. */
  readonly serverName: string
  /**
   * Names of the client by its certificate, each of which may fit: URI SANs, DNS SANs, the subject. null: the connection is not by TLS, so that nobody
   * is `authenticated`.
   */
  readonly peerNames: readonly string[] | null
  /** A text that the tunnel tells of the connection, or null. */
  filterState(key: string): string | null
  /** What a filter in front has found out; null: nothing. JWT_METADATA: `{ "payload": claims }` of the verified token. */
  metadata(filter: string): JsonObject | null
}

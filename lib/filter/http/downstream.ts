import type { HeaderMap } from '../../http/header-map.ts'
import type { ByteSink, Connection } from '../../transport/connection.ts'
import type { Tunnel } from './tunnel.ts'

/**
 * What a request needs of the side that its client is on: an HTTP/1 connection and the request that it carries at the moment, or one stream of
 * an HTTP/2 connection. The message's fields are valid until `done`.
 */
export interface Downstream {
  /** For addresses and activity. */
  readonly connection: Connection
  /** Bytes of a tunnel, once `openTunnel` was called. */
  readonly sink: ByteSink
  readonly method: string
  /** As received: origin form, absolute form, `*`, or the authority of a CONNECT. */
  readonly target: string
  /** HTTP/1.minor; HTTP/2 counts as 1. */
  readonly minor: number
  /** `HTTP/1.1`, as access logs have it. */
  readonly protocol: string
  /** `:scheme` and `:authority` of HTTP/2, the latter also added as `host`; empty for HTTP/1. */
  readonly scheme: string
  readonly authority: string
  readonly headers: HeaderMap
  /** Names of fields that came as never indexed (HTTP/2), as `,a,b,`; empty for none. */
  readonly neverIndexed: string
  /** Bytes of the head just read. */
  readonly headBytes: number
  readonly hasBody: boolean
  /** -1: not known beforehand. */
  readonly bodyLength: number
  /** The answer in progress must say that it is the last one. */
  readonly lastRequest: boolean

  /** Before `sendHeaders`: names of the answer's fields that are to go out as never indexed, as `,a,b,`. HTTP/1 has no such thing. */
  markNeverIndexed(names: string): void
  /** An interim response. */
  sendInformational(status: number, headers: HeaderMap): void
  /**
   * Response headers. `bodyLength` is -1 when it is not known beforehand; then the map must not have a content-length. `withBody` false: HEAD, 204,
   * 304 or nothing to send. `last`: no other request will follow on this connection. Returns the bytes that this takes.
   */
  sendHeaders(status: number, headers: HeaderMap, bodyLength: number, withBody: boolean, last: boolean): number
  /** False when the client reads too slowly. */
  sendBody(bytes: Buffer, start: number, end: number): boolean
  /** Latin-1 text as a body. */
  sendText(text: string): void
  /** `trailers` are field lines or empty; dropped where the framing has no place for them. */
  sendEnd(trailers: string): void
  /** Reads no more of the request's body until `unpause`; called again it does nothing. */
  pause(): void
  unpause(): void
  /** Accepts an Upgrade or CONNECT: says `status`; what follows goes to the tunnel. Returns the bytes that this takes. */
  openTunnel(status: number, headers: HeaderMap, tunnel: Tunnel): number
  /** The answer cannot be completed: the client has to learn that it was cut. */
  cut(reason: string): void
  /** The request is over: answered, cut, or nobody waits for it. `closes`: nothing else may follow. */
  done(closes: boolean): void
  /** A mistake of ours: gives up whatever it takes to be rid of the request. */
  abandon(): void
}

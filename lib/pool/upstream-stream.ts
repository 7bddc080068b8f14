import type { HeaderMap } from '../http/header-map.ts'
import type { RequestHead } from '../http/request-head.ts'
import type { ByteSink } from '../transport/connection.ts'
import type { TlsFacts } from '../transport/tls-facts.ts'
import type { Exchange } from './exchange.ts'

/** What a pool lends for one exchange: an HTTP/1 connection, or one stream of an HTTP/2 connection. */
export interface UpstreamStream {
  /** `ip:port` of our end. */
  readonly localAddress: string
  /** null: plaintext. */
  readonly tls: TlsFacts | null
  /** `HTTP/1.1`, `HTTP/2`. */
  readonly protocol: string
  /** Bytes of a tunnel, once `openTunnel` was called. */
  readonly sink: ByteSink
  /** The upstream takes more of the request's body. */
  readonly writable: boolean

  // The response's head, from `onResponse` on. The fields belong to the codec and are valid until the exchange is over.
  readonly status: number
  readonly headers: HeaderMap
  readonly hasBody: boolean
  /** Names of fields that came as never indexed, as `,a,b,`; empty for none. */
  readonly neverIndexed: string
  /** -1: not known beforehand. */
  readonly bodyLength: number
  /** A status whose response has a body unless the request was a HEAD. */
  readonly mayHaveBody: boolean

  /** Lends it: its events go to `exchange`. */
  assign(exchange: Exchange, method: string): void
  /** `attempt`: number to say in x-envoy-attempt-count; 0: nothing is said. `ended`: no body follows. */
  sendHeaders(head: RequestHead, attempt: number, ended: boolean): void
  /** False when the upstream reads too slowly. */
  sendBody(bytes: Buffer, start: number, end: number): boolean
  /** `trailers` are field lines or empty. */
  sendEnd(trailers: string): void
  /** Takes out of the response's head what belongs to its connection, and heeds it. */
  takeHopByHop(): void
  /** Reads nothing more of the response until `readEnable`. */
  readDisable(): void
  readEnable(): void
  /** An Upgrade or CONNECT was accepted: either direction may end before the other. */
  openTunnel(): void
  /** The response was not HTTP as we take it. The exchange hears of its reset. */
  protocolError(): void
  /** A mistake in who it was lent to: gives it up. The exchange, if there is one, hears of its reset. */
  abandon(): void
  /** The exchange is over. `complete`: request and response have both ended; otherwise it is given up. */
  release(complete: boolean): void
}

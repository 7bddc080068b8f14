// What a stream tells its owner. The order is head, body, end; after `onEnd` or `onReset` of a stream whose own sending is over, nothing.
import type { HeaderMap } from '../header-map.ts'

export interface StreamEvents {
  /** Clients: a 1xx. */
  onInformational(status: number, headers: HeaderMap): void
  /** Clients: the response's head is complete; read `status`, `headers`, `hasBody`, `bodyLength` of the stream. */
  onResponse(): void
  /** A view of body bytes (or of a tunnel's); valid until the call returns. */
  onBody(bytes: Buffer, start: number, end: number): void
  /** The peer has sent all; null when there were no trailers, which are valid until the call returns. */
  onEnd(trailers: HeaderMap | null): void
  /** The stream ended before its time: an error code; `stream.fault` and `stream.unprocessed` say more. Last event. */
  onReset(code: number): void
  /** After `sendBody` returned false: more may be sent. */
  onWritable(): void
}

/** Events of a stream that nobody owns. */
export const NOBODY: StreamEvents = {
  onInformational: () => {},
  onResponse: () => {},
  onBody: () => {},
  onEnd: () => {},
  onReset: () => {},
  onWritable: () => {},
}

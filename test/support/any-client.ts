// Clients for tests whose rows hold whatever version the client speaks (versions.ts).
import type { ResponseMessage } from './h1-reader.ts'
import { Http2Client } from './http2-client.ts'
import { type ConnectOptions, RawClient, type RequestSpec } from './raw-client.ts'
import type { Teardown } from './teardown.ts'
import { DOWNSTREAM } from './versions.ts'
import type { Ending } from './wire.ts'

/** What both have in common. */
export interface AnyClient {
  /** `address:port` */
  readonly localAddress: string
  /** Responses whose heads came. */
  readonly responses: readonly ResponseMessage[]
  /** How the proxy ended the connection; null: it has not. */
  readonly closedBy: Ending | null
  send(request?: RequestSpec): Promise<void>
  ask(request?: RequestSpec, budgetMs?: number): Promise<ResponseMessage>
  /** The answer to the oldest `send` whose answer was not asked for yet. */
  response(budgetMs?: number): Promise<ResponseMessage>
  responseHead(budgetMs?: number): Promise<ResponseMessage>
  /** Waits until a response from `responseHead` is complete. */
  completed(message: ResponseMessage, budgetMs?: number): Promise<ResponseMessage>
  /** For requests by `write`. */
  expectMethod(method: string): void
  /** Requests or parts of them in the notation of HTTP/1; over HTTP/2 goes what they say. */
  write(bytes: string | Uint8Array): Promise<void>
  writeSplit(bytes: string | Uint8Array, offsets: readonly number[]): Promise<void>
  writeBytewise(bytes: string | Uint8Array): Promise<void>
  /** An interim response has come. */
  untilInformational(status: number): Promise<void>
  until(what: string, isSo: () => boolean, budgetMs?: number): Promise<void>
  /** Stops reading. */
  pause(): void
  resume(): void
  /** Goes away, whatever is under way. */
  reset(): void
  destroy(): void
  /** The proxy has closed the connection. */
  closed(budgetMs?: number): Promise<Ending>
  /** Nothing more will come for what was asked: the connection is closed or, on HTTP/2, each of its streams. */
  readonly isOver: boolean
  over(budgetMs?: number): Promise<void>
}

export function connectAny(t: Teardown, to: ConnectOptions | number): Promise<AnyClient> {
  return DOWNSTREAM === 'http2' ? Http2Client.connect(t, to) : RawClient.connect(t, to)
}

/** One request on a connection of its own. */
export async function askAny(t: Teardown, to: ConnectOptions | number, request: RequestSpec = {}): Promise<ResponseMessage> {
  const client = await connectAny(t, to)
  try {
    return await client.ask(request)
  } finally {
    client.destroy()
  }
}

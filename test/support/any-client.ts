// Clients for tests whose rows hold whatever version the client speaks. Such a test is HTTP/1.1 by itself; a file in integration/over-http2/ runs it anew with
// an HTTP/2 client.
import type { ResponseMessage } from './h1-reader.ts'
import { Http2Client } from './http2-client.ts'
import { RawClient, type RequestSpec } from './raw-client.ts'
import type { Teardown } from './teardown.ts'

/** What both have in common. */
export interface AnyClient {
  send(request?: RequestSpec): Promise<void>
  ask(request?: RequestSpec, budgetMs?: number): Promise<ResponseMessage>
  /** The answer to the oldest `send`. */
  response(budgetMs?: number): Promise<ResponseMessage>
  responseHead(budgetMs?: number): Promise<ResponseMessage>
  destroy(): void
}

/** The variable that a file in over-http2/ sets before it imports the test. */
export const OVER_HTTP2 = process.env['HEDDLE_TEST_DOWNSTREAM'] === 'http2'

/** `skip` of tests that are about bytes or connections of HTTP/1. */
export const HTTP1_ONLY = OVER_HTTP2 ? 'about HTTP/1' : false

/** Of an answer of ours without a body: HTTP/2 says with the head that nothing follows. */
export const EMPTY_LENGTH = OVER_HTTP2 ? undefined : '0'

export function connectAny(t: Teardown, port: number): Promise<AnyClient> {
  return OVER_HTTP2 ? Http2Client.connect(t, port) : RawClient.connect(t, port)
}

/** One request on a connection of its own. */
export async function askAny(t: Teardown, port: number, request: RequestSpec = {}): Promise<ResponseMessage> {
  const client = await connectAny(t, port)
  try {
    return await client.ask(request)
  } finally {
    client.destroy()
  }
}

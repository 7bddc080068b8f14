// Hot lane: the parts of a WebSocket handshake that only HTTP/1 has (RFC 8441 §5): a key, and the proof that the server has read it (RFC 6455 §4.2.2). A
// key is passed on over HTTP/2 as well, as Envoy does: behind the next proxy there may be a server of HTTP/1, whose proof the client waits for.
import { createHash, randomBytes } from 'node:crypto'
import type { HeaderMap } from '../../http/header-map.ts'

const KEY = 'sec-websocket-key'
const ACCEPT = 'sec-websocket-accept'
/** RFC 6455 §1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** For a server of HTTP/1, which insists on a key. True when there was none and `request` now has one of ours. */
export function giveKey(request: HeaderMap): boolean {
  if (request.get(KEY) !== null) return false
  request.append(KEY, randomBytes(16).toString('base64'))
  return true
}

/** A server of HTTP/2 says by its status alone that it accepts; whoever sent a key waits for more. */
export function giveAccept(request: HeaderMap, response: HeaderMap): void {
  const key = request.get(KEY)
  if (key === null || response.get(ACCEPT) !== null) return
  response.append(ACCEPT, createHash('sha1').update(`${key}${GUID}`).digest('base64'))
}

/** Of a key that was ours the client knows nothing. */
export function takeAccept(response: HeaderMap): void {
  response.remove(ACCEPT)
}

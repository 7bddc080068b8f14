// Hot lane: HTTP/2 towards an upstream: requests go out as streams.

import type { Connection } from '../../transport/connection.ts'
import type { HeaderMap } from '../header-map.ts'
import * as E from './error-codes.ts'
import * as F from './frame-types.ts'
import { COMPRESSION_FAILED } from './hpack/decoder.ts'
import { HpackEncoder } from './hpack/encoder.ts'
import { Http2Connection, type Http2Events } from './http2-connection.ts'
import { RESPONSE, UNEXPECTED_HEADERS } from './message-head.ts'
import type { Http2Options } from './options.ts'
import { takeMap } from './spare-maps.ts'
import { Http2Stream } from './stream.ts'
import type { StreamEvents } from './stream-events.ts'

export class Http2ClientConnection extends Http2Connection {
  private nextId: number

  constructor(connection: Connection, events: Http2Events, options: Http2Options) {
    super(connection, events, options, false)
    this.nextId = 1
    connection.writeText(F.PREFACE)
    this.greet([F.SETTINGS_ENABLE_PUSH, 0])
  }

  /** All ids have been used (RFC 9113 §5.1.1): only another connection has room. */
  get exhausted(): boolean {
    return this.nextId > F.MAX_STREAM_ID
  }

  /** Is there room for another request? Before the peer's SETTINGS have come, 100 are taken for its limit. */
  get hasRoom(): boolean {
    return (
      !this.closed &&
      !this.finishing &&
      this.nextId <= F.MAX_STREAM_ID &&
      this.streams.size < this.peer.maxConcurrentStreams &&
      this.streams.size < this.options.maxConcurrentStreams
    )
  }

  /**
   * Opens a stream with a request's head; null when there is no room. A CONNECT has empty scheme and path, unless it has a protocol (RFC 8441).
   * `fields` are lines with CRLF that come behind the map. Of both is left out what only HTTP/1 knows, and `host`, which the authority says. `end`: no body
   * follows.
   */
  request(
    events: StreamEvents,
    method: string,
    scheme: string,
    authority: string,
    path: string,
    protocol: string,
    headers: HeaderMap,
    fields: string,
    neverIndexed: string,
    end: boolean,
  ): Http2Stream | null {
    if (!this.hasRoom) return null
    const stream = this.open(events, method, scheme, authority, path, protocol)
    this.send(stream, headers, fields, neverIndexed, end)
    return stream
  }

  private open(
    events: StreamEvents,
    method: string,
    scheme: string,
    authority: string,
    path: string,
    protocol: string,
  ): Http2Stream {
    const id = this.nextId
    this.nextId += 2
    const stream = new Http2Stream(this, id, takeMap())
    stream.events = events
    stream.method = method
    stream.scheme = scheme
    stream.authority = authority
    stream.path = path
    stream.protocol = protocol
    this.streams.add(stream)
    this.guard.opened()
    return stream
  }

  private send(stream: Http2Stream, headers: HeaderMap, fields: string, neverIndexed: string, end: boolean): void {
    const { writer, encoder } = this
    const { method, scheme, authority, path, protocol } = stream
    const pseudo = HpackEncoder.bound(method.length + scheme.length + authority.length + path.length + protocol.length)
    const b = writer.begin(pseudo + HpackEncoder.bound(fields.length) + HpackEncoder.boundOf(headers))
    encoder.begin(b, writer.payloadAt, neverIndexed)
    encoder.request(method, scheme, authority, path, protocol)
    encoder.map(headers, false)
    if (fields !== '') encoder.fields(fields, false)
    writer.endHeaders(stream.id, encoder.position, end)
    stream.headBytesSent = writer.lastHeaderBytes
    stream.localEnded = end
    this.guardWaiting()
  }

  /** No further requests; the connection ends with the last stream. */
  retire(): void {
    this.finishing = true
    this.endWhenDone()
  }

  /** Requests that wait for the end of the turn must not leave any more: their owners were told that nothing did, and may send them elsewhere. */
  protected override peerEnded(): void {
    this.connection.destroy('')
  }

  isIdle(id: number): boolean {
    return (id & 1) === 0 || id >= this.nextId
  }

  onBlock(id: number, endStream: boolean, b: Buffer, start: number, end: number): boolean {
    const stream = this.streams.get(id)
    if (stream === undefined) {
      if (this.isIdle(id)) return this.fail(E.PROTOCOL_ERROR, 'a response to nothing')
      if (!this.mayTrail(id)) return this.fail(E.STREAM_CLOSED, 'HEADERS on a closed stream')
      return this.discard(b, start, end)
    }
    if (stream.headRead || stream.remoteEnded) return this.trailers(stream, endStream, b, start, end)
    const fault = this.decode(b, start, end, RESPONSE, stream.headers)
    if (fault === COMPRESSION_FAILED) return false
    stream.headBytes = end - start + F.FRAME_HEADER_BYTES
    return this.response(stream, stream.headers, fault, endStream)
  }

  private response(stream: Http2Stream, headers: HeaderMap, headFault: number, endStream: boolean): boolean {
    const { head } = this
    let fault = headFault
    if (fault === 0 && head.status < 200) {
      // An interim response never is the last (RFC 9113 §8.1).
      if (endStream) fault = UNEXPECTED_HEADERS
      else {
        stream.events.onInformational(head.status, headers)
        return !this.closed
      }
    }
    if (fault === 0) fault = stream.takeResponse(head, endStream)
    if (fault !== 0) return this.streamError(stream, E.PROTOCOL_ERROR, fault)
    stream.events.onResponse()
    if (endStream && !stream.closed) stream.takeEnd(null)
    return !this.closed
  }

  peerReset(stream: Http2Stream, code: number): boolean {
    stream.resetByPeer = true
    stream.unprocessed = code === E.REFUSED_STREAM
    if (stream.remoteEnded && (stream.method !== 'CONNECT' || code === E.NO_ERROR)) {
      // The response is complete and the rest of the request is not wanted (RFC 9113 §8.1): nothing is lost. Of a tunnel it says that its other side was cut.
      stream.localEnded = true
      stream.dropQueue()
      this.forget(stream)
      return !this.closed
    }
    this.forget(stream)
    stream.cut(code)
    return !this.closed
  }

  /** An orderly end: no new requests, and the connection ends with the last one. */
  override shutdown(): void {
    if (this.closed || this.finishing) return
    this.finishing = true
    this.writer.goaway(0, E.NO_ERROR, '')
    this.endWhenDone()
  }

  protected override afterPeerGoaway(lastId: number): void {
    for (const stream of this.streams.values()) {
      if (stream.id <= lastId) continue
      stream.unprocessed = true
      this.forget(stream)
      this.connection.io.run('reset', () => stream.cut(E.GOAWAY_BEFORE))
    }
  }
}

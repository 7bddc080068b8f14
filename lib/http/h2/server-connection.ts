// Hot lane: HTTP/2 towards a client (h2c with prior knowledge, or behind ALPN): requests come in as streams.

import type { Connection } from '../../transport/connection.ts'
import type { HeaderMap } from '../header-map.ts'
import * as E from './error-codes.ts'
import * as F from './frame-types.ts'
import { COMPRESSION_FAILED } from './hpack/decoder.ts'
import { Http2Connection, type Http2Events } from './http2-connection.ts'
import { MISPLACED, REQUEST } from './message-head.ts'
import type { Http2Options } from './options.ts'
import { takeMap } from './spare-maps.ts'
import { Http2Stream } from './stream.ts'

export interface Http2ServerEvents extends Http2Events {
  /** A request's head is complete: give the stream its `events`. When it has no body, their `onEnd` follows at once. */
  onRequest(stream: Http2Stream): void
  /**
   * A request that cannot be taken; `stream.fault` says why. It may be answered here, with END_STREAM; otherwise it is reset. Malformed ones (all but
   * TOO_LARGE and TOO_MANY) should not be answered (RFC 9113 §8.1.1).
   */
  onRefusedRequest(stream: Http2Stream): void
}

export class Http2ServerConnection extends Http2Connection {
  private readonly server: Http2ServerEvents

  constructor(connection: Connection, events: Http2ServerEvents, options: Http2Options) {
    super(connection, events, options, true)
    this.server = events
    const pairs = [F.SETTINGS_MAX_CONCURRENT_STREAMS, options.maxConcurrentStreams]
    if (options.extendedConnect) pairs.push(F.SETTINGS_ENABLE_CONNECT_PROTOCOL, 1)
    this.greet(pairs)
  }

  /**
   * Takes over from HTTP/1, before a byte is read and behind a 101 (RFC 7540 §3.2): the request that asked for `h2c` becomes stream 1, complete, and is
   * told by `onRequest`. `settings`: what `upgradeSettings` made of HTTP2-Settings; an upgrade for which that is null is to be ignored.
   */
  upgrade(method: string, scheme: string, authority: string, path: string, headers: HeaderMap, settings: Buffer): void {
    this.peer.apply(settings, 0, settings.length)
    this.writer.maxFrame = this.peer.maxFrameSize
    this.encoder.limitTable(this.peer.headerTableSize)
    this.lastPeerId = 1
    this.guard.opened()
    const stream = new Http2Stream(this, 1, headers)
    stream.takeUpgrade(method, scheme, authority, path)
    this.streams.add(stream)
    this.server.onRequest(stream)
    if (!stream.closed) stream.takeEnd(null)
  }

  isIdle(id: number): boolean {
    // Even streams would be ours, and we open none.
    return (id & 1) === 0 || id > this.lastPeerId
  }

  onBlock(id: number, endStream: boolean, b: Buffer, start: number, end: number): boolean {
    const open = this.streams.get(id)
    if (open !== undefined) {
      if (this.rules.selfDependent) return this.discard(b, start, end) && this.streamError(open, E.PROTOCOL_ERROR, MISPLACED)
      return this.trailers(open, endStream, b, start, end)
    }
    if ((id & 1) === 0) return this.fail(E.PROTOCOL_ERROR, 'a client opens odd streams only')
    if (id <= this.lastPeerId) {
      if (!this.mayTrail(id)) return this.fail(E.STREAM_CLOSED, 'HEADERS on a closed stream')
      if (!this.guard.control(1, this.nowMs)) return this.fail(E.ENHANCE_YOUR_CALM, 'too many frames on closed streams')
      return this.discard(b, start, end)
    }
    // Above what our GOAWAY said: the client knows that it is not looked at, or will.
    if (id > this.lastTaken) {
      if (!this.guard.control(1, this.nowMs)) return this.fail(E.ENHANCE_YOUR_CALM, 'too many streams behind GOAWAY')
      return this.discard(b, start, end)
    }
    this.lastPeerId = id
    this.guard.opened()
    if (this.rules.selfDependent) return this.discard(b, start, end) && this.refuse(id, E.PROTOCOL_ERROR)
    if (this.streams.size >= this.options.maxConcurrentStreams)
      return this.discard(b, start, end) && this.refuse(id, E.REFUSED_STREAM)
    const map = takeMap()
    const fault = this.decode(b, start, end, REQUEST, map)
    if (fault === COMPRESSION_FAILED) return false
    const stream = new Http2Stream(this, id, map)
    stream.headBytes = end - start + F.FRAME_HEADER_BYTES
    return this.open(stream, fault, endStream)
  }

  private open(stream: Http2Stream, headFault: number, endStream: boolean): boolean {
    const lengthFault = stream.takeRequest(this.head, endStream)
    const fault = headFault !== 0 ? headFault : lengthFault
    this.streams.add(stream)
    if (fault !== 0) return this.refuseRequest(stream, fault, endStream)
    this.server.onRequest(stream)
    if (endStream && !stream.closed) stream.takeEnd(null)
    return !this.closed
  }

  private refuseRequest(stream: Http2Stream, fault: number, endStream: boolean): boolean {
    stream.fault = fault
    stream.remoteEnded = endStream
    this.server.onRefusedRequest(stream)
    stream.reset(stream.localEnded ? E.NO_ERROR : E.PROTOCOL_ERROR)
    return this.countReset(0)
  }

  /** RST_STREAM for a stream that was never opened. It counts: whoever ignores our limit must not have it for nothing. */
  private refuse(id: number, code: number): boolean {
    this.writer.resetStream(id, code)
    this.closedStreams.add(id)
    return this.guardWaiting() && this.countReset(0)
  }

  peerReset(stream: Http2Stream, code: number): boolean {
    stream.resetByPeer = true
    const livedMs = this.nowMs - stream.openedMs
    this.forget(stream)
    stream.cut(code)
    return this.countReset(livedMs)
  }
}

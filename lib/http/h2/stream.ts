// Hot lane: one exchange on a connection, either side of it. What comes in goes to its events; the `send…` methods have the meaning of those of
// HTTP/1's codecs.
// A long file: both directions, because the end of one may end the other.
//
// The two directions end apart (RFC 9113 §5.1): `remoteEnded` by the peer's END_STREAM, `localEnded` by ours. Both: the stream leaves its
// connection. `closed`: that, or RST_STREAM of either side. What was received before may still wait for a paused owner.
import type { HeaderMap } from '../header-map.ts'
import { CANCEL, NO_ERROR } from './error-codes.ts'
import { MAX_WINDOW } from './frame-types.ts'
import { HpackEncoder } from './hpack/encoder.ts'
import type { Http2Connection } from './http2-connection.ts'
import { BODY_NOT_ALLOWED, LENGTH_MISMATCH, type MessageHead } from './message-head.ts'
import type { ReceiveWindow } from './receive-window.ts'
import { SendQueue } from './send-queue.ts'
import { returnMap } from './spare-maps.ts'
import { NOBODY, type StreamEvents } from './stream-events.ts'

/** A source is paused when more than this waits to be sent, and goes on when less than LOW does: the window's next opening finds something. */
const HIGH_WATER = 64 * 1024
const LOW_WATER = 16 * 1024

export class Http2Stream {
  readonly connection: Http2Connection
  readonly id: number
  events: StreamEvents
  // The request, and of a client's stream the response's status and fields.
  method: string
  scheme: string
  authority: string
  path: string
  protocol: string
  status: number
  readonly headers: HeaderMap
  /** Names of fields that came as never indexed, as `,a,b,`: whoever passes them on says so. */
  neverIndexed: string
  /** Servers: names of fields of the response that must not be indexed, in the same form; set before it is sent. */
  responseNeverIndexed: string
  /** Bytes on the wire of the head that came and of the one that was sent, frame headers included. */
  headBytes: number
  headBytesSent: number
  hasBody: boolean
  /** -1: not known beforehand. */
  bodyLength: number
  /** Clients: the final response has come. Servers: always. */
  headRead: boolean
  remoteEnded: boolean
  /** The frame that is being read is the peer's last: it needs no window any more. */
  remoteEnding: boolean
  localEnded: boolean
  closed: boolean
  /** Why we called the message malformed; 0: we did not. */
  fault: number
  /** The peer says that it has done nothing for this request (GOAWAY, REFUSED_STREAM): it may be sent again. */
  unprocessed: boolean
  /** RST_STREAM of the peer ended it; otherwise a reset is ours, or the connection's end. */
  resetByPeer: boolean
  readonly openedMs: number
  bytesReceived: number
  bytesSent: number
  /** What the peer lets us send here. May be below zero (RFC 9113 §6.9.2). */
  sendWindow: number
  readonly receiveWindow: ReceiveWindow
  // For the schedule.
  scheduled: boolean
  nextScheduled: Http2Stream | null
  /** Since when queued bytes have not moved; 0: they move. */
  stalledSinceMs: number
  /** By `recycle`: the map goes to another stream as soon as this one is closed. */
  headersFree: boolean
  private bodyForbidden: boolean
  private paused: boolean
  private delivering: boolean
  private endDelivered: boolean
  /** Received while paused. */
  private received: SendQueue | null
  private trailers: HeaderMap | null
  private queue: SendQueue | null
  private endQueued: boolean
  private queuedTrailers: string
  private wantsWritable: boolean
  /** Nobody wants what the peer still sends. */
  private unwanted: boolean
  /** Since when only that keeps the stream open; 0: it does not. */
  unwantedSinceMs: number

  constructor(connection: Http2Connection, id: number, headers: HeaderMap) {
    const nowMs = connection.nowMs
    this.connection = connection
    this.id = id
    this.events = NOBODY
    this.method = ''
    this.scheme = ''
    this.authority = ''
    this.path = ''
    this.protocol = ''
    this.status = 0
    this.headers = headers
    this.neverIndexed = ''
    this.responseNeverIndexed = ''
    this.headBytes = 0
    this.headBytesSent = 0
    this.hasBody = false
    this.bodyLength = 0
    this.headRead = false
    this.remoteEnded = false
    this.remoteEnding = false
    this.localEnded = false
    this.closed = false
    this.fault = 0
    this.unprocessed = false
    this.resetByPeer = false
    this.openedMs = nowMs
    this.bytesReceived = 0
    this.bytesSent = 0
    this.sendWindow = connection.peer.initialWindow
    this.receiveWindow = connection.newReceiveWindow()
    this.scheduled = false
    this.nextScheduled = null
    this.stalledSinceMs = 0
    this.headersFree = false
    this.bodyForbidden = false
    this.paused = false
    this.delivering = false
    this.endDelivered = false
    this.received = null
    this.trailers = null
    this.queue = null
    this.endQueued = false
    this.queuedTrailers = ''
    this.wantsWritable = false
    this.unwanted = false
    this.unwantedSinceMs = 0
  }

  // ---- sending ---------------------------------------------------------------------------------------------------------

  /** Servers: an interim response. `fields` are lines with CRLF, as for HTTP/1. */
  sendInformational(status: number, fields: string): void {
    if (!this.localEnded && !this.closed) this.writeResponse(status, null, fields, false)
  }

  /** Servers: the response's head. `fields` are lines with CRLF; what only HTTP/1 knows is left out. `end`: no body follows. */
  sendHeaders(status: number, fields: string, end: boolean): void {
    if (this.localEnded || this.closed) return
    this.writeResponse(status, null, fields, end)
    if (end) this.sendingDone()
  }

  /** As `sendHeaders`, with the fields of a map, without a text in between. Returns the bytes that its lines would have. */
  sendHead(status: number, headers: HeaderMap, end: boolean): number {
    if (this.localEnded || this.closed) return 0
    this.writeResponse(status, headers, '', end)
    const { textBytes } = this.connection.encoder
    if (end) this.sendingDone()
    return textBytes
  }

  private writeResponse(status: number, headers: HeaderMap | null, fields: string, end: boolean): void {
    const { writer, encoder } = this.connection
    const b = writer.begin(headers === null ? HpackEncoder.bound(fields.length) : HpackEncoder.boundOf(headers))
    encoder.begin(b, writer.payloadAt, this.responseNeverIndexed)
    encoder.status(status)
    if (headers === null) encoder.fields(fields, true)
    else encoder.map(headers, true)
    writer.endHeaders(this.id, encoder.position, end)
    this.headBytesSent = writer.lastHeaderBytes
    this.connection.guardWaiting()
  }

  /** False when the peer takes no more for now: pause the source until `onWritable`. All bytes are taken either way. */
  sendBody(bytes: Buffer, start: number, end: number): boolean {
    if (this.localEnded || this.closed || this.endQueued) return true
    const { schedule, writer } = this.connection
    let at = start
    if ((this.queue === null || this.queue.bytes === 0) && schedule.free) {
      const limit = writer.dataLimit
      while (at < end && this.sendWindow > 0 && schedule.window > 0) {
        const n = Math.min(end - at, limit, this.sendWindow, schedule.window)
        writer.data(this.id, bytes, at, at + n, false)
        this.sent(n)
        at += n
      }
    }
    if (at < end) {
      this.queue ??= new SendQueue(this.connection.connection.io.blocks)
      this.queue.push(bytes, at, end)
      this.wait()
    }
    // What is still flowing goes out with this event: only a peer that does not read, or windows, hold the source back.
    if (writer.flowing && this.queuedBytes <= HIGH_WATER) return true
    this.wantsWritable = true
    return false
  }

  /** Ends our side. `trailers` is empty or field lines. */
  sendEnd(trailers: string): void {
    if (this.localEnded || this.closed || this.endQueued) return
    if (this.queuedBytes > 0) {
      this.endQueued = true
      this.queuedTrailers = trailers
      return
    }
    this.writeEnd(trailers)
  }

  private writeEnd(trailers: string): void {
    const { writer, encoder } = this.connection
    if (trailers === '') writer.endStream(this.id)
    else {
      const b = writer.begin(HpackEncoder.bound(trailers.length))
      encoder.begin(b, writer.payloadAt, '')
      encoder.fields(trailers, true)
      writer.endHeaders(this.id, encoder.position, true)
    }
    this.sendingDone()
    this.connection.guardWaiting()
  }

  private sendingDone(): void {
    this.localEnded = true
    this.stalledSinceMs = 0
    if (this.remoteEnded) this.connection.forget(this)
    else if (this.unwanted) this.linger()
  }

  get queuedBytes(): number {
    return this.queue === null ? 0 : this.queue.bytes
  }

  private sent(n: number): void {
    const { connection } = this
    this.bytesSent += n
    this.sendWindow -= n
    connection.schedule.window -= n
    connection.guard.dataSent()
    this.stalledSinceMs = 0
  }

  /** Something is queued. */
  private wait(): void {
    const { connection } = this
    if (this.sendWindow > 0) connection.schedule.add(this)
    if (this.stalledSinceMs === 0) {
      this.stalledSinceMs = connection.nowMs
      connection.armStall()
    }
  }

  /** Called by the schedule when it is this stream's turn: sends one frame. */
  sendQueued(): void {
    const { queue, connection } = this
    if (queue === null || queue.bytes === 0 || this.closed || this.sendWindow <= 0) return
    const { writer, schedule } = connection
    const n = Math.min(queue.bytes, writer.dataLimit, this.sendWindow, schedule.window)
    const b = writer.begin(n)
    queue.take(n, b, writer.payloadAt)
    const last = queue.bytes === 0 && this.endQueued && this.queuedTrailers === ''
    writer.endData(this.id, writer.payloadAt + n, last)
    this.sent(n)
    if (queue.bytes > 0) this.wait()
    else if (last) this.sendingDone()
    else if (this.endQueued) this.writeEnd(this.queuedTrailers)
    this.tellWritable()
  }

  /** The peer reads again, or a window has opened. */
  tellWritable(): void {
    if (!this.wantsWritable || this.closed || this.queuedBytes > LOW_WATER || !this.connection.writer.flowing) return
    this.wantsWritable = false
    this.events.onWritable()
  }

  /** The peer enlarges the window, or has changed what windows begin with. False: beyond what a window may be. */
  addSendWindow(n: number): boolean {
    this.sendWindow += n
    if (this.sendWindow > MAX_WINDOW) return false
    if (this.sendWindow > 0 && this.queuedBytes > 0) this.connection.schedule.add(this)
    return true
  }

  // ---- receiving -------------------------------------------------------------------------------------------------------

  /** A request's head, `ended` when no body follows. A fault, or 0. */
  takeRequest(head: MessageHead, ended: boolean): number {
    this.method = head.method
    this.scheme = head.scheme
    this.authority = head.authority
    this.path = head.path
    this.protocol = head.protocol
    this.neverIndexed = head.neverIndexed
    this.headRead = true
    // A tunnel has no length, and what follows is no body (RFC 9110 §9.3.6).
    if (this.method === 'CONNECT' && head.contentLength > 0) return BODY_NOT_ALLOWED
    return this.takeLength(this.method === 'CONNECT' ? -1 : head.contentLength, ended, false)
  }

  /** A request that came over HTTP/1, and is complete. */
  takeUpgrade(method: string, scheme: string, authority: string, path: string): void {
    this.method = method
    this.scheme = scheme
    this.authority = authority
    this.path = path
    this.headRead = true
  }

  /** A final response's head. */
  takeResponse(head: MessageHead, ended: boolean): number {
    const { status } = head
    this.status = status
    this.neverIndexed = head.neverIndexed
    this.headRead = true
    // A tunnel that was accepted: a length means nothing (RFC 9110 §9.3.6).
    if (this.method === 'CONNECT' && status < 300) return this.takeLength(-1, ended, false)
    // What they announce belongs to another response (RFC 9110 §8.6).
    const bodyless = this.method === 'HEAD' || status === 204 || status === 304
    return this.takeLength(head.contentLength, ended, bodyless)
  }

  private takeLength(length: number, ended: boolean, bodyless: boolean): number {
    this.bodyForbidden = bodyless
    this.hasBody = !ended
    this.bodyLength = ended || bodyless ? 0 : length
    return ended && length > 0 && !bodyless ? LENGTH_MISMATCH : 0
  }

  /** Body bytes as they come. A fault, or 0. */
  takeData(bytes: Buffer, start: number, end: number): number {
    const n = end - start
    this.bytesReceived += n
    if (this.bodyForbidden) return BODY_NOT_ALLOWED
    if (this.bodyLength >= 0 && this.bytesReceived > this.bodyLength) return LENGTH_MISMATCH
    if (this.paused || this.delivering) {
      this.received ??= new SendQueue(null)
      this.received.push(bytes, start, end)
      this.connection.relieve()
      return 0
    }
    this.delivering = true
    this.events.onBody(bytes, start, end)
    this.delivering = false
    this.connection.giveBack(this, n)
    return 0
  }

  /** The peer has sent all. A fault, or 0. */
  takeEnd(trailers: HeaderMap | null): number {
    if (this.bodyLength > 0 && this.bytesReceived !== this.bodyLength) return LENGTH_MISMATCH
    this.remoteEnded = true
    this.trailers = trailers
    if (!this.paused && (this.received === null || this.received.bytes === 0)) this.deliverEnd()
    if (this.localEnded) this.connection.forget(this)
    return 0
  }

  private deliverEnd(): void {
    this.endDelivered = true
    const { trailers } = this
    this.trailers = null
    this.events.onEnd(trailers)
    if (trailers !== null) returnMap(trailers)
  }

  /** Holds back body and end until `resume`: the peer may send one window more and then has to wait. */
  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    if (this.delivering || this.endDelivered) return
    const { received } = this
    if (received !== null) {
      this.delivering = true
      let chunk = received.shift()
      while (chunk !== null) {
        this.events.onBody(chunk, 0, chunk.length)
        this.connection.giveBack(this, chunk.length)
        chunk = this.paused ? null : received.shift()
      }
      this.delivering = false
    }
    if (this.remoteEnded && !this.paused && !this.endDelivered && !this.isCut) this.deliverEnd()
  }

  /** Ended by a reset, not by its two ends. */
  private get isCut(): boolean {
    return this.closed && !(this.remoteEnded && this.localEnded)
  }

  // ---- the end ---------------------------------------------------------------------------------------------------------

  /**
   * The answer stands: what the peer still sends is dropped. A while after all of ours has left it is told to stop (RFC 9113 §8.1), and not at once, since
   * clients were seen that forget an answer when the reset comes together with its end.
   */
  stopReceiving(): void {
    this.events = NOBODY
    if (this.closed || this.remoteEnded) return
    this.unwanted = true
    this.resume()
    if (this.localEnded) this.linger()
  }

  private linger(): void {
    this.unwantedSinceMs = this.connection.nowMs
    this.connection.armUnwanted()
  }

  /** Gives up, whatever state it is in: RST_STREAM. The owner hears nothing more. NO_ERROR: an answer was complete before its request. */
  reset(code: number): void {
    this.events = NOBODY
    if (this.closed) {
      this.drop()
      return
    }
    this.connection.resetStream(this, code === NO_ERROR && !this.localEnded ? CANCEL : code)
  }

  /** The stream is over; its owner is told when it did not end by itself. Called by the connection. */
  cut(code: number): void {
    const { events } = this
    this.drop()
    this.events = NOBODY
    events.onReset(code)
  }

  /** Lets go of what waits to be sent. */
  dropQueue(): void {
    this.wantsWritable = false
    this.stalledSinceMs = 0
    if (this.queue !== null) this.queue.clear()
  }

  /** Lets go of what waits in either direction. */
  drop(): void {
    const { received } = this
    this.dropQueue()
    if (received === null || received.bytes === 0) return
    const n = received.bytes
    received.clear()
    // The stream itself needs no window any more.
    this.connection.giveConnection(n)
  }
}

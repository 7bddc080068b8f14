// Hot lane: one HTTP/2 connection, what both sides of it have in common: its streams, windows, SETTINGS, PING, GOAWAY, and what is done about a
// peer that breaks the rules. What single frames mean stands in frame-rules.ts; what is left is long, because all of it is about these few fields.
//
// States: OPEN → CLOSED. CLOSED: nothing more is read or written; the socket may live a moment longer. An orderly end is OPEN with `finishing`:
// no new streams, and CLOSED after the last one.
import type { DeadlineOwner } from '../../base/timer-wheel.ts'
import type { Connection, ConnectionOwner } from '../../transport/connection.ts'
import { HeaderMap } from '../header-map.ts'
import { AbuseGuard } from './abuse-guard.ts'
import { ClosedStreams } from './closed-streams.ts'
import * as D from './connection-deadlines.ts'
import * as E from './error-codes.ts'
import { FrameReader } from './frame-reader.ts'
import { FrameRules } from './frame-rules.ts'
import * as F from './frame-types.ts'
import { FrameWriter } from './frame-writer.ts'
import { COMPRESSION_FAILED, HpackDecoder } from './hpack/decoder.ts'
import { HpackEncoder } from './hpack/encoder.ts'
import * as M from './message-head.ts'
import type { Http2Options } from './options.ts'
import { PeerSettings } from './peer-settings.ts'
import { ReceiveWindow } from './receive-window.ts'
import { SendSchedule } from './send-schedule.ts'
import { returnMap, takeMap } from './spare-maps.ts'
import type { Http2Stream } from './stream.ts'
import { StreamTable } from './stream-table.ts'

/** What a connection tells its owner, apart from its streams. */
export interface Http2Events {
  /** The peer's SETTINGS have come, or new ones. */
  onSettings(): void
  /** A stream has left the connection: there is room for another. */
  onStreamClosed(stream: Http2Stream): void
  /** The peer wants no new streams. */
  onGoaway(code: number, debug: string): void
  /** We end the connection because of what the peer did. `why` is a sentence for logs. */
  onConnectionError(code: number, why: string): void
  /** Once, last. */
  onClose(reason: string): void
}

const LINGER_MS = 1000
/** Between the two GOAWAY of an orderly end, when the PING between them is not answered. */
const GOAWAY_MS = 1000

/** Of blocks that nobody wants. */
const DISCARDED = new HeaderMap()

const PING_KEEPALIVE = Uint8Array.from([0x68, 0x64, 0x6c, 0, 0, 0, 0, 1])
const PING_GOAWAY = Uint8Array.from([0x68, 0x64, 0x6c, 0, 0, 0, 0, 2])

export abstract class Http2Connection implements ConnectionOwner, DeadlineOwner {
  readonly connection: Connection
  readonly options: Http2Options
  readonly writer: FrameWriter
  readonly encoder: HpackEncoder
  readonly schedule: SendSchedule
  readonly guard: AbuseGuard
  readonly peer: PeerSettings
  readonly streams: StreamTable
  /** Nothing more is read or written. */
  closed: boolean
  /** No new streams, from either side; the connection ends with the last one. */
  finishing: boolean
  /** The peer's SETTINGS have come. */
  settled: boolean
  /** The peer has sent GOAWAY. */
  peerLeaving: boolean
  /** What the peer may send on the whole connection. */
  readonly window: ReceiveWindow
  /** The shortest round trip seen, ms; 0: none yet. */
  rttMs: number
  protected readonly decoder: HpackDecoder
  protected readonly head: M.MessageHead
  protected readonly rules: FrameRules
  protected readonly closedStreams: ClosedStreams
  /** The highest stream that the peer has opened. */
  protected lastPeerId: number
  /** Streams of the peer above this are not looked at any more: our GOAWAY said so. */
  protected lastTaken: number
  private readonly events: Http2Events
  private readonly reader: FrameReader
  private readonly deadlines: D.ConnectionDeadlines
  /** What windows of streams are larger than our SETTINGS say, until the peer has acknowledged them. */
  private lenience: number
  /** The frame that was being read when the deadline for it was armed. */
  private headFrame: number
  private settingsSentMs: number
  private pingSentMs: number
  private lastReadMs: number
  /** When the peer was asked last whether it is alive. */
  private askedMs: number
  private goawayBegun: boolean
  /** What the streams' windows have grown to: new ones follow, … */
  private streamWindow: number
  /** … and by how much those of all open streams have. */
  private grown: number

  constructor(connection: Connection, events: Http2Events, options: Http2Options, isServer: boolean) {
    const now = connection.io.clock.monotonicMs
    const maxHeaderBytes = options.maxHeaderBytes === 0 ? 1e9 : options.maxHeaderBytes
    this.connection = connection
    this.options = options
    this.writer = new FrameWriter(connection)
    this.encoder = new HpackEncoder(options.huffman)
    this.schedule = new SendSchedule(this.writer, F.DEFAULT_WINDOW)
    this.guard = new AbuseGuard(options.abuse, now)
    this.peer = new PeerSettings(!isServer)
    this.streams = new StreamTable()
    this.closed = false
    this.finishing = false
    this.settled = false
    this.peerLeaving = false
    this.rttMs = 0
    this.decoder = new HpackDecoder({
      tableSize: options.headerTableSize,
      maxHeaderBytes,
      maxHeaders: options.maxHeaders === 0 ? 1e9 : options.maxHeaders,
      extendedConnect: options.extendedConnect,
    })
    this.head = new M.MessageHead()
    this.rules = new FrameRules(this, maxHeaderBytes)
    this.closedStreams = new ClosedStreams()
    this.lastPeerId = 0
    this.lastTaken = F.MAX_STREAM_ID
    this.events = events
    this.reader = new FrameReader(this.rules, isServer)
    this.deadlines = new D.ConnectionDeadlines(connection.io, this)
    this.window = new ReceiveWindow(Math.max(F.DEFAULT_WINDOW, options.initialConnectionWindow), now)
    this.lenience = Math.max(0, F.DEFAULT_WINDOW - options.initialStreamWindow)
    this.headFrame = 0
    this.settingsSentMs = now
    this.pingSentMs = 0
    this.lastReadMs = now
    this.askedMs = now
    this.goawayBegun = false
    this.streamWindow = options.initialStreamWindow
    this.grown = 0
    this.awaitFrame()
    this.deadlines.arm(D.SETTINGS_ACK, options.settingsTimeoutMs)
    this.deadlines.arm(D.KEEPALIVE, options.keepaliveIntervalMs)
  }

  get nowMs(): number {
    return this.connection.io.clock.monotonicMs
  }

  /** The window that a new stream gives the peer. A peer that has not seen our SETTINGS yet may send what is the default. */
  newReceiveWindow(): ReceiveWindow {
    const window = new ReceiveWindow(this.options.initialStreamWindow, this.nowMs)
    window.available += this.lenience
    return window
  }

  /** Our SETTINGS, and a window for the whole connection; `more` are pairs that only one side sends. */
  protected greet(more: readonly number[]): void {
    const { options } = this
    const pairs = [...more, F.SETTINGS_INITIAL_WINDOW_SIZE, options.initialStreamWindow]
    if (options.headerTableSize !== 4096) pairs.push(F.SETTINGS_HEADER_TABLE_SIZE, options.headerTableSize)
    if (options.maxFrameSize !== F.MIN_MAX_FRAME) pairs.push(F.SETTINGS_MAX_FRAME_SIZE, options.maxFrameSize)
    if (options.maxHeaderBytes !== 0) pairs.push(F.SETTINGS_MAX_HEADER_LIST_SIZE, options.maxHeaderBytes)
    this.writer.settings(pairs)
    if (this.window.size > F.DEFAULT_WINDOW) this.writer.windowUpdate(0, this.window.size - F.DEFAULT_WINDOW)
  }

  /** A header block on a stream is complete. False when the connection has ended. */
  abstract onBlock(streamId: number, endStream: boolean, b: Buffer, start: number, end: number): boolean
  /** Has the stream never been used? */
  abstract isIdle(streamId: number): boolean
  /** The peer has reset a stream. False when the connection has ended. */
  abstract peerReset(stream: Http2Stream, code: number): boolean

  // ---- from the transport ----------------------------------------------------------------------------------------------

  onData(bytes: Buffer, length: number): void {
    if (this.closed) return
    this.lastReadMs = this.nowMs
    this.reader.execute(bytes, length)
    if (this.closed) return
    if (this.reader.idle && !this.rules.insideBlock && this.settled) this.deadlines.cancel(D.HEAD)
    else this.awaitFrame()
  }

  private awaitFrame(): void {
    if (this.deadlines.arm(D.HEAD, this.options.headerTimeoutMs)) this.headFrame = this.rules.frames
  }

  /** Nothing can come any more, windows included: the connection is of no use. */
  onEnd(): void {
    if (!this.closed) this.close(E.CONNECTION_LOST)
    this.peerEnded()
  }

  protected peerEnded(): void {
    this.connection.end()
  }

  onWritable(): void {
    if (this.closed) return
    this.writer.resume()
    this.schedule.run()
    for (const stream of this.streams.values()) stream.tellWritable()
    this.endWhenDone()
  }

  onClose(reason: string): void {
    if (!this.closed) this.close(E.CONNECTION_LOST)
    this.deadlines.cancelAll()
    this.events.onClose(reason)
  }

  // ---- what frame-rules.ts calls ---------------------------------------------------------------------------------------

  applySettings(b: Buffer, start: number, end: number): boolean {
    const { peer } = this
    const before = peer.initialWindow
    if (!this.settled) {
      this.settled = true
      peer.maxConcurrentStreams = F.MAX_STREAM_ID
    }
    const code = peer.apply(b, start, end)
    if (code !== E.NO_ERROR) return this.fail(code, 'a setting has a value that it may not have')
    this.writer.settingsAck()
    if (!this.guardWaiting()) return false
    this.writer.maxFrame = peer.maxFrameSize
    this.encoder.limitTable(peer.headerTableSize)
    const change = peer.initialWindow - before
    if (change !== 0) {
      for (const stream of this.streams.values())
        if (!stream.addSendWindow(change)) return this.fail(E.FLOW_CONTROL_ERROR, "SETTINGS make a stream's window too large")
      this.schedule.run()
    }
    this.events.onSettings()
    return !this.closed
  }

  settingsAcknowledged(): void {
    this.deadlines.cancel(D.SETTINGS_ACK)
    this.decoder.limitTable(this.options.headerTableSize)
    // What was sent beyond the window that we wanted is owed now; the peer may have to wait for us to say so.
    for (const stream of this.lenience > 0 ? this.streams.values() : []) {
      stream.receiveWindow.available -= this.lenience
      this.giveBack(stream, 0)
    }
    this.lenience = 0
    this.noteRoundTrip(this.settingsSentMs)
  }

  pingAnswered(b: Buffer, at: number): void {
    if (this.pingSentMs > 0) this.noteRoundTrip(this.pingSentMs)
    this.pingSentMs = 0
    if (this.goawayBegun && b[at + 7] === PING_GOAWAY[7]) this.finish()
  }

  private noteRoundTrip(sentMs: number): void {
    const ms = Math.max(0.1, this.nowMs - sentMs)
    if (this.rttMs === 0 || ms < this.rttMs) this.rttMs = ms
  }

  peerGoaway(lastId: number, code: number, debug: string): boolean {
    this.peerLeaving = true
    this.finishing = true
    this.afterPeerGoaway(lastId)
    if (this.closed) return false
    this.events.onGoaway(code, debug)
    this.endWhenDone()
    return !this.closed
  }

  /** Streams of ours above `lastId` have not been looked at. */
  protected afterPeerGoaway(_lastId: number): void {}

  /** May frames on this closed stream still be on their way, without anybody being at fault? */
  mayTrail(id: number): boolean {
    return id > this.lastTaken || this.closedStreams.mayTrail(id)
  }

  /** Decodes a block. A fault, 0, or COMPRESSION_FAILED: then the connection has ended. */
  protected decode(b: Buffer, start: number, end: number, mode: number, map: HeaderMap): number {
    const fault = this.decoder.decode(b, start, end, mode, map, this.head)
    if (fault === COMPRESSION_FAILED) this.fail(E.COMPRESSION_ERROR, 'a header block is not HPACK')
    return fault
  }

  /** Reads a block that nobody wants. False when the connection has ended. */
  protected discard(b: Buffer, start: number, end: number): boolean {
    return this.decode(b, start, end, M.DISCARDED, DISCARDED) !== COMPRESSION_FAILED
  }

  /** A block behind the message: trailers. */
  protected trailers(stream: Http2Stream, endStream: boolean, b: Buffer, start: number, end: number): boolean {
    if (stream.remoteEnded) return this.discard(b, start, end) && this.streamError(stream, E.STREAM_CLOSED, M.MISPLACED)
    const map = takeMap()
    let fault = this.decode(b, start, end, M.TRAILERS, map)
    if (fault === COMPRESSION_FAILED) return false
    if (fault === 0 && !endStream) fault = M.UNEXPECTED_HEADERS
    if (map.count === 0) returnMap(map)
    if (fault === 0) fault = stream.takeEnd(map.count > 0 ? map : null)
    if (fault !== 0) return this.streamError(stream, E.PROTOCOL_ERROR, fault)
    return !this.closed
  }

  // ---- windows ---------------------------------------------------------------------------------------------------------

  /** `n` bytes of a stream's data have been consumed. */
  giveBack(stream: Http2Stream, n: number): void {
    if (this.closed) return
    if (!stream.remoteEnding && !stream.remoteEnded && !stream.closed) {
      const { receiveWindow } = stream
      const { options } = this
      const before = receiveWindow.size
      const most = Math.min(options.maxStreamWindow, before + options.windowGrowth - this.grown)
      if (stream.bytesReceived <= options.initialStreamWindow) receiveWindow.raise(Math.min(most, this.streamWindow))
      const due = receiveWindow.give(n, options.initialStreamWindow, most, this.nowMs, this.rttMs)
      this.grown += receiveWindow.size - before
      if (due > 0) {
        this.tellWindow(stream.id, due)
        this.streamWindow = receiveWindow.size
      }
    }
    this.giveConnection(n)
  }

  giveConnection(n: number): void {
    if (this.closed) return
    const due = this.window.give(n, this.window.size, this.options.maxConnectionWindow, this.nowMs, this.rttMs)
    if (due > 0) this.tellWindow(0, due)
  }

  /** A stream keeps what came for it. */
  relieve(): void {
    const due = this.window.relieve(this.options.maxConnectionWindow)
    if (due > 0) this.tellWindow(0, due)
  }

  private tellWindow(streamId: number, due: number): void {
    this.writer.windowUpdate(streamId, due)
    this.guardWaiting()
  }

  /** Something waits for the peer: it must move in time. */
  armStall(): void {
    this.deadlines.arm(D.STALL, this.options.stallTimeoutMs)
  }

  /** A stream is open only because the peer still sends what nobody wants. */
  armUnwanted(): void {
    this.deadlines.arm(D.UNWANTED, LINGER_MS)
  }

  private resetUnwanted(): void {
    const limit = this.nowMs - LINGER_MS
    let waiting = false
    for (const stream of [...this.streams.values()]) {
      if (stream.unwantedSinceMs === 0) continue
      if (stream.unwantedSinceMs > limit) waiting = true
      else this.resetStream(stream, E.NO_ERROR)
    }
    if (waiting) this.armUnwanted()
  }

  private resetStalled(): void {
    const limit = this.nowMs - this.options.stallTimeoutMs
    let waiting = false
    for (const stream of this.streams.values()) {
      if (stream.stalledSinceMs === 0) continue
      if (stream.stalledSinceMs > limit) waiting = true
      else if (!this.streamError(stream, E.CANCEL, M.STALLED)) return
    }
    if (waiting) this.armStall()
  }

  // ---- streams ---------------------------------------------------------------------------------------------------------

  /** The stream's owner will not look at its headers any more: the next stream may have them, once this one is closed. */
  recycle(stream: Http2Stream): void {
    if (stream.headersFree) return
    stream.headersFree = true
    if (stream.closed) returnMap(stream.headers)
  }

  /** Both sides of a stream have ended. */
  forget(stream: Http2Stream): void {
    if (stream.closed) return
    stream.closed = true
    this.streams.delete(stream.id)
    this.grown -= stream.receiveWindow.size - this.options.initialStreamWindow
    if (stream.headersFree) returnMap(stream.headers)
    this.events.onStreamClosed(stream)
    this.endWhenDone()
  }

  /** RST_STREAM, by our own will. */
  resetStream(stream: Http2Stream, code: number): void {
    if (this.closed || stream.closed) return
    this.writer.resetStream(stream.id, code)
    this.closedStreams.add(stream.id)
    stream.drop()
    this.forget(stream)
    this.guardWaiting()
  }

  /** RST_STREAM because of what the peer did; the owner is told. False when the connection has ended. */
  streamError(stream: Http2Stream, code: number, fault: number): boolean {
    stream.fault = fault
    const livedMs = this.nowMs - stream.openedMs
    this.resetStream(stream, code)
    stream.cut(code)
    return this.countReset(livedMs)
  }

  protected countReset(livedMs: number): boolean {
    if (this.closed) return false
    return this.guard.reset(livedMs) || this.fail(E.ENHANCE_YOUR_CALM, 'too many streams were reset soon after they began')
  }

  // ---- the end ---------------------------------------------------------------------------------------------------------

  /** Is more waiting for a peer that does not read than a peer may let wait? False: the connection has ended. */
  guardWaiting(): boolean {
    if (this.closed) return false
    const { writer } = this
    if (this.guard.waiting(writer.waitingFrames, writer.waitingBytes)) return true
    this.close(E.CONNECTION_LOST)
    this.events.onConnectionError(E.ENHANCE_YOUR_CALM, 'the peer does not read what it asks for')
    this.connection.destroy('http2_flood')
    return false
  }

  /** Ends the connection because of what the peer did: GOAWAY with the code. Returns false, for callers that pass it on. */
  fail(code: number, why: string): false {
    if (this.closed) return false
    this.writer.goaway(this.lastPeerId, code, why)
    this.close(code)
    this.events.onConnectionError(code, why)
    this.endSocket()
    return false
  }

  /** Ends the connection at once: GOAWAY, and all streams are cut. */
  goaway(code: number, debug: string): void {
    if (this.closed) return
    this.writer.goaway(this.lastPeerId, code, debug)
    this.close(E.CONNECTION_LOST)
    this.endSocket()
  }

  /** An orderly end: no new streams, then GOAWAY, then the end of the last stream. A peer that is about to open one still may (RFC 9113 §6.8). */
  shutdown(): void {
    if (this.closed || this.goawayBegun) return
    this.goawayBegun = true
    this.writer.goaway(F.MAX_STREAM_ID, E.NO_ERROR, '')
    this.pingSentMs = this.nowMs
    this.writer.ping(false, PING_GOAWAY, 0)
    this.deadlines.arm(D.GOAWAY, GOAWAY_MS)
  }

  private finish(): void {
    if (this.closed || this.lastTaken !== F.MAX_STREAM_ID) return
    this.deadlines.cancel(D.GOAWAY)
    this.lastTaken = this.lastPeerId
    this.finishing = true
    this.writer.goaway(this.lastPeerId, E.NO_ERROR, '')
    this.endWhenDone()
  }

  protected endWhenDone(): void {
    if (!this.finishing || this.closed || this.streams.size > 0 || this.writer.waitingBytes > 0) return
    this.close(E.CONNECTION_LOST)
    this.endSocket()
  }

  private endSocket(): void {
    if (!this.writer.flowing) {
      this.connection.destroy('http2_closed')
      return
    }
    this.connection.end()
    if (!this.connection.peerEnded) this.deadlines.arm(D.LINGER, LINGER_MS)
  }

  /** Nothing more is read or written; streams that are left are cut. */
  private close(code: number): void {
    this.closed = true
    this.finishing = true
    this.reader.stop()
    this.deadlines.cancelAll()
    const left = this.streams.values()
    this.streams.clear()
    for (const stream of left) {
      stream.closed = true
      // A mistake in the owner of one must not leave the others waiting for ever.
      this.connection.io.run('reset', () => stream.cut(code))
    }
  }

  onDeadline(kind: number): void {
    const { options } = this
    switch (kind) {
      case D.SETTINGS_ACK:
        this.fail(E.SETTINGS_TIMEOUT, 'SETTINGS were not acknowledged in time')
        break
      case D.HEAD:
        // It may be another frame by now, of a connection that is never between two frames when a read ends.
        if (this.settled && this.rules.frames !== this.headFrame) this.awaitFrame()
        else this.fail(E.ENHANCE_YOUR_CALM, 'a frame or header block did not come whole in time')
        break
      case D.STALL:
        this.resetStalled()
        break
      case D.UNWANTED:
        this.resetUnwanted()
        break
      case D.KEEPALIVE: {
        const idleMs = this.nowMs - this.lastReadMs
        if (idleMs < options.keepaliveIntervalMs) {
          this.deadlines.arm(D.KEEPALIVE, options.keepaliveIntervalMs - idleMs)
          break
        }
        this.askedMs = this.nowMs
        this.pingSentMs = this.askedMs
        this.writer.ping(false, PING_KEEPALIVE, 0)
        this.deadlines.arm(D.KEEPALIVE_ANSWER, options.keepaliveTimeoutMs)
        break
      }
      case D.KEEPALIVE_ANSWER:
        // Not by the time that has passed: this deadline comes a little late, and the answer of a near peer at once.
        if (this.lastReadMs >= this.askedMs) this.deadlines.arm(D.KEEPALIVE, options.keepaliveIntervalMs)
        else {
          this.close(E.CONNECTION_LOST)
          this.connection.destroy('keepalive_timeout')
        }
        break
      case D.GOAWAY:
        this.finish()
        break
      case D.LINGER:
        this.connection.destroy('')
        break
    }
  }

  /** After an exception in `onDeadline`. */
  abandon(): void {
    this.connection.destroy('internal_error')
  }
}

// Hot lane: what each frame means (RFC 9113 §6), and what is wrong with it when it stands where it may not.
import * as E from './error-codes.ts'
import { BODY, type FrameSink, REFUSE, SKIP, WHOLE } from './frame-reader.ts'
import * as F from './frame-types.ts'
import { BLOCK_BAD_PADDING, BLOCK_OK, dependency, HeaderAssembly } from './header-assembly.ts'
import type { Http2Connection } from './http2-connection.ts'
import { MISPLACED } from './message-head.ts'
import type { Http2Stream } from './stream.ts'

export class FrameRules implements FrameSink {
  private readonly c: Http2Connection
  private readonly assembly: HeaderAssembly
  /** Frames begun; the parts of one header block are one. */
  frames: number
  // Of the DATA frame that is being read.
  private dataStream: Http2Stream | null
  private dataBytes: number
  private dataEnds: boolean

  constructor(connection: Http2Connection, maxHeaderBytes: number) {
    this.c = connection
    this.assembly = new HeaderAssembly(maxHeaderBytes)
    this.frames = 0
    this.dataStream = null
    this.dataBytes = 0
    this.dataEnds = false
  }

  /** Is a header block open that goes on in the next frame? */
  get insideBlock(): boolean {
    return this.assembly.streamId !== 0
  }

  /** Was the stream of the last HEADERS frame said to depend on itself? */
  get selfDependent(): boolean {
    return this.assembly.selfDependent
  }

  onFrame(type: number, flags: number, id: number, length: number): number {
    if (this.c.closed) return REFUSE
    if (!this.c.settled && (type !== F.SETTINGS || (flags & F.ACK) !== 0))
      return this.refuse(E.PROTOCOL_ERROR, 'the first frame is not SETTINGS')
    if (length > this.c.options.maxFrameSize)
      return this.refuse(E.FRAME_SIZE_ERROR, 'a frame is longer than SETTINGS_MAX_FRAME_SIZE')
    if (this.assembly.streamId !== 0 && (type !== F.CONTINUATION || id !== this.assembly.streamId))
      return this.refuse(E.PROTOCOL_ERROR, 'a frame stands inside a header block')
    if (type !== F.CONTINUATION) this.frames++
    if (type === F.DATA) return this.dataFrame(flags, id, length)
    if (type === F.HEADERS || type === F.CONTINUATION) {
      if (id === 0) return this.refuse(E.PROTOCOL_ERROR, 'a header block without a stream')
      if (type === F.CONTINUATION && this.assembly.streamId === 0)
        return this.refuse(E.PROTOCOL_ERROR, 'CONTINUATION without a header block')
      if (this.assembly.exceeds(length))
        return this.refuse(E.ENHANCE_YOUR_CALM, 'a header block is far too large, or in too many pieces')
      return WHOLE
    }
    return this.smallFrame(type, flags, id, length)
  }

  /** Frames of a fixed form: stream and length have to be right before anything is read. */
  private smallFrame(type: number, flags: number, id: number, length: number): number {
    switch (type) {
      case F.SETTINGS:
        if (id !== 0) return this.refuse(E.PROTOCOL_ERROR, 'SETTINGS on a stream')
        if (length % 6 !== 0 || (length > 0 && (flags & F.ACK) !== 0))
          return this.refuse(E.FRAME_SIZE_ERROR, 'SETTINGS of a wrong length')
        return WHOLE
      case F.PING:
        if (id !== 0) return this.refuse(E.PROTOCOL_ERROR, 'PING on a stream')
        return length === 8 ? WHOLE : this.refuse(E.FRAME_SIZE_ERROR, 'PING of a wrong length')
      case F.WINDOW_UPDATE:
        return length === 4 ? WHOLE : this.refuse(E.FRAME_SIZE_ERROR, 'WINDOW_UPDATE of a wrong length')
      case F.RST_STREAM:
        if (id === 0) return this.refuse(E.PROTOCOL_ERROR, 'RST_STREAM without a stream')
        return length === 4 ? WHOLE : this.refuse(E.FRAME_SIZE_ERROR, 'RST_STREAM of a wrong length')
      case F.GOAWAY:
        if (id !== 0) return this.refuse(E.PROTOCOL_ERROR, 'GOAWAY on a stream')
        return length >= 8 ? WHOLE : this.refuse(E.FRAME_SIZE_ERROR, 'GOAWAY of a wrong length')
      case F.PRIORITY: {
        if (id === 0) return this.refuse(E.PROTOCOL_ERROR, 'PRIORITY without a stream')
        if (!this.c.guard.priority()) return this.refuse(E.ENHANCE_YOUR_CALM, 'too many PRIORITY frames')
        if (length === 5) return WHOLE
        const stream = this.c.streams.get(id)
        if (stream === undefined) return this.refuse(E.FRAME_SIZE_ERROR, 'PRIORITY of a wrong length')
        return this.c.streamError(stream, E.FRAME_SIZE_ERROR, MISPLACED) ? SKIP : REFUSE
      }
      case F.PUSH_PROMISE:
        return this.refuse(E.PROTOCOL_ERROR, 'PUSH_PROMISE, which was not allowed')
    }
    // Unknown frames mean nothing (RFC 9113 §4.1).
    return this.c.guard.control(1, this.c.nowMs) ? SKIP : this.refuse(E.ENHANCE_YOUR_CALM, 'too many frames of unknown types')
  }

  private dataFrame(flags: number, id: number, length: number): number {
    if (id === 0) return this.refuse(E.PROTOCOL_ERROR, 'DATA without a stream')
    if (!this.c.window.take(length)) return this.refuse(E.FLOW_CONTROL_ERROR, "DATA beyond the connection's window")
    const stream = this.c.streams.get(id)
    if (stream === undefined) {
      if (this.c.isIdle(id)) return this.refuse(E.PROTOCOL_ERROR, 'DATA on an idle stream')
      if (!this.c.mayTrail(id)) return this.refuse(E.STREAM_CLOSED, 'DATA on a closed stream')
      if (length === 0 && !this.c.guard.control(1, this.c.nowMs))
        return this.refuse(E.ENHANCE_YOUR_CALM, 'too many frames on closed streams')
      this.c.giveConnection(length)
      return SKIP
    }
    let code = E.NO_ERROR
    if (stream.remoteEnded) code = E.STREAM_CLOSED
    else if (!stream.headRead) code = E.PROTOCOL_ERROR
    else if (!stream.receiveWindow.take(length)) code = E.FLOW_CONTROL_ERROR
    if (code !== E.NO_ERROR) {
      this.c.giveConnection(length)
      return this.c.streamError(stream, code, MISPLACED) ? SKIP : REFUSE
    }
    this.dataStream = stream
    this.dataBytes = 0
    this.dataEnds = (flags & F.END_STREAM) !== 0
    stream.remoteEnding = this.dataEnds
    return BODY
  }

  onPayload(type: number, flags: number, id: number, b: Buffer, start: number, end: number): boolean {
    switch (type) {
      case F.HEADERS: {
        const { assembly } = this
        const outcome = assembly.begin(id, flags, b, start, end)
        if (outcome !== BLOCK_OK)
          return this.c.fail(
            outcome === BLOCK_BAD_PADDING ? E.PROTOCOL_ERROR : E.FRAME_SIZE_ERROR,
            'HEADERS shorter than what it says of itself',
          )
        const endStream = (flags & F.END_STREAM) !== 0
        if ((flags & F.END_HEADERS) !== 0) return this.c.onBlock(id, endStream, b, assembly.start, assembly.end)
        assembly.hold(id, endStream, b)
        return true
      }
      case F.CONTINUATION: {
        const { assembly } = this
        assembly.append(b, start, end)
        if ((flags & F.END_HEADERS) === 0) return true
        const block = assembly.take()
        return this.c.onBlock(id, assembly.endStream, block, 0, block.length)
      }
      case F.SETTINGS:
        return this.settings(flags, b, start, end)
      case F.PING:
        return this.ping(flags, b, start)
      case F.WINDOW_UPDATE:
        return this.windowUpdate(id, number31(b, start))
      case F.RST_STREAM:
        return this.rstStream(id, number32(b, start))
      case F.GOAWAY:
        return this.c.peerGoaway(
          number31(b, start),
          number32(b, start + 4),
          b.toString('latin1', start + 8, Math.min(end, start + 136)),
        )
      default: {
        // PRIORITY means nothing any more (RFC 9113 §5.3.2), but for what never made sense (RFC 7540 §5.3.1).
        if (dependency(b, start) !== id) return true
        const stream = this.c.streams.get(id)
        if (stream === undefined) return this.c.fail(E.PROTOCOL_ERROR, 'a stream that depends on itself')
        return this.c.streamError(stream, E.PROTOCOL_ERROR, MISPLACED)
      }
    }
  }

  onDataPart(bytes: Buffer, start: number, end: number): boolean {
    const { c } = this
    const stream = this.dataStream as Http2Stream
    this.dataBytes += end - start
    // It may have been reset while its frame was on its way.
    if (stream.closed) c.giveConnection(end - start)
    else {
      const fault = stream.takeData(bytes, start, end)
      if (fault !== 0) {
        c.giveConnection(end - start)
        return c.streamError(stream, E.PROTOCOL_ERROR, fault)
      }
    }
    return !c.closed
  }

  onDataEnd(padding: number): boolean {
    const { c, dataStream: stream } = this
    if (stream === null) return true
    this.dataStream = null
    if (padding > 0) c.giveBack(stream, padding)
    if (this.dataBytes > 0) c.guard.useful()
    else if (!this.dataEnds && !c.guard.emptyFrame()) return c.fail(E.ENHANCE_YOUR_CALM, 'too many DATA frames without data')
    if (!this.dataEnds || stream.closed) return !c.closed
    const fault = stream.takeEnd(null)
    if (fault !== 0) return c.streamError(stream, E.PROTOCOL_ERROR, fault)
    return !c.closed
  }

  onBadPadding(): void {
    this.c.fail(E.PROTOCOL_ERROR, 'padding longer than its frame')
  }

  onBadPreface(): void {
    this.c.fail(E.PROTOCOL_ERROR, 'this is not the preface of HTTP/2')
  }

  private refuse(code: number, why: string): number {
    this.c.fail(code, why)
    return REFUSE
  }

  private settings(flags: number, b: Buffer, start: number, end: number): boolean {
    const { c } = this
    // A frame with many settings is as much work as many frames.
    if (!c.guard.control(1 + (end - start) / 192, c.nowMs)) return c.fail(E.ENHANCE_YOUR_CALM, 'too many SETTINGS frames')
    if ((flags & F.ACK) !== 0) {
      c.settingsAcknowledged()
      return true
    }
    return c.applySettings(b, start, end)
  }

  private ping(flags: number, b: Buffer, start: number): boolean {
    const { c } = this
    // Answers that nobody waits for count as well.
    if (!c.guard.control(1, c.nowMs)) return c.fail(E.ENHANCE_YOUR_CALM, 'too many PING frames')
    if ((flags & F.ACK) !== 0) {
      c.pingAnswered(b, start)
      return !c.closed
    }
    c.writer.ping(true, b, start)
    return c.guardWaiting()
  }

  private windowUpdate(id: number, increment: number): boolean {
    const { c } = this
    if (!c.guard.windowUpdate()) return c.fail(E.ENHANCE_YOUR_CALM, 'too many WINDOW_UPDATE frames')
    if (id === 0) {
      if (increment === 0) return c.fail(E.PROTOCOL_ERROR, 'WINDOW_UPDATE of nothing')
      c.schedule.window += increment
      if (c.schedule.window > F.MAX_WINDOW) return c.fail(E.FLOW_CONTROL_ERROR, "the connection's window is too large")
      c.schedule.run()
      return !c.closed
    }
    const stream = c.streams.get(id)
    if (stream === undefined) return !c.isIdle(id) || c.fail(E.PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream')
    if (increment === 0) return c.streamError(stream, E.PROTOCOL_ERROR, MISPLACED)
    if (!stream.addSendWindow(increment)) return c.streamError(stream, E.FLOW_CONTROL_ERROR, MISPLACED)
    c.schedule.run()
    return !c.closed
  }

  private rstStream(id: number, code: number): boolean {
    const { c } = this
    const stream = c.streams.get(id)
    if (stream !== undefined) return c.peerReset(stream, code)
    if (c.isIdle(id)) return c.fail(E.PROTOCOL_ERROR, 'RST_STREAM on an idle stream')
    return c.guard.control(1, c.nowMs) || c.fail(E.ENHANCE_YOUR_CALM, 'too many frames on closed streams')
  }
}

function number31(b: Buffer, at: number): number {
  return dependency(b, at)
}

function number32(b: Buffer, at: number): number {
  return dependency(b, at) + ((b[at] as number) & 0x80) * 0x1000000
}

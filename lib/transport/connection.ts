// Hot lane: bytes both ways, whatever carries them: a socket, TLS, or a stream of a tunnel. Output collects here for one write an event; what comes
// in is handed to the owner inside of a boundary: an exception there costs that connection and nothing else.
import { BLOCK_BYTES, SMALL_BLOCK_BYTES } from '../base/block-pool.ts'
import { latin1Write } from '../base/latin1.ts'
import type { EndpointWorkload } from '../state/cluster.ts'
import type { Io } from './io.ts'
import type { TlsFacts } from './tls-facts.ts'

/** Who a connection belongs to at the moment. A pool hands a connection from owner to owner. */
export interface ConnectionOwner {
  /** `bytes[0, length)` are valid until the call returns; `bytes[length]` may be overwritten (a parser's sentinel). Never while reads are disabled. */
  onData(bytes: Buffer, length: number): void
  /** The peer will send nothing more; it may still read. */
  onEnd(): void
  /** All that was queued has left, after `writable` had been false. */
  onWritable(): void
  /** Once, last. `reason` is empty for an orderly end, else what went wrong: an errno name or a word of ours. */
  onClose(reason: string): void
}

/** Owner of a connection for the moment between two owners. */
export const NOBODY: ConnectionOwner = { onData: () => {}, onEnd: () => {}, onWritable: () => {}, onClose: () => {} }

/** Where the bytes of one direction of a tunnel go. */
export interface ByteSink {
  /** False when the peer reads slower than we write: pause the source. */
  readonly writable: boolean
  /** Queues a copy of a view of bytes that the caller will reuse. */
  writeBytes(bytes: Buffer, start: number, end: number): void
  /** Nothing more will be written; what is queued leaves first. */
  end(): void
}

export abstract class Connection implements ByteSink {
  readonly io: Io
  owner: ConnectionOwner
  /** `ip:port`: the other end, or whom it asks for by the PROXY protocol. */
  peerAddress: string
  /** `ip:port` of the other end, where `peerAddress` is not; empty: it is. */
  proxyAddress: string
  readonly localAddress: string
  /** `ip:port` that the peer dialled, where its connection was intercepted or came through a tunnel; empty: `localAddress`. */
  originalDst: string
  /** Of a connection out of a tunnel: which workload the other end says it is of; null: it does not say. */
  told: EndpointWorkload | null
  /** Server name that the client asked for by TLS, terminated here or not; lower case, of the client's choice. Empty: none. */
  serverName: string
  /** What the handshake of the innermost TLS said; null: plaintext. */
  tls: TlsFacts | null
  /** Total bytes of the connection, without a write that failed at once: nothing of it has left. Of TLS: what is inside. */
  bytesRead: number
  bytesWritten: number
  /** What carries us did not take all: the source should pause until `onWritable`. */
  blocked: boolean
  closed: boolean
  /** The peer's FIN has come. */
  peerEnded: boolean
  /** Our FIN is queued or sent. */
  ended: boolean
  closeReason: string
  /** What the carrier knows of why it gave way, in words for access logs (`TLS_error: …`); empty: nothing. There before `onEnd` and `onClose` say so. */
  transportFailure: string
  /** The peer is to see an error, not an end. */
  protected aborting: boolean
  /** Monotonic ms of the last byte either way; idle sweeps read it. */
  lastActiveMs: number
  /** Output of this event; null when there is none. */
  protected out: Buffer | null
  /** Where the next byte of output goes in its block. */
  outPosition: number
  /** Number of blocks that are no longer ours: bytes in the block of an earlier number must not be touched. */
  outEpoch: number
  /** A write is under way and nothing may be sent until it is done. */
  protected busy: boolean
  /** Output waits for the end of the turn of the event loop, not of the event: for who carries many exchanges. */
  gathers: boolean
  /** Bulk waits as well, until a block is full: for who is fed by many small reads of one event of the loop, as records of TLS are. */
  gathersBulk: boolean
  private dirty: boolean
  private readPauses: number
  /** Came while reads were disabled; null: nothing. */
  private held: Buffer | null
  private heldEnd: boolean

  constructor(io: Io, owner: ConnectionOwner, peerAddress: string, localAddress: string) {
    this.io = io
    this.owner = owner
    this.peerAddress = peerAddress
    this.proxyAddress = ''
    this.localAddress = localAddress
    this.originalDst = ''
    this.told = null
    this.serverName = ''
    this.tls = null
    this.bytesRead = 0
    this.bytesWritten = 0
    this.blocked = false
    this.closed = false
    this.peerEnded = false
    this.ended = false
    this.closeReason = ''
    this.transportFailure = ''
    this.aborting = false
    this.lastActiveMs = io.clock.monotonicMs
    this.out = null
    this.outPosition = 0
    this.outEpoch = 0
    this.busy = false
    this.gathers = false
    this.gathersBulk = false
    this.dirty = false
    this.readPauses = 0
    this.held = null
    this.heldEnd = false
  }

  /** The certificate that it stands on comes to its end, and it is this connection's turn to be replaced by one on a newer one. */
  get retired(): boolean {
    return false
  }

  /** The certificate that it stands on has come to its end, and nothing shall stand on it any more. */
  get spent(): boolean {
    return false
  }

  // ---- what a carrier does ---------------------------------------------------------------------------------------------

  /** False once there is nothing to send to. */
  protected abstract get carried(): boolean
  /** Sends the first `length` bytes of a block, which goes back to the pool when they have left. */
  protected abstract transmit(block: Buffer, length: number): void
  /** The block is full and `busy`: it waits behind the write under way. */
  protected abstract postpone(block: Buffer, length: number): void
  protected abstract setReading(on: boolean): void
  /** FIN, behind all that was sent. */
  protected abstract finish(): void
  /** Closes at once; `gone` follows in a later turn. */
  protected abstract drop(): void

  // ---- output ----------------------------------------------------------------------------------------------------------

  /** False when the peer reads slower than we write: pause the source. */
  get writable(): boolean {
    return !this.blocked
  }

  /** Queues text (latin1) for the end of this event. */
  writeText(text: string): void {
    const out = this.reserve(text.length)
    if (out !== null) this.outPosition += latin1Write(out, text, this.outPosition)
    else this.writeLongText(text)
  }

  /** Queues a copy of a view of bytes that the caller will reuse. */
  writeBytes(bytes: Buffer, start: number, end: number): void {
    let at = start
    while (at < end && !this.closed) {
      const n = Math.min(end - at, BLOCK_BYTES)
      const out = this.reserve(n) as Buffer
      bytes.copy(out, this.outPosition, at, at + n)
      this.outPosition += n
      at += n
    }
  }

  /** The block that output collects in, with room for `n` bytes from `outPosition` on, which who writes them there moves. Null: too many for a block. */
  reserve(n: number): Buffer | null {
    if (n > BLOCK_BYTES) return null
    const { out } = this
    if (out !== null) {
      const need = this.outPosition + n
      if (need <= out.length) return out
      if (need <= BLOCK_BYTES) return this.enlarge(out)
      if (this.busy) this.setAside()
      else this.flush()
    }
    if (!this.dirty) {
      this.dirty = true
      this.io.markDirty(this, n > SMALL_BLOCK_BYTES && !this.gathersBulk)
    }
    this.outPosition = 0
    this.out = this.io.blocks.acquire(n)
    return this.out
  }

  /** A small block is full: what it has goes on in a large one. */
  private enlarge(small: Buffer): Buffer {
    const { blocks } = this.io
    const large = blocks.acquire(BLOCK_BYTES)
    small.copy(large, 0, 0, this.outPosition)
    blocks.release(small)
    if (this.gathers && !this.gathersBulk) this.io.markDirty(this, true)
    this.out = large
    this.outEpoch++
    return large
  }

  private writeLongText(text: string): void {
    for (let at = 0; at < text.length; at += BLOCK_BYTES) this.writeText(text.slice(at, at + BLOCK_BYTES))
  }

  private setAside(): void {
    const block = this.out as Buffer
    this.out = null
    this.outEpoch++
    this.bytesWritten += this.outPosition
    this.blocked = true
    this.postpone(block, this.outPosition)
  }

  /** What `source` brings will be written here: each record of TLS, and each frame of a tunnel, is a read. */
  fedBy(source: Connection): void {
    if (source.tls === null) return
    this.gathers = true
    this.gathersBulk = true
  }

  /** Sends what is queued: one write. Called at the end of the event; harmless when nothing is. */
  flush(): void {
    this.dirty = false
    const block = this.out
    if (block === null || this.busy) return
    this.out = null
    this.outEpoch++
    if (this.closed || this.ended || !this.carried) {
      this.io.blocks.release(block)
      return
    }
    this.bytesWritten += this.outPosition
    this.lastActiveMs = this.io.clock.monotonicMs
    this.transmit(block, this.outPosition)
  }

  /** From the carrier: there is room again, after `blocked`. The caller is inside of a boundary. */
  protected unblock(): void {
    this.lastActiveMs = this.io.clock.monotonicMs
    if (!this.blocked) return
    this.blocked = false
    this.owner.onWritable()
  }

  // ---- input -----------------------------------------------------------------------------------------------------------

  /** Counted: reading goes on when each disable has met its enable. */
  readDisable(): void {
    if (this.readPauses++ === 0 && !this.closed) this.setReading(false)
  }

  readEnable(): void {
    if (--this.readPauses === 0 && !this.closed) this.readAgain()
  }

  get readDisabled(): boolean {
    return this.readPauses > 0
  }

  /** Forgets pauses of an owner that is gone. */
  resetReadPauses(): void {
    const paused = this.readPauses > 0
    this.readPauses = 0
    if (paused && !this.closed) this.readAgain()
  }

  private readAgain(): void {
    if (this.held === null && !this.heldEnd) this.setReading(true)
    else setImmediate(deliverHeld, this)
  }

  /** From the carrier: bytes have come. Opens a boundary. */
  deliver(bytes: Buffer, length: number): void {
    const { io } = this
    io.enter()
    try {
      this.bytesRead += length
      this.lastActiveMs = io.clock.monotonicMs
      this.handOn(bytes, length)
    } catch (error) {
      io.report(error, 'data', this)
      this.destroy('internal_error')
    } finally {
      io.leave()
    }
  }

  /** From who looked at the first bytes to find out whose they are, inside of a boundary: its successor gets them. */
  handOn(bytes: Buffer, length: number): void {
    if (this.readPauses > 0 || this.held !== null) this.hold(bytes, length)
    else this.owner.onData(bytes, length)
  }

  /** A carrier may have read more when it was told to stop. At most what one read brought, so nothing grows here. */
  private hold(bytes: Buffer, length: number): void {
    const copy = Buffer.allocUnsafe(length + 1)
    bytes.copy(copy, 0, 0, length)
    this.held = this.held === null ? copy : Buffer.concat([this.held.subarray(0, this.held.length - 1), copy])
  }

  /** For `deliverHeld`: reads were enabled again. */
  release(): void {
    if (this.closed || this.readPauses > 0) return
    const { held, heldEnd, io } = this
    this.held = null
    this.heldEnd = false
    io.enter()
    try {
      if (held !== null) this.owner.onData(held, held.length - 1)
      if (heldEnd) this.endedByPeer()
      else if (this.readPauses === 0 && !this.closed) this.setReading(true)
    } catch (error) {
      io.report(error, 'data', this)
      this.destroy('internal_error')
    } finally {
      io.leave()
    }
  }

  /** From the carrier: the peer sends no more. Opens a boundary. */
  protected peerFinished(): void {
    if (this.closed || this.peerEnded) return
    const { io } = this
    io.enter()
    try {
      this.endedByPeer()
    } catch (error) {
      io.report(error, 'end', this)
      this.destroy('internal_error')
    } finally {
      io.leave()
    }
  }

  private endedByPeer(): void {
    // Behind bytes that wait; a connection that nothing waits on hears of it although it does not read: it has nothing more to read.
    if (this.held !== null) {
      this.heldEnd = true
      return
    }
    this.peerEnded = true
    this.owner.onEnd()
  }

  // ---- ends ------------------------------------------------------------------------------------------------------------

  /** From the carrier: it is closed. Opens a boundary. */
  protected gone(): void {
    if (this.closed) return
    const { io } = this
    io.enter()
    try {
      this.closed = true
      this.owner.onClose(this.closeReason)
    } catch (error) {
      io.report(error, 'close', this)
    } finally {
      io.leave()
    }
  }

  /** Sends what is queued, then FIN. The peer may go on sending. */
  end(): void {
    if (this.ended || this.closed) return
    this.flush()
    this.ended = true
    if (!this.closed) this.finish()
  }

  /** Closes at once; what is queued is lost. Harmless when called again. `onClose` follows in a later turn. */
  destroy(reason: string): void {
    if (this.closed) return
    if (this.closeReason === '') this.closeReason = reason
    if (this.out !== null) this.io.blocks.release(this.out)
    this.out = null
    this.outEpoch++
    this.ended = true
    this.held = null
    this.heldEnd = false
    this.drop()
  }

  /** As `destroy`, of a connection on which nothing is under way: the peer sees its end, and not that it was cut off, where a carrier can tell the two apart. */
  dismiss(reason: string): void {
    this.destroy(reason)
  }

  /** As `destroy`, and the peer sees that something went wrong: TCP's RST, of a tunnel RST_STREAM (RFC 9113 §8.5). TLS has no such word. */
  abort(reason: string): void {
    this.aborting = true
    this.destroy(reason)
  }
}

function deliverHeld(c: Connection): void {
  c.release()
}

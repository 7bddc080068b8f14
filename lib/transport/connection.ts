// Hot lane: bytes both ways. Socket listeners are module-level functions that find the connection on the socket; each is a boundary:
// an exception in one costs that connection and nothing else.
import type net from 'node:net'
import { BLOCK_BYTES } from '../base/block-pool.ts'
import { latin1Write } from '../base/latin1.ts'
import type { Io } from './io.ts'
import { handleOf, INTERNALS, type Internals, type StreamHandle, wasReset } from './stream-internals.ts'

/** Who a connection belongs to at the moment. A pool hands a connection from owner to owner. */
export interface ConnectionOwner {
  /** `bytes[0, length)` are valid until the call returns; `bytes[length]` may be overwritten (a parser's sentinel). */
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

interface OwnedSocket extends net.Socket {
  heddle: Connection | null
}

export class Connection implements ByteSink {
  readonly io: Io
  readonly socket: net.Socket
  owner: ConnectionOwner
  /** `ip:port`. */
  readonly peerAddress: string
  readonly localAddress: string
  /** Total bytes of the connection, without a write that failed at once: nothing of it has left. */
  bytesRead: number
  bytesWritten: number
  /** The kernel did not take all: the source should pause until `onWritable`. */
  blocked: boolean
  closed: boolean
  /** The peer's FIN has come. */
  peerEnded: boolean
  /** Our FIN is queued or sent. */
  ended: boolean
  closeReason: string
  /** Monotonic ms of the last byte either way; idle sweeps read it. */
  lastActiveMs: number
  /** Output of this event; null when there is none. */
  private out: Buffer | null
  /** Where the next byte of output goes in its block. */
  outPosition: number
  /** Number of blocks that are no longer ours: bytes in the block of an earlier number must not be touched. */
  outEpoch: number
  private dirty: boolean
  private readPauses: number
  private pendingWrites: number

  constructor(io: Io, socket: net.Socket, owner: ConnectionOwner) {
    this.io = io
    this.socket = socket
    this.owner = owner
    this.peerAddress = addressText(socket.remoteAddress, socket.remotePort)
    this.localAddress = addressText(socket.localAddress, socket.localPort)
    this.bytesRead = 0
    this.bytesWritten = 0
    this.blocked = false
    this.closed = false
    this.peerEnded = false
    this.ended = false
    this.closeReason = ''
    this.lastActiveMs = io.clock.monotonicMs
    this.out = null
    this.outPosition = 0
    this.outEpoch = 0
    this.dirty = false
    this.readPauses = 0
    this.pendingWrites = 0
    ;(socket as OwnedSocket).heddle = this
    socket.on('end', onSocketEnd)
    socket.on('error', onSocketError)
    socket.on('close', onSocketClose)
    startReading(io, socket)
  }

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
    if (this.out !== null) {
      if (this.outPosition + n <= BLOCK_BYTES) return this.out
      this.flush()
    }
    if (!this.dirty) {
      this.dirty = true
      this.io.markDirty(this)
    }
    this.outPosition = 0
    this.out = this.io.blocks.acquire()
    return this.out
  }

  private writeLongText(text: string): void {
    for (let at = 0; at < text.length; at += BLOCK_BYTES) this.writeText(text.slice(at, at + BLOCK_BYTES))
  }

  /** Sends what is queued: one write. Called at the end of the event; harmless when nothing is. */
  flush(): void {
    this.dirty = false
    const block = this.out
    if (block === null) return
    this.out = null
    this.outEpoch++
    const handle = INTERNALS === null ? null : handleOf(this.socket)
    if (this.closed || this.ended || (INTERNALS !== null && handle === null)) {
      this.io.blocks.release(block)
      return
    }
    this.bytesWritten += this.outPosition
    this.lastActiveMs = this.io.clock.monotonicMs
    const view = new Uint8Array(block.buffer, block.byteOffset, this.outPosition)
    if (INTERNALS === null || handle === null) {
      this.socket.write(view)
      if (this.socket.writableLength > 0) this.awaitDrain(block)
      else this.io.blocks.release(block)
      return
    }
    const wrap = takeWrap(INTERNALS)
    this.afterWrite(INTERNALS, handle, wrap, handle.writeBuffer(wrap, view), block)
  }

  private afterWrite(internals: Internals, handle: StreamHandle, wrap: object, error: number, block: Buffer): void {
    if (error !== 0) {
      this.bytesWritten -= this.outPosition
      returnWrap(wrap)
      this.io.blocks.release(block)
      this.destroy(error === -32 ? 'EPIPE' : error === -104 ? 'ECONNRESET' : `write error ${error}`)
      return
    }
    if (internals.state[internals.lastWriteWasAsync] === 0) {
      returnWrap(wrap)
      this.io.blocks.release(block)
      return
    }
    // The kernel's buffer is full: the request object and the memory belong to libuv until oncomplete.
    this.pendingWrites++
    this.blocked = true
    const pending = wrap as PendingWrite
    pending.handle = handle
    pending.oncomplete = onWriteComplete
    pending.connection = this
    pending.block = block
  }

  /** The public API's way to learn that what it queued has left. */
  private awaitDrain(block: Buffer): void {
    this.pendingWrites++
    this.blocked = true
    this.socket.write('', () => {
      const io = this.io
      io.enter()
      try {
        io.blocks.release(block)
        this.written(0)
      } catch (error) {
        io.report(error, 'drain', this)
        this.destroy('internal_error')
      } finally {
        io.leave()
      }
    })
  }

  /** A queued write has left (0) or failed. */
  written(status: number): void {
    this.pendingWrites--
    if (this.closed) return
    if (status < 0) {
      this.destroy(status === -32 ? 'EPIPE' : status === -125 ? 'ECANCELED' : 'ECONNRESET')
      return
    }
    this.lastActiveMs = this.io.clock.monotonicMs
    if (this.pendingWrites === 0 && this.blocked) {
      this.blocked = false
      this.owner.onWritable()
    }
  }

  /** Counted: reading goes on when each disable has met its enable. */
  readDisable(): void {
    if (this.readPauses++ === 0 && !this.closed) setReading(this.socket, false)
  }

  readEnable(): void {
    if (--this.readPauses === 0 && !this.closed) setReading(this.socket, true)
  }

  get readDisabled(): boolean {
    return this.readPauses > 0
  }

  /** Forgets pauses of an owner that is gone. */
  resetReadPauses(): void {
    if (this.readPauses > 0 && !this.closed) setReading(this.socket, true)
    this.readPauses = 0
  }

  /** Sends what is queued, then FIN. The peer may go on sending. */
  end(): void {
    if (this.ended || this.closed) return
    this.flush()
    this.ended = true
    if (!this.closed) this.socket.end()
  }

  /** Closes at once; what is queued is lost. Harmless when called again. `onClose` follows in a later turn. */
  destroy(reason: string): void {
    if (this.closed) return
    if (this.closeReason === '') this.closeReason = reason
    if (this.out !== null) this.io.blocks.release(this.out)
    this.out = null
    this.outEpoch++
    this.ended = true
    this.socket.destroy()
  }
}

interface PendingWrite {
  handle: StreamHandle
  oncomplete: (this: PendingWrite, status: number) => void
  connection: Connection
  block: Buffer
}

// A write that the kernel takes at once never touches its request object, so one object serves until a write stays.
let spareWrap: object | null = null

function takeWrap(internals: Internals): object {
  const wrap = spareWrap
  if (wrap === null) return new internals.WriteWrap()
  spareWrap = null
  return wrap
}

function returnWrap(wrap: object): void {
  spareWrap = wrap
}

function onWriteComplete(this: PendingWrite, status: number): void {
  const c = this.connection
  const io = c.io
  io.enter()
  try {
    io.blocks.release(this.block)
    c.written(status)
  } catch (error) {
    io.report(error, 'write', c)
    c.destroy('internal_error')
  } finally {
    io.leave()
  }
}

/** Sends a socket's reads to its connection: into the shared buffer where Node lets us, else by `data` events. */
function startReading(io: Io, socket: net.Socket): void {
  const handle = handleOf(socket)
  if (INTERNALS !== null && handle !== null && typeof handle.useUserBuffer === 'function') {
    const slots = socket as unknown as Record<symbol, unknown>
    slots[INTERNALS.buffer] = io.readView
    slots[INTERNALS.bufferCallback] = onSocketRead
    handle.useUserBuffer(io.readView)
  } else socket.on('data', onSocketData)
  setReading(socket, true)
}

/**
 * Starts or stops reads. With the handle it happens now; `socket.resume` would do it in a later turn, and do so even when `pause` was called
 * meanwhile.
 */
function setReading(socket: net.Socket, on: boolean): void {
  const handle = INTERNALS === null ? null : handleOf(socket)
  if (handle === null) {
    if (on) socket.resume()
    else socket.pause()
    return
  }
  if (handle.reading === on) return
  handle.reading = on
  if (on) handle.readStart()
  else handle.readStop()
}

/** Called by Node's stream layer with the socket as `this`. */
function onSocketRead(this: OwnedSocket, length: number): boolean {
  const c = this.heddle
  if (c !== null) deliver(c, c.io.readBuffer, length)
  return true
}

function onSocketData(this: OwnedSocket, chunk: Buffer): void {
  const c = this.heddle
  if (c === null) return
  // Into the shared buffer, so that parsers find room for their sentinel behind the bytes.
  const view = c.io.readView
  for (let at = 0; at < chunk.length && !c.closed; at += view.length) {
    const n = chunk.copy(view, 0, at, Math.min(chunk.length, at + view.length))
    deliver(c, c.io.readBuffer, n)
  }
}

function deliver(c: Connection, bytes: Buffer, length: number): void {
  const io = c.io
  io.enter()
  try {
    c.bytesRead += length
    c.lastActiveMs = io.clock.monotonicMs
    c.owner.onData(bytes, length)
  } catch (error) {
    io.report(error, 'data', c)
    c.destroy('internal_error')
  } finally {
    io.leave()
  }
}

function onSocketEnd(this: OwnedSocket): void {
  const c = this.heddle
  if (c === null || c.closed || c.peerEnded) return
  c.io.enter()
  try {
    // Not the end of a message, and nobody is there to be answered (RFC 9112 §8).
    // Once both sides have ended, the kernel has forgotten the peer as well.
    if (!c.ended && wasReset(this)) c.destroy('ECONNRESET')
    else {
      c.peerEnded = true
      c.owner.onEnd()
    }
  } catch (error) {
    c.io.report(error, 'end', c)
    c.destroy('internal_error')
  } finally {
    c.io.leave()
  }
}

function onSocketError(this: OwnedSocket, error: NodeJS.ErrnoException): void {
  const c = this.heddle
  if (c !== null && c.closeReason === '') c.closeReason = error.code ?? error.message
}

function onSocketClose(this: OwnedSocket): void {
  const c = this.heddle
  if (c === null || c.closed) return
  c.io.enter()
  try {
    c.closed = true
    c.owner.onClose(c.closeReason)
  } catch (error) {
    c.io.report(error, 'close', c)
  } finally {
    c.io.leave()
  }
}

function addressText(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return ''
  return address.includes(':') ? `[${address}]:${port ?? 0}` : `${address}:${port ?? 0}`
}

// Hot lane: a connection over a TCP socket. Socket listeners are module-level functions that find the connection on the socket.
import type net from 'node:net'
import { Connection, type ConnectionOwner } from './connection.ts'
import type { Io } from './io.ts'
import { handleOf, INTERNALS, type Internals, type StreamHandle, wasReset } from './stream-internals.ts'

interface OwnedSocket extends net.Socket {
  heddle: SocketConnection | null
}

export class SocketConnection extends Connection {
  readonly socket: net.Socket
  private pendingWrites: number

  /** Begins to read at once. `socket` is connected, and nobody else listens to it. */
  constructor(io: Io, socket: net.Socket, owner: ConnectionOwner) {
    super(io, owner, addressText(socket.remoteAddress, socket.remotePort), addressText(socket.localAddress, socket.localPort))
    this.socket = socket
    this.pendingWrites = 0
    ;(socket as OwnedSocket).heddle = this
    socket.on('end', onSocketEnd)
    socket.on('error', onSocketError)
    socket.on('close', onSocketClose)
    startReading(io, socket)
  }

  protected get carried(): boolean {
    return INTERNALS === null || handleOf(this.socket) !== null
  }

  protected transmit(block: Buffer, length: number): void {
    const view = new Uint8Array(block.buffer, block.byteOffset, length)
    const handle = INTERNALS === null ? null : handleOf(this.socket)
    if (INTERNALS === null || handle === null) {
      this.socket.write(view)
      if (this.socket.writableLength > 0) this.awaitDrain(block)
      else this.io.blocks.release(block)
      return
    }
    const wrap = takeWrap(INTERNALS)
    this.afterWrite(INTERNALS, handle, wrap, handle.writeBuffer(wrap, view), block, length)
  }

  private afterWrite(
    internals: Internals,
    handle: StreamHandle,
    wrap: object,
    error: number,
    block: Buffer,
    length: number,
  ): void {
    if (error !== 0) {
      this.bytesWritten -= length
      returnWrap(wrap)
      this.io.blocks.release(block)
      this.destroy(writeErrorName(error))
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

  /** Never busy. */
  protected postpone(block: Buffer, length: number): void {
    this.transmit(block, length)
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
      this.destroy(status === -125 ? 'ECANCELED' : writeErrorName(status))
      return
    }
    if (this.pendingWrites === 0) this.unblock()
  }

  protected setReading(on: boolean): void {
    setReading(this.socket, on)
  }

  protected finish(): void {
    this.socket.end()
  }

  protected drop(): void {
    if (this.aborting && this.carried && handleOf(this.socket) !== null) this.socket.resetAndDestroy()
    else this.socket.destroy()
  }

  /**
   * Gives the socket away, for a TLS handshake on it: `first` is what was read and is to be read again. This connection hears nothing more
   * of it and is no connection any more; its owner's `onClose` does not come.
   */
  detach(first: Uint8Array): net.Socket {
    const { socket } = this
    setReading(socket, false)
    stopOwning(socket)
    this.closed = true
    socket.on('error', ignored)
    if (first.length > 0) socket.unshift(first)
    return socket
  }

  /** The socket's end came. */
  onSocketEnd(): void {
    // Not the end of a message, and nobody is there to be answered (RFC 9112 §8).
    // Once both sides have ended, the kernel has forgotten the peer as well.
    if (!this.closed && !this.peerEnded && !this.ended && wasReset(this.socket)) this.destroy('ECONNRESET')
    else this.peerFinished()
  }

  onSocketError(error: NodeJS.ErrnoException): void {
    if (this.closeReason === '') this.closeReason = error.code ?? error.message
  }

  onSocketClose(): void {
    this.gone()
  }
}

/** Who wraps the socket hears of its errors; without a listener one would end the process. */
function ignored(): void {}

export function writeErrorName(status: number): string {
  return status === -32 ? 'EPIPE' : status === -104 ? 'ECONNRESET' : `write error ${status}`
}

/** A write that has not left yet, as Node's request object: whoever made it is told once. */
export interface PendingWrite {
  handle: StreamHandle
  oncomplete: (this: PendingWrite, status: number) => void
  connection: SocketConnection
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

export function onWriteComplete(this: PendingWrite, status: number): void {
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
export function startReading(io: Io, socket: net.Socket): void {
  const handle = handleOf(socket)
  if (INTERNALS !== null && handle !== null && typeof handle.useUserBuffer === 'function') {
    const slots = socket as unknown as Record<symbol, unknown>
    slots[INTERNALS.buffer] = io.readView
    slots[INTERNALS.bufferCallback] = onSocketRead
    handle.useUserBuffer(io.readView)
  } else socket.on('data', onSocketData)
  setReading(socket, true)
}

function stopOwning(socket: net.Socket): void {
  if (INTERNALS !== null) {
    const slots = socket as unknown as Record<symbol, unknown>
    slots[INTERNALS.buffer] = null
    slots[INTERNALS.bufferCallback] = null
  }
  socket.off('data', onSocketData)
  socket.off('end', onSocketEnd)
  socket.off('error', onSocketError)
  socket.off('close', onSocketClose)
  ;(socket as OwnedSocket).heddle = null
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
  if (c !== null) c.deliver(c.io.readBuffer, length)
  return true
}

function onSocketData(this: OwnedSocket, chunk: Buffer): void {
  const c = this.heddle
  if (c === null) return
  // Into the shared buffer, so that parsers find room for their sentinel behind the bytes.
  const view = c.io.readView
  for (let at = 0; at < chunk.length && !c.closed; at += view.length) {
    const n = chunk.copy(view, 0, at, Math.min(chunk.length, at + view.length))
    c.deliver(c.io.readBuffer, n)
  }
}

function onSocketEnd(this: OwnedSocket): void {
  if (this.heddle !== null) this.heddle.onSocketEnd()
}

function onSocketError(this: OwnedSocket, error: NodeJS.ErrnoException): void {
  if (this.heddle !== null) this.heddle.onSocketError(error)
}

function onSocketClose(this: OwnedSocket): void {
  if (this.heddle !== null) this.heddle.onSocketClose()
}

function addressText(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return ''
  // A dual-stack listener says IPv4 addresses as IPv6 ones.
  if (address.startsWith('::ffff:') && address.includes('.')) return `${address.slice(7)}:${port ?? 0}`
  return address.includes(':') ? `[${address}]:${port ?? 0}` : `${address}:${port ?? 0}`
}

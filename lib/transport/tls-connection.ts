// Hot lane: a connection inside of TLS, over Node's own TLS socket. Two things are different from a plain socket: a write is always said to be
// done in a later turn, and until then there must be no other; and bytes may still come when reads were just stopped.
import type tls from 'node:tls'
import type { SecretName } from '../state/tls.ts'
import type { ConnectionOwner } from './connection.ts'
import type { HandshakeFailure } from './handshake.ts'
import { failureOfLateError, failureOfSilence } from './handshake-failure.ts'
import type { Io } from './io.ts'
import { onWriteComplete, type PendingWrite, SocketConnection, writeErrorName } from './socket-connection.ts'
import { handleOf, INTERNALS, type StreamHandle } from './stream-internals.ts'
import type { TlsFacts } from './tls-facts.ts'

/** Blocks that may wait behind the write under way are few: their producers were told to pause. */
interface Waiting {
  readonly block: Buffer
  readonly length: number
}

/** What our end of a connection is, the same for all of one context. */
export interface TlsSide {
  readonly side: 'client' | 'server'
  /** Name of our certificate; empty: we have none. */
  readonly certificate: SecretName
  /** When it ends, epoch ms. */
  readonly notAfterMs: number
  /** Our certificate in words; empty: we have none. */
  readonly presented: string
  /** Who the peer is matters, on either side: who goes without a word has probably refused us. */
  readonly mutual: boolean
}

/** Connections that stand on a certificate are replaced within this part of the time that it has left when they begin, before it ends. */
const WINDOW = 0.2
const LONGEST_WINDOW_MS = 3_600_000
/** What of the window is for those that are replaced last. */
const MARGIN = 0.05

/** A peer that ends a connection so soon, and has said nothing, did not like our certificate. */
const SOON_MS = 5000

export class TlsConnection extends SocketConnection {
  private waiting: Waiting[]
  /** The kernel did not take the write under way. */
  private full: boolean
  private finishing: boolean
  private readonly side: TlsSide
  private readonly secureMs: number
  /** Epoch ms; infinite: never. Spread at random, so that they do not all come back at once. */
  private readonly drainAtMs: number

  /** `socket`: its handshake is done and its peer is verified. */
  constructor(io: Io, socket: tls.TLSSocket, facts: TlsFacts, side: TlsSide, owner: ConnectionOwner) {
    super(io, socket, owner)
    this.tls = facts
    this.waiting = []
    this.full = false
    this.finishing = false
    this.side = side
    this.secureMs = io.clock.monotonicMs
    this.drainAtMs = io.tls.drainsOld ? drainTime(io.clock.wallMs, this.notAfterMs) : Number.POSITIVE_INFINITY
  }

  /** Of our certificate or the peer's, which ends first. */
  private get notAfterMs(): number {
    return Math.min(this.side.notAfterMs, this.tls?.peerCertificate?.notAfterMs ?? Number.POSITIVE_INFINITY)
  }

  /** Ours has to have a successor: without one the next connection would be no better. The peer knows what it does. */
  override get retired(): boolean {
    const { io, side } = this
    if (io.clock.wallMs < this.drainAtMs) return false
    return this.notAfterMs < side.notAfterMs || io.tls.notAfterOf(side.certificate) > side.notAfterMs
  }

  override get spent(): boolean {
    return this.io.tls.drainsOld && this.io.clock.wallMs >= this.notAfterMs
  }

  protected override transmit(block: Buffer, length: number): void {
    const handle = INTERNALS === null ? null : handleOf(this.socket)
    if (INTERNALS === null || handle === null) {
      super.transmit(block, length)
      return
    }
    const wrap = new INTERNALS.WriteWrap() as PendingWrite
    const error = handle.writeBuffer(wrap, new Uint8Array(block.buffer, block.byteOffset, length))
    if (error !== 0) {
      this.bytesWritten -= length
      this.io.blocks.release(block)
      this.writeFailed(writeErrorName(error))
      return
    }
    this.busy = true
    wrap.handle = handle
    wrap.oncomplete = onWriteComplete
    wrap.connection = this
    wrap.block = block
    // The kernel's buffer is full; otherwise only the news of the write is late, and nobody needs to wait for that.
    this.full = queueSizeOf(handle) > 0
    if (this.full) this.blocked = true
  }

  /** Why the peer does not want to be written to may still be on its way to us. */
  private writeFailed(reason: string): void {
    if (this.bytesRead > 0 || this.readDisabled) this.destroy(reason)
    else setImmediate(() => this.io.run('write', () => this.destroy(reason)))
  }

  protected override postpone(block: Buffer, length: number): void {
    this.waiting.push({ block, length })
  }

  /** The write under way has left (0) or failed. */
  override written(status: number): void {
    if (INTERNALS === null) {
      super.written(status)
      return
    }
    this.busy = false
    this.full = false
    if (this.closed) return
    if (status < 0) {
      this.writeFailed(status === -125 ? 'ECANCELED' : writeErrorName(status))
      return
    }
    const next = this.waiting.shift()
    if (next === undefined) this.flush()
    else this.transmit(next.block, next.length)
    if (this.finishing && !this.busy) this.socket.end()
    else if (!this.full && this.waiting.length === 0) this.unblock()
  }

  override end(): void {
    if (!this.busy) {
      super.end()
      return
    }
    if (this.ended || this.closed) return
    // Behind the write under way, and what waits behind it.
    if (this.out !== null) {
      this.waiting.push({ block: this.out, length: this.outPosition })
      this.bytesWritten += this.outPosition
      this.out = null
      this.outEpoch++
    }
    this.ended = true
    this.finishing = true
  }

  override onSocketError(error: NodeJS.ErrnoException): void {
    const failure = failureOfLateError(error, this.side.presented, this.details)
    if (failure === null) super.onSocketError(error)
    else this.fail(failure)
  }

  protected override peerFinished(): void {
    if (!this.ended) this.noteSilence()
    super.peerFinished()
  }

  protected override gone(): void {
    if (this.closeReason === 'ECONNRESET' || this.closeReason === 'EPIPE') this.noteSilence()
    for (const { block } of this.waiting.splice(0)) this.io.blocks.release(block)
    super.gone()
  }

  private noteSilence(): void {
    if (this.bytesRead > 0 || this.transportFailure !== '' || !this.side.mutual) return
    if (this.io.clock.monotonicMs - this.secureMs < SOON_MS) this.fail(failureOfSilence(this.side.presented, this.details))
  }

  /** An end that was orderly stays that. */
  private fail(failure: HandshakeFailure): void {
    this.transportFailure = `TLS_error: ${failure.text}`
    if (this.closeReason !== '' || failure.reason !== 'closed_behind_handshake') this.closeReason = this.transportFailure
    this.io.tls.report(this.side.side, this.peerAddress, failure)
  }

  private get details(): Record<string, string> {
    const { tls } = this
    const details: Record<string, string> = {}
    if (tls === null) return details
    if (tls.sni !== '') details['sni'] = tls.sni
    if (tls.alpn !== '') details['alpn'] = tls.alpn
    if (tls.peerIdentity !== '') details['peer'] = tls.peerIdentity
    return details
  }

  /** Node resets plain sockets only. */
  protected override drop(): void {
    this.socket.destroy()
  }

  override destroy(reason: string): void {
    for (const { block } of this.waiting.splice(0)) this.io.blocks.release(block)
    super.destroy(reason)
  }
}

function drainTime(nowMs: number, notAfterMs: number): number {
  const window = Math.min((notAfterMs - nowMs) * WINDOW, LONGEST_WINDOW_MS)
  return notAfterMs - window * (MARGIN + Math.random() * (1 - MARGIN))
}

interface TlsHandle {
  /** Node: the stream below. */
  readonly _parent?: { readonly writeQueueSize?: number }
}

function queueSizeOf(handle: StreamHandle): number {
  return (handle as unknown as TlsHandle)._parent?.writeQueueSize ?? 0
}

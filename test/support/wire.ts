import type net from 'node:net'
import { ByteList } from './byte-list.ts'
import { within } from './eventually.ts'

/** How the other side ended its direction: FIN, RST, or not at all yet. */
export type Ending = 'end' | 'reset'

/**
 * One socket, byte for byte: what came in is kept whole, what goes out goes out as asked. The raw client and the upstream are
 * both made of it.
 */
export class Wire {
  readonly socket: net.Socket
  /** `address:port` of this side, as the peer sees it. */
  readonly localAddress: string
  readonly remoteAddress: string
  private readonly incoming: ByteList
  private ending: Ending | null
  private readonly changed: Set<() => void>

  constructor(socket: net.Socket) {
    this.socket = socket
    this.localAddress = `${socket.localAddress}:${socket.localPort}`
    this.remoteAddress = `${socket.remoteAddress}:${socket.remotePort}`
    this.incoming = new ByteList()
    this.ending = null
    this.changed = new Set()
    socket.setNoDelay(true)
    socket.on('data', (d: Buffer) => {
      this.incoming.push(d)
      this.tell()
    })
    socket.on('end', () => this.ended('end'))
    socket.on('error', () => this.ended('reset'))
    socket.on('close', (hadError) => this.ended(hadError ? 'reset' : 'end'))
  }

  /** Everything received so far. */
  get received(): Buffer {
    return this.incoming.bytes
  }

  get text(): string {
    return this.received.toString('latin1')
  }

  /** null while the other side may still send. */
  get closedBy(): Ending | null {
    return this.ending
  }

  /** Resolves when the bytes are with the kernel. Strings are Latin-1. A peer that went away does not throw. */
  write(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.destroyed || this.socket.writableEnded) return resolve()
      this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, () => resolve())
    })
  }

  /** Written in parts that end at the offsets, a turn of the event loop between them, so that each is a segment of its own. */
  async writeSplit(bytes: string | Uint8Array, offsets: readonly number[]): Promise<void> {
    const all = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes)
    let from = 0
    for (const to of [...offsets, all.length]) {
      if (to <= from) continue
      await this.write(all.subarray(from, to))
      await new Promise((resolve) => setImmediate(resolve))
      from = to
    }
  }

  /** One byte at a time. */
  writeBytewise(bytes: string | Uint8Array): Promise<void> {
    return this.writeSplit(
      bytes,
      Array.from({ length: bytes.length }, (_, i) => i + 1),
    )
  }

  /** Half-close: FIN, still reading. */
  end(): void {
    this.socket.end()
  }

  reset(): void {
    resetSocket(this.socket)
  }

  destroy(): void {
    this.socket.destroy()
  }

  /** Stops taking bytes from the kernel, so that the peer meets back-pressure. */
  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  /** Waits until so many bytes have come, or the text matches; fails when the peer closes before that. */
  async untilReceived(what: number | string | RegExp, budgetMs = 10_000): Promise<Buffer> {
    await this.until(
      `${what instanceof RegExp ? what : JSON.stringify(what)} from ${this.remoteAddress}`,
      () => {
        if (this.has(what)) return true
        if (this.ending !== null) throw new Error(`closed (${this.ending}) before ${what} came; got ${this.tail()}`)
        return false
      },
      budgetMs,
    )
    return this.received
  }

  /** Waits for FIN or RST of the other side. */
  async closed(budgetMs = 10_000): Promise<Ending> {
    await this.until(`${this.remoteAddress} to close`, () => this.ending !== null, budgetMs)
    return this.ending as Ending
  }

  /** Waits for a condition that can only change with bytes or with the end of the connection. */
  until(what: string, isSo: () => boolean, budgetMs = 10_000): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      const check = () => {
        try {
          if (!isSo()) return
          resolve()
        } catch (error) {
          reject(error as Error)
        }
        this.changed.delete(check)
      }
      this.changed.add(check)
      check()
    })
    return within(what, promise, budgetMs, () => `received so far: ${this.tail()}`)
  }

  private has(what: number | string | RegExp): boolean {
    if (typeof what === 'number') return this.incoming.length >= what
    return typeof what === 'string' ? this.text.includes(what) : what.test(this.text)
  }

  private tail(): string {
    return JSON.stringify(this.text.slice(-400))
  }

  /** Called once, before those who wait are told. */
  protected onEnding(_how: Ending): void {}

  private ended(how: Ending): void {
    if (this.ending !== null) return
    this.ending = how
    this.onEnding(how)
    this.tell()
  }

  /** Called also by those who derive state from the bytes after having taken them. */
  protected tell(): void {
    for (const check of [...this.changed]) check()
  }
}

/** RST; FIN when the end of this side is just on its way: Node never exits after a reset behind a pending shutdown. */
export function resetSocket(socket: net.Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy()
  else socket.resetAndDestroy()
}

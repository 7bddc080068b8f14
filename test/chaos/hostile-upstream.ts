// An upstream on raw sockets that does to each attempt what its act says, and counts every request that was written to it.
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { pause } from '../support/eventually.ts'
import { isHttp2 } from '../support/fed-duplex.ts'
import { header, type RequestMessage, RequestReader } from '../support/h1-reader.ts'
import type { Teardown } from '../support/teardown.ts'
import type { Act } from './act.ts'
import { differsAt } from './content.ts'
import { answerBytes } from './hostile-answer.ts'
import { Http2Conversation } from './hostile-http2.ts'

/** One head that arrived: from then on the request counts as written. */
export interface Write {
  readonly id: number
  /** As the proxy counts. */
  readonly attempt: number
  /** A mirrored copy. */
  readonly copy: boolean
}

export interface HostileOptions {
  /** What is done with an attempt of a request. */
  readonly act: (id: number, attempt: number) => Act
  /** Bytes of the answer's body. */
  readonly answerLength: (id: number) => number
  readonly onWrite: (write: Write) => void
  /** What a proxy should not have sent. */
  readonly onWrong: (what: string) => void
  /** Whether a connection is closed as soon as it is there; drawn for each. */
  readonly turnsAway?: () => 'fin' | 'rst' | null
}

export class HostileUpstream {
  /** `address:port` */
  readonly address: string
  private readonly server: net.Server
  private readonly sockets: Set<net.Socket>

  private constructor(server: net.Server, sockets: Set<net.Socket>) {
    this.server = server
    this.sockets = sockets
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async start(t: Teardown, options: HostileOptions): Promise<HostileUpstream> {
    const sockets = new Set<net.Socket>()
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      socket.on('error', () => {})
      const away = options.turnsAway?.() ?? null
      if (away === 'rst') socket.resetAndDestroy()
      else if (away === 'fin') socket.destroy()
      else converse(socket, options)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const upstream = new HostileUpstream(server, sockets)
    t.teardown(() => upstream.stop())
    return upstream
  }

  get openConnections(): number {
    return this.sockets.size
  }

  /** All connections, at once. */
  disconnect(): void {
    for (const socket of this.sockets) socket.destroy()
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve))
    this.disconnect()
    await closed
  }
}

/** In the version that the proxy begins with. */
function converse(socket: net.Socket, options: HostileOptions): void {
  let one: Conversation | Http2Conversation | null = null
  socket.on('data', (bytes: Buffer) => {
    one ??= isHttp2(bytes) ? new Http2Conversation(socket, options) : new Conversation(socket, options)
    one.push(bytes)
  })
  socket.on('end', () => {
    if (one === null) socket.end()
    else one.push(null)
  })
}

/** One connection from the proxy, over HTTP/1. */
class Conversation {
  private readonly socket: net.Socket
  private readonly options: HostileOptions
  private current: { readonly message: RequestMessage; readonly id: number } | null
  /** A whole answer to `current` has left: once the request is complete too, another one may come. */
  private answered: boolean
  private bodyDone: () => void
  private ended: boolean
  private readonly reader: RequestReader

  constructor(socket: net.Socket, options: HostileOptions) {
    this.socket = socket
    this.options = options
    this.current = null
    this.answered = false
    this.bodyDone = () => {}
    this.ended = false
    this.reader = new RequestReader({
      onHead: (message) => this.begin(message),
      onMessage: (message) => this.completed(message),
      // A proxy may give up in the middle of a message; what it may not is write something else there.
      onError: (error) => error.message.startsWith('closed inside') || options.onWrong(error.message),
    })
    socket.on('close', () => {
      this.checkPart()
      this.bodyDone()
    })
  }

  /** null: the proxy has ended its half. */
  push(bytes: Buffer | null): void {
    if (bytes !== null) this.reader.push(bytes)
    else {
      this.checkPart()
      if (!this.ended) this.socket.end()
    }
  }

  private begin(message: RequestMessage): void {
    const { options } = this
    const id = Number(/\/c\/(\d+)$/.exec(message.target)?.[1] ?? Number.NaN)
    if (Number.isNaN(id)) options.onWrong(`a request line that no client sent: ${message.startLine}`)
    if (this.current !== null) options.onWrong(`request ${id} before the answer to ${this.current.id}`)
    this.current = { message, id }
    this.answered = false
    const attempt = Number(header(message, 'x-envoy-attempt-count') ?? 1)
    options.onWrite({ id, attempt, copy: header(message, 'x-envoy-internal') !== undefined })
    this.perform(options.act(id, attempt), message, id, attempt).catch((error: Error) => options.onWrong(error.message))
  }

  private completed(message: RequestMessage): void {
    const wanted = header(message, 'x-body-bytes')
    if (wanted !== undefined && Number(wanted) !== message.body.length)
      this.options.onWrong(`${message.startLine}: ${message.body.length} bytes of body, not ${wanted}`)
    this.checkPart()
    this.bodyDone()
    if (this.answered) this.current = null
  }

  /** What has come of the body so far is what the client sent. */
  private checkPart(): void {
    if (this.current === null || this.current.message.body.length === 0) return
    const { message, id } = this.current
    const at = differsAt(id, message.body)
    if (at >= 0) this.options.onWrong(`the body of request ${id} is another one from byte ${at} on`)
  }

  private async perform(act: Act, message: RequestMessage, id: number, attempt: number): Promise<void> {
    const { socket } = this
    if (!act.early && !message.complete) {
      await new Promise<void>((resolve) => {
        this.bodyDone = resolve
      })
    }
    if (act.delayMs > 0) await pause(act.delayMs)
    const answer = answerBytes(act, id, attempt, message.method, this.options.answerLength(id))
    const whole = act.upTo >= 1
    const bytes = whole ? answer.bytes : answer.bytes.subarray(0, Math.floor(act.upTo * answer.bytes.length))
    if (answer.interim.length > 0 && act.upTo > 0) socket.write(answer.interim)
    // Before the last byte leaves: the next request may come at once.
    this.answered = whole && !answer.closes
    if (this.answered && message.complete) this.current = null
    await this.write(bytes, act.pace)
    if (!whole) return this.end(act.cut)
    if (answer.closes) return this.end('fin')
    if (act.after === 'keep') return
    if (act.after === 'late') await pause(id % 7)
    this.end(act.after === 'rst' ? 'rst' : act.after === 'half-close' ? 'half-close' : 'fin')
  }

  private async write(bytes: Buffer, pace: Act['pace']): Promise<void> {
    const { socket } = this
    const step = pace === 'trickle' ? 1 : pace === 'halves' ? Math.ceil(bytes.length / 2) : bytes.length
    for (let at = 0; at < bytes.length && !socket.destroyed; at += step) {
      socket.write(bytes.subarray(at, at + step))
      if (step < bytes.length) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  private end(how: Act['cut'] | 'half-close'): void {
    const { socket } = this
    if (how === 'stall' || socket.destroyed) return
    this.ended = true
    if (how === 'rst') {
      // What was written just now is to arrive before the reset.
      socket.write('', () => socket.resetAndDestroy())
    } else if (how === 'half-close') socket.end()
    else socket.end(() => socket.destroy())
  }
}

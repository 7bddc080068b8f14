import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { eventually, within } from './eventually.ts'
import { type Exchange, Http1Exchange } from './exchange.ts'
import { isHttp2 } from './fed-duplex.ts'
import type { RequestMessage } from './h1-reader.ts'
import { RequestReader } from './h1-reader.ts'
import { Http2Side } from './stream-exchange.ts'
import type { Teardown } from './teardown.ts'
import { Wire } from './wire.ts'

export { type AnswerSpec, answerBytes, type Exchange } from './exchange.ts'

/** Answers a request; called when its head is there, which is before its body. */
export type Handler = (exchange: Exchange) => unknown

export interface UpstreamOptions {
  /** 127.0.0.1 */
  readonly host?: string
  readonly port?: number
  /** Called for each request. Without it the test takes requests with `next()` and answers them itself. */
  readonly handler?: Handler
  /** No HTTP: connections are taken with `nextConnection()`. */
  readonly raw?: boolean
}

/**
 * An upstream each of whose moves the test makes: it says what is answered, byte for byte and at which moment. It speaks HTTP/2 to whoever begins so. See
 * echo-upstream.ts for one that answers by itself.
 */
export class Upstream {
  /** Every request whose head came, in order. */
  readonly exchanges: Exchange[]
  readonly connections: UpstreamConnection[]
  readonly host: string
  private readonly handler: Handler | null
  private readonly raw: boolean
  private readonly server: net.Server
  private listeningPort: number
  private taken: number
  private takenConnections: number
  private readonly waiting: Set<() => void>

  private constructor(options: UpstreamOptions) {
    this.exchanges = []
    this.connections = []
    this.host = options.host ?? '127.0.0.1'
    this.handler = options.handler ?? null
    this.raw = options.raw ?? false
    this.listeningPort = options.port ?? 0
    this.taken = 0
    this.takenConnections = 0
    this.waiting = new Set()
    this.server = net.createServer({ allowHalfOpen: true }, (socket) => this.accept(socket))
  }

  static async start(t: Teardown, options: UpstreamOptions | Handler = {}): Promise<Upstream> {
    const upstream = new Upstream(typeof options === 'function' ? { handler: options } : options)
    t.teardown(() => upstream.stop())
    await upstream.listen()
    return upstream
  }

  get port(): number {
    return this.listeningPort
  }

  /** `address:port` */
  get address(): string {
    return `${this.host}:${this.listeningPort}`
  }

  get requests(): readonly RequestMessage[] {
    return this.exchanges.map((e) => e.request)
  }

  /** Listens (again) on its port. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject)
      this.server.listen(this.listeningPort, this.host, () => {
        this.server.off('error', reject)
        resolve()
      })
    })
    this.listeningPort = (this.server.address() as AddressInfo).port
  }

  /** Closes the port and every connection: connecting is refused from now on. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve))
    for (const c of this.connections) c.destroy()
    await closed
  }

  /** The next request whose head has come. */
  async next(budgetMs = 10_000): Promise<Exchange> {
    const index = this.taken++
    await this.until(`request ${index + 1} at the upstream`, () => this.exchanges.length > index, budgetMs)
    return this.exchanges[index] as Exchange
  }

  async nextConnection(budgetMs = 10_000): Promise<UpstreamConnection> {
    const index = this.takenConnections++
    await this.until(`connection ${index + 1} at the upstream`, () => this.connections.length > index, budgetMs)
    return this.connections[index] as UpstreamConnection
  }

  /** Forgets what nobody took with `next`, and cuts what is not answered: for tests that share an upstream. */
  startAfresh(): void {
    this.taken = this.exchanges.length
    this.takenConnections = this.connections.length
    for (const e of this.exchanges) if (!e.answered) e.abandon()
  }

  /** Connections that are open. */
  get openConnections(): number {
    return this.connections.filter((c) => !c.socket.destroyed).length
  }

  /** Waits until so many requests have arrived completely. */
  async seen(count: number, budgetMs = 10_000): Promise<readonly RequestMessage[]> {
    await eventually(`${count} complete requests`, () => this.requests.filter((r) => r.complete).length >= count, budgetMs)
    return this.requests
  }

  private until(what: string, isSo: () => boolean, budgetMs: number): Promise<void> {
    const promise = new Promise<void>((resolve) => {
      const check = () => {
        if (!isSo()) return
        this.waiting.delete(check)
        resolve()
      }
      this.waiting.add(check)
      check()
    })
    return within(what, promise, budgetMs)
  }

  private accept(socket: net.Socket): void {
    const connection = new UpstreamConnection(socket, this.raw ? null : (exchange) => this.begin(exchange))
    this.connections.push(connection)
    this.tell()
  }

  private begin(exchange: Exchange): void {
    this.exchanges.push(exchange)
    this.tell()
    if (this.handler === null) return
    // A handler that fails because the proxy went away is the business of the test that made it go away.
    Promise.resolve(exchange)
      .then(this.handler)
      .catch((error: unknown) => {
        exchange.handlerError = error
        exchange.abandon()
      })
  }

  private tell(): void {
    for (const check of [...this.waiting]) check()
  }
}

/** One connection from the proxy, of whichever version. */
export class UpstreamConnection extends Wire {
  /** Bytes after a CONNECT or after `Exchange.switchToTunnel`. */
  tunnelled: Buffer
  /** What the proxy sent that is no HTTP, if anything. */
  parseError: Error | null
  readonly exchanges: Exchange[]
  private readonly reader: RequestReader
  private inTunnel: boolean
  /** null: it speaks HTTP/1. */
  private http2: Http2Side | null

  constructor(socket: net.Socket, onRequest: ((exchange: Exchange) => void) | null) {
    super(socket)
    this.tunnelled = Buffer.alloc(0)
    this.parseError = null
    this.exchanges = []
    this.inTunnel = false
    this.reader = new RequestReader({
      onHead: (request) => {
        this.inTunnel = request.framing === 'tunnel'
        const exchange = new Http1Exchange(this, request)
        this.exchanges.push(exchange)
        onRequest?.(exchange)
      },
      onTunnel: (bytes) => {
        this.tunnelled = Buffer.concat([this.tunnelled, bytes])
      },
      onError: (error) => {
        this.parseError ??= error
      },
    })
    this.http2 = null
    if (onRequest === null) return
    let begun = false
    socket.on('data', (d: Buffer) => {
      if (!begun && isHttp2(d)) this.http2 = this.speakHttp2(onRequest)
      begun = true
      if (this.http2 === null) this.reader.push(d)
      else this.http2.push(d)
      this.tell()
    })
    socket.on('end', () => {
      this.http2?.push(null)
      // A proxy that closes an idle connection is answered in kind.
      if (this.http2 === null && !this.inTunnel && this.exchanges.every((e) => e.answered)) socket.end()
    })
  }

  private speakHttp2(onRequest: (exchange: Exchange) => void): Http2Side {
    return new Http2Side(
      this,
      (exchange) => {
        this.exchanges.push(exchange)
        onRequest(exchange)
      },
      () => this.tell(),
    )
  }

  switchToTunnel(): void {
    this.inTunnel = true
    this.reader.switchToTunnel()
  }

  async untilTunnelled(length: number, budgetMs = 10_000): Promise<Buffer> {
    await this.until(`${length} bytes in the tunnel`, () => this.tunnelled.length >= length, budgetMs)
    return this.tunnelled
  }
}

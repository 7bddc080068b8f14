import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { eventually, within } from './eventually.ts'
import type { HeaderPair, RequestMessage } from './h1-reader.ts'
import { RequestReader } from './h1-reader.ts'
import { headerPairs } from './raw-client.ts'
import type { Teardown } from './teardown.ts'
import { Wire } from './wire.ts'

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

export interface AnswerSpec {
  /** 200 */
  readonly status?: number
  readonly reason?: string
  readonly headers?: readonly HeaderPair[] | Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** Sent chunked, in these chunks, instead of `body`. */
  readonly chunks?: readonly string[]
  /** After `chunks`. */
  readonly trailers?: readonly HeaderPair[] | Readonly<Record<string, string>>
  /** Neither content-length nor chunked: the body ends with the connection. */
  readonly untilClose?: boolean
  /** `Connection: close`, and closed after the answer. */
  readonly close?: boolean
}

/**
 * An upstream each of whose moves the test makes: it says what is answered, byte for byte and at which moment. See
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
  async next(budgetMs = 5000): Promise<Exchange> {
    const index = this.taken++
    await this.until(`request ${index + 1} at the upstream`, () => this.exchanges.length > index, budgetMs)
    return this.exchanges[index] as Exchange
  }

  async nextConnection(budgetMs = 5000): Promise<UpstreamConnection> {
    const index = this.takenConnections++
    await this.until(`connection ${index + 1} at the upstream`, () => this.connections.length > index, budgetMs)
    return this.connections[index] as UpstreamConnection
  }

  /** Forgets what nobody took with `next`, and cuts what is not answered: for tests that share an upstream. */
  startAfresh(): void {
    this.taken = this.exchanges.length
    this.takenConnections = this.connections.length
    for (const e of this.exchanges) if (!e.answered) e.connection.destroy()
  }

  /** Connections that are open. */
  get openConnections(): number {
    return this.connections.filter((c) => !c.socket.destroyed).length
  }

  /** Waits until so many requests have arrived completely. */
  async seen(count: number, budgetMs = 5000): Promise<readonly RequestMessage[]> {
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
        exchange.connection.destroy()
      })
  }

  private tell(): void {
    for (const check of [...this.waiting]) check()
  }
}

/** One connection from the proxy. */
export class UpstreamConnection extends Wire {
  /** Bytes after a CONNECT or after `Exchange.switchToTunnel`. */
  tunnelled: Buffer
  /** What the proxy sent that is no HTTP, if anything. */
  parseError: Error | null
  readonly exchanges: Exchange[]
  private readonly reader: RequestReader
  private inTunnel: boolean

  constructor(socket: net.Socket, onRequest: ((exchange: Exchange) => void) | null) {
    super(socket)
    this.tunnelled = Buffer.alloc(0)
    this.parseError = null
    this.exchanges = []
    this.inTunnel = false
    this.reader = new RequestReader({
      onHead: (request) => {
        this.inTunnel = request.framing === 'tunnel'
        const exchange = new Exchange(this, request)
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
    if (onRequest === null) return
    socket.on('data', (d: Buffer) => {
      this.reader.push(d)
      this.tell()
    })
    socket.on('end', () => {
      // A proxy that closes an idle connection is answered in kind.
      if (!this.inTunnel && this.exchanges.every((e) => e.answered)) socket.end()
    })
  }

  switchToTunnel(): void {
    this.inTunnel = true
    this.reader.switchToTunnel()
  }

  async untilTunnelled(length: number, budgetMs = 5000): Promise<Buffer> {
    await this.until(`${length} bytes in the tunnel`, () => this.tunnelled.length >= length, budgetMs)
    return this.tunnelled
  }
}

/** One request and what is done about it. */
export class Exchange {
  readonly connection: UpstreamConnection
  /** Grows until `complete`. */
  readonly request: RequestMessage
  answered: boolean
  handlerError: unknown

  constructor(connection: UpstreamConnection, request: RequestMessage) {
    this.connection = connection
    this.request = request
    this.answered = false
    this.handlerError = null
  }

  /** The whole request has come. */
  async body(budgetMs = 5000): Promise<Buffer> {
    await this.connection.until('the end of the request', () => this.request.complete, budgetMs)
    return this.request.body
  }

  /** So many bytes of the body have come. */
  async bodyBytes(count: number, budgetMs = 5000): Promise<Buffer> {
    await this.connection.until(`${count} bytes of the request`, () => this.request.content.length >= count, budgetMs)
    return this.request.body
  }

  /** A well-formed answer, after the whole request has come. */
  async answer(spec: AnswerSpec = {}): Promise<void> {
    if (this.request.method !== 'CONNECT') await this.body()
    await this.answerEarly(spec)
  }

  /** A well-formed answer at once. */
  async answerEarly(spec: AnswerSpec = {}): Promise<void> {
    this.answered = true
    await this.connection.write(answerBytes(spec, this.request.method))
    if (spec.close === true || spec.untilClose === true) this.connection.end()
  }

  /** Exact bytes; call as often as needed. */
  write(bytes: string | Uint8Array): Promise<void> {
    this.answered = true
    return this.connection.write(bytes)
  }

  writeSplit(bytes: string | Uint8Array, offsets: readonly number[]): Promise<void> {
    this.answered = true
    return this.connection.writeSplit(bytes, offsets)
  }

  trickle(bytes: string | Uint8Array): Promise<void> {
    this.answered = true
    return this.connection.writeBytewise(bytes)
  }

  /** 101, and both directions are raw from here on. */
  async switchProtocols(protocol: string): Promise<void> {
    await this.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`)
    this.connection.switchToTunnel()
  }

  end(): void {
    this.answered = true
    this.connection.end()
  }

  close(): void {
    this.connection.destroy()
  }

  reset(): void {
    this.connection.reset()
  }
}

export function answerBytes(spec: AnswerSpec, method = 'GET'): Buffer {
  const status = spec.status ?? 200
  const pairs = [...headerPairs(spec.headers)]
  const has = (name: string) => pairs.some(([n]) => n.toLowerCase() === name)
  const body = Buffer.from((spec.body ?? '') as string, 'latin1')
  let tail = body
  if (spec.chunks !== undefined) {
    if (!has('transfer-encoding')) pairs.push(['Transfer-Encoding', 'chunked'])
    const chunks = spec.chunks.map((c) => `${Buffer.byteLength(c, 'latin1').toString(16)}\r\n${c}\r\n`).join('')
    const trailers = headerPairs(spec.trailers).map(([n, v]) => `${n}: ${v}\r\n`)
    tail = Buffer.from(`${chunks}0\r\n${trailers.join('')}\r\n`, 'latin1')
  } else if (spec.untilClose !== true && !has('content-length') && status !== 204 && status !== 304 && status >= 200) {
    pairs.push(['Content-Length', String(body.length)])
  }
  if (spec.close === true && !has('connection')) pairs.push(['Connection', 'close'])
  const head = `HTTP/1.1 ${status} ${spec.reason ?? 'Reason'}\r\n${pairs.map(([n, v]) => `${n}: ${v}\r\n`).join('')}\r\n`
  return method === 'HEAD' ? Buffer.from(head, 'latin1') : Buffer.concat([Buffer.from(head, 'latin1'), tail])
}

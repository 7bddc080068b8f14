import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { eventually } from './eventually.ts'
import type { HeaderPair } from './h1-reader.ts'
import type { Teardown } from './teardown.ts'

/** One request as an upstream saw it. */
export class Http2Exchange {
  readonly stream: http2.ServerHttp2Stream
  readonly headers: http2.IncomingHttpHeaders
  /** In their order, as received. */
  readonly fields: readonly HeaderPair[]
  /** Number of its connection, from 0. */
  readonly connection: number
  trailers: http2.IncomingHttpHeaders | null
  /** Code of the RST_STREAM that ended it; null: none. */
  resetCode: number | null
  bodyEnded: boolean
  private readonly parts: Buffer[]

  constructor(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, raw: readonly string[], connection: number) {
    this.stream = stream
    this.headers = headers
    this.fields = raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1] as string] as const] : []))
    this.connection = connection
    this.trailers = null
    this.resetCode = null
    this.bodyEnded = false
    this.parts = []
    stream.on('trailers', (t) => {
      this.trailers = t
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      this.resetCode = stream.rstCode === 0 ? null : (stream.rstCode ?? null)
    })
    stream.on('end', () => {
      this.bodyEnded = true
    })
  }

  get path(): string {
    return String(this.headers[':path'])
  }

  /** Reads the body from now on; what is not read holds the sender back. */
  read(): void {
    this.stream.on('data', (d: Buffer) => this.parts.push(d))
  }

  get body(): Buffer {
    return Buffer.concat(this.parts)
  }

  /** The whole body. */
  async whole(budgetMs = 10_000): Promise<Buffer> {
    if (this.stream.listenerCount('data') === 0) this.read()
    await eventually(`the end of the body of ${this.path}`, () => this.bodyEnded, budgetMs)
    return this.body
  }

  answer(status = 200, body: string | Buffer = this.path, headers: http2.OutgoingHttpHeaders = {}): void {
    if (this.stream.destroyed) return
    this.stream.respond({ ':status': status, ...headers })
    this.stream.end(body)
  }
}

export interface Http2ServerOptions {
  readonly settings?: http2.Settings
  /** Default: answers each request with its path, when its body is there. */
  readonly handler?: (exchange: Http2Exchange) => unknown
  readonly port?: number
}

/** An upstream that speaks HTTP/2 with prior knowledge, by Node's own implementation, which is nghttp2. */
export class Http2Server {
  readonly address: string
  readonly port: number
  readonly exchanges: Http2Exchange[]
  /** All that were ever opened. */
  readonly connections: http2.ServerHttp2Session[]
  /** null: each request waits for the test. */
  handler: ((exchange: Http2Exchange) => unknown) | null
  private readonly server: http2.Http2Server
  private readonly sockets: Set<Socket>

  private constructor(server: http2.Http2Server, handler: ((exchange: Http2Exchange) => unknown) | null) {
    this.server = server
    this.port = (server.address() as AddressInfo).port
    this.address = `127.0.0.1:${this.port}`
    this.exchanges = []
    this.connections = []
    this.handler = handler
    this.sockets = new Set()
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
    })
    server.on('session', (session) => {
      session.on('error', () => {})
      this.connections.push(session)
    })
    server.on('sessionError', () => {})
    server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, _flags: number, raw?: unknown) => {
      const connection = this.connections.indexOf(stream.session as http2.ServerHttp2Session)
      const exchange = new Http2Exchange(stream, headers, raw as readonly string[], connection)
      this.exchanges.push(exchange)
      this.handler?.(exchange)
    })
  }

  static async start(t: Teardown, options: Http2ServerOptions = {}): Promise<Http2Server> {
    // MB of a connection; Node refuses streams beyond 10.
    const server = http2.createServer({ settings: options.settings ?? {}, maxSessionMemory: 1000 })
    await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', () => resolve()))
    const upstream = new Http2Server(server, options.handler ?? echoPath)
    t.teardown(() => upstream.close())
    return upstream
  }

  /** Those that are open now. */
  get open(): http2.ServerHttp2Session[] {
    return this.connections.filter((c) => !c.destroyed && !c.closed)
  }

  /** Sockets that are open now. */
  get openSockets(): number {
    return this.sockets.size
  }

  /** The exchange of a path. */
  async seen(path: string, budgetMs = 10_000): Promise<Http2Exchange> {
    return eventually(
      `${path} at the upstream`,
      () => this.exchanges.find((e) => e.path === path),
      budgetMs,
    ) as Promise<Http2Exchange>
  }

  /** Ends every connection by force. */
  cut(): void {
    for (const socket of this.sockets) socket.resetAndDestroy()
  }

  /** No new connections: they are refused. */
  stopListening(): void {
    this.server.close()
  }

  close(): void {
    this.server.close()
    for (const socket of this.sockets) socket.destroy()
  }
}

async function echoPath(exchange: Http2Exchange): Promise<void> {
  await exchange.whole().catch(() => {})
  exchange.answer()
}

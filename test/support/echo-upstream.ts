import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Server, Socket } from 'node:net'
import { eitherServer, resetRequest } from './either-server.ts'
import { pause } from './eventually.ts'
import type { HeaderPair } from './h1-reader.ts'
import type { Teardown } from './teardown.ts'

/** What an EchoUpstream saw, and what it answers with as JSON. */
export interface Echo {
  /** Name of the upstream that answers. */
  readonly upstream: string
  readonly method: string
  readonly target: string
  readonly headers: readonly HeaderPair[]
  readonly body: string
  readonly trailers: Readonly<Record<string, string | undefined>>
}

export interface EchoOptions {
  /** Told in each answer, also as header `x-upstream`. Default `echo`. */
  readonly name?: string
  readonly host?: string
  readonly port?: number
  /** 60000 */
  readonly keepAliveTimeoutMs?: number
}

/**
 * An upstream for tests in which the timing is irrelevant; it speaks HTTP/2 to whoever begins so. It answers 200 with an Echo, and obeys headers or, under the same
 * names without `x-`, the query: `x-status: 503`, `x-delay-ms: 100`, `x-body-bytes: 65536` (that many `x` instead of the
 * echo), `x-chunked: 1`, `x-reset: 1` (no answer, RST), `x-response-headers: {"name":"value"}`.
 */
export class EchoUpstream {
  readonly name: string
  readonly host: string
  port: number
  /** Every request, complete. */
  readonly seen: Echo[]
  connectionsTotal: number
  private readonly server: Server
  private readonly sockets: Set<Socket>

  private constructor(options: EchoOptions) {
    this.name = options.name ?? 'echo'
    this.host = options.host ?? '127.0.0.1'
    this.port = options.port ?? 0
    this.seen = []
    this.connectionsTotal = 0
    this.sockets = new Set()
    const timeouts = { keepAliveTimeout: options.keepAliveTimeoutMs ?? 60000, requestTimeout: 0 }
    this.server = eitherServer((req, res) => {
      this.serve(req, res).catch(() => res.destroy())
    }, timeouts)
    this.server.on('connection', (socket) => {
      this.connectionsTotal++
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
    })
  }

  static async start(t: Teardown, options: EchoOptions = {}): Promise<EchoUpstream> {
    const echo = new EchoUpstream(options)
    t.teardown(() => echo.stop())
    await echo.listen()
    return echo
  }

  get address(): string {
    return `${this.host}:${this.port}`
  }

  get openConnections(): number {
    return this.sockets.size
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject)
      this.server.listen(this.port, this.host, () => resolve())
    })
    this.port = (this.server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve))
    for (const s of this.sockets) s.destroy()
    await closed
  }

  /** Closes what is open; the port stays. */
  dropConnections(): void {
    for (const s of this.sockets) s.destroy()
  }

  private async serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const parts: Buffer[] = []
    for await (const part of req) parts.push(part as Buffer)
    const echo = this.note(req, Buffer.concat(parts).toString('latin1'))
    const wish = wishes(req)
    const delayMs = Number(wish('delay-ms') ?? 0)
    if (delayMs > 0) await pause(delayMs)
    if (wish('reset') !== null) return resetRequest(req)
    const status = Number(wish('status') ?? 200)
    const bytes = wish('body-bytes')
    const body = status === 204 || status === 304 ? '' : bytes === null ? JSON.stringify(echo) : 'x'.repeat(Number(bytes))
    const extra = JSON.parse(wish('response-headers') ?? '{}') as Record<string, string>
    const length = wish('chunked') === null && body !== '' ? { 'content-length': String(body.length) } : {}
    const type = bytes === null ? 'application/json' : 'text/plain'
    res.writeHead(status, { 'content-type': type, 'x-upstream': this.name, ...length, ...extra })
    res.end(body)
  }

  private note(req: IncomingMessage, body: string): Echo {
    const headers: HeaderPair[] = []
    for (let i = 0; i < req.rawHeaders.length; i += 2) {
      const [name, value] = [req.rawHeaders[i] as string, req.rawHeaders[i + 1] as string]
      if (name === ':authority') headers.unshift(['host', value])
      else if (!name.startsWith(':')) headers.push([name, value])
    }
    const echo = {
      upstream: this.name,
      method: req.method ?? '',
      target: req.url ?? '',
      headers,
      body,
      trailers: { ...req.trailers },
    }
    this.seen.push(echo)
    return echo
  }
}

function wishes(req: IncomingMessage): (name: string) => string | null {
  const query = new URL(req.url ?? '/', 'http://upstream').searchParams
  return (name) => {
    const value = req.headers[`x-${name}`]
    return typeof value === 'string' ? value : query.get(name)
  }
}

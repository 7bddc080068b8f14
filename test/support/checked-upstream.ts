// An HTTP server whose health the test chooses, and which tells checks from requests.
import type http from 'node:http'
import type { AddressInfo, Server, Socket } from 'node:net'
import { eitherServer } from './either-server.ts'
import type { Teardown } from './teardown.ts'

export class CheckedUpstream {
  readonly name: string
  readonly host: string
  port: number
  /** What a check of /healthz is answered with; null: nothing. */
  health: number | null
  /** What a request is answered with. */
  status: number
  /** How often it was checked. */
  checks: number
  /** Requests that were no checks. */
  requests: number
  /** Headers of the last check. */
  lastCheck: http.IncomingHttpHeaders
  private readonly server: Server
  private readonly sockets: Set<Socket>

  private constructor(name: string, host: string) {
    this.name = name
    this.host = host
    this.port = 0
    this.health = 200
    this.status = 200
    this.checks = 0
    this.requests = 0
    this.lastCheck = {}
    this.sockets = new Set()
    this.server = eitherServer((req, res) => this.serve(req, res))
    this.server.on('connection', (socket) => {
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
    })
  }

  /** Its answers have its name as header `x-upstream`. */
  static async start(t: Teardown, name: string, host = '127.0.0.1'): Promise<CheckedUpstream> {
    const upstream = new CheckedUpstream(name, host)
    t.teardown(() => upstream.stop())
    await new Promise<void>((resolve) => upstream.server.listen(0, host, resolve))
    upstream.port = (upstream.server.address() as AddressInfo).port
    return upstream
  }

  get address(): string {
    return `${this.host}:${this.port}`
  }

  get openConnections(): number {
    return this.sockets.size
  }

  stop(): void {
    this.server.close()
    for (const socket of this.sockets) socket.destroy()
  }

  private serve(req: http.IncomingMessage, res: http.ServerResponse): void {
    if (req.url === '/healthz') {
      this.checks++
      this.lastCheck = req.headers
      if (this.health !== null) res.writeHead(this.health).end()
      return
    }
    this.requests++
    res.writeHead(this.status, { 'x-upstream': this.name }).end(this.name)
  }
}

// Readiness for Kubernetes and load balancers, on 15021: nothing but yes or no, since it listens to everybody.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { SocketAddress } from '../state/bootstrap-config.ts'
import { closeServer, createLocalServer, listenOn } from './http-listen.ts'

export class HealthServer {
  readonly #config: SocketAddress
  readonly #isReady: () => boolean
  readonly #server: Server

  /** @param isReady asked at each probe; false before the first snapshot is served and from the start of a drain */
  constructor(config: SocketAddress, isReady: () => boolean) {
    this.#config = config
    this.#isReady = isReady
    this.#server = createLocalServer((req, res) => this.#onRequest(req, res))
  }

  listen(): Promise<{ port: number }> {
    return listenOn(this.#server, this.#config, 'health')
  }

  close(): Promise<void> {
    return closeServer(this.#server)
  }

  #onRequest(req: IncomingMessage, res: ServerResponse): void {
    const status = this.#status(req)
    res.writeHead(status, status === 405 ? { 'content-length': 0, allow: 'GET, HEAD' } : { 'content-length': 0 })
    res.end()
  }

  #status(req: IncomingMessage): number {
    const url = req.url ?? ''
    const end = url.indexOf('?')
    const path = end < 0 ? url : url.slice(0, end)
    if (path !== '/healthz/ready' && path !== '/healthz/live') return 404
    if (req.method !== 'GET' && req.method !== 'HEAD') return 405
    // Alive is who answers.
    return path === '/healthz/live' || this.#isReady() ? 200 : 503
  }
}

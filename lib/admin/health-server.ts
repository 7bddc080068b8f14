// Readiness for Kubernetes and load balancers, on 15021.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { SocketAddress } from '../state/bootstrap-config.ts'
import { closeServer, createLocalServer, listenOn } from './http-listen.ts'
import { readinessAnswer } from './readiness.ts'

export class HealthServer {
  readonly #config: SocketAddress
  readonly #waitingFor: () => readonly string[]
  readonly #server: Server

  /** @param waitingFor asked at each probe; empty: ready, as it is not before the first snapshot is served nor from the start of a drain */
  constructor(config: SocketAddress, waitingFor: () => readonly string[]) {
    this.#config = config
    this.#waitingFor = waitingFor
    this.#server = createLocalServer((req, res) => this.#onRequest(req, res))
  }

  listen(): Promise<{ port: number }> {
    return listenOn(this.#server, this.#config, 'health')
  }

  close(): Promise<void> {
    return closeServer(this.#server)
  }

  #onRequest(req: IncomingMessage, res: ServerResponse): void {
    const url = req.url ?? ''
    const end = url.indexOf('?')
    const path = end < 0 ? url : url.slice(0, end)
    const isProbe = path === '/healthz/ready' || path === '/healthz/live'
    if (isProbe && (req.method === 'GET' || req.method === 'HEAD')) {
      // Alive is who answers.
      readinessAnswer(req, res, path === '/healthz/live' ? [] : this.#waitingFor())
      return
    }
    res.writeHead(isProbe ? 405 : 404, isProbe ? { 'content-length': 0, allow: 'GET, HEAD' } : { 'content-length': 0 })
    res.end()
  }
}

// The service behind `heddle dev`: a small server that says which version it is and what it was sent.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

/** /slow takes this long, longer than the demo's timeout. */
const SLOW_MS = 2000
/** /flaky answers well once in so many requests. */
const FLAKY_EVERY = 3

export class DemoUpstream {
  readonly name: string
  readonly version: string
  readonly #server: Server
  readonly #timers: Set<NodeJS.Timeout>
  #flaky: number
  #seen: number

  constructor(name: string, version: string) {
    this.name = name
    this.version = version
    this.#timers = new Set()
    this.#flaky = 0
    this.#seen = 0
    this.#server = createServer((request, response) => this.#onRequest(request, response))
  }

  /** Rejects when the port cannot be had. */
  listen(address: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, address, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    this.#server.closeAllConnections()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    request.resume()
    const path = request.url ?? '/'
    // The only way to see that a mirror gets anything.
    if (path === '/seen') {
      response.end(`${this.name} ${this.version} has seen ${this.#seen} requests\n`)
      return
    }
    this.#seen++
    if (path.startsWith('/slow')) this.#later(SLOW_MS, response, () => this.#answer(200, request, response))
    else if (path.startsWith('/flaky')) this.#answer(++this.#flaky % FLAKY_EVERY === 0 ? 200 : 503, request, response)
    else this.#answer(200, request, response)
  }

  #later(delayMs: number, response: ServerResponse, then: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      then()
    }, delayMs)
    this.#timers.add(timer)
    response.on('close', () => {
      clearTimeout(timer)
      this.#timers.delete(timer)
    })
  }

  #answer(status: number, request: IncomingMessage, response: ServerResponse): void {
    const lines = [`${this.name} ${this.version} answers ${status}`, `${request.method} ${request.url}`]
    for (let i = 0; i + 1 < request.rawHeaders.length; i += 2)
      lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`)
    const body = `${lines.join('\n')}\n`
    response.writeHead(status, {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': Buffer.byteLength(body),
      'x-served-by': `${this.name}-${this.version}`,
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}

// Upstreams on the very addresses of the recorded endpoints. A request commands its answer; a list has one value for each
// attempt, and the last one repeats:
//   x-stub-status: 503,503,200 · x-stub-delay-ms: 0,300 · x-stub-body: text · x-stub-headers: {"name":"value"}
//   x-stub-grpc-status: 14 (trailers-only), t14 (in trailers)
//   x-stub-reset: 1, refused, rst (HTTP/2: RST_STREAM; HTTP/1: close at once), after (close inside of the body), garbage (bytes that are no HTTP)
//   x-stub-at: 127.0.2.1 (only these obey; all others answer 200)
import type { IncomingMessage, ServerResponse } from 'node:http'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { pause } from '../../support/eventually.ts'
import type { HeaderPair } from '../../support/h1-reader.ts'
import type { SeenRequest } from './recording.ts'

type Growing<T> = { -readonly [K in keyof T]: T[K] }

export class Stubs {
  /** Every request, in order of arrival. */
  readonly seen: Growing<SeenRequest>[]
  private readonly servers: Map<string, net.Server>
  private readonly sockets: Map<net.Socket, string>
  private readonly tries: Map<string, number>

  constructor() {
    this.seen = []
    this.servers = new Map()
    this.sockets = new Map()
    this.tries = new Map()
  }

  /** Where one stands already, it stays. */
  async open(endpoints: readonly string[]): Promise<void> {
    for (const at of endpoints) if (!this.servers.has(at)) await this.listen(at)
  }

  /** Cuts all connections; the ports stay open. */
  disconnect(): void {
    for (const s of this.sockets.keys()) s.destroy()
  }

  /** All, or only these: connecting to them is refused from now on. */
  async close(endpoints: readonly string[] = [...this.servers.keys()]): Promise<void> {
    const closed = endpoints.map((at) => {
      const server = this.servers.get(at)
      this.servers.delete(at)
      return new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
    })
    for (const [socket, at] of this.sockets) if (endpoints.includes(at)) socket.destroy()
    await Promise.all(closed)
  }

  private listen(at: string): Promise<void> {
    const parser = http.createServer(
      {
        insecureHTTPParser: true,
        requireHostHeader: false,
        maxHeaderSize: 1 << 20,
        keepAliveTimeout: 0,
        requestTimeout: 0,
        headersTimeout: 0,
      },
      (req, res) => this.serve(at, req, res, req.socket),
    )
    parser.on('checkContinue', (req, res: ServerResponse) => {
      res.writeContinue()
      this.serve(at, req, res, req.socket)
    })
    parser.on('upgrade', (req, socket) => {
      this.note(at, req)
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${req.headers.upgrade}\r\n\r\n`)
      socket.pipe(socket)
    })
    parser.on('clientError', (_error, socket) => socket.destroy())
    const server = net.createServer((socket) => this.accept(at, socket, parser))
    this.servers.set(at, server)
    const [host = '', port = ''] = at.split(':')
    return new Promise((resolve, reject) => {
      server.once('error', (e) => reject(new Error(`no stub upstream at ${at}: ${e.message}`)))
      server.listen(Number(port), host, resolve)
    })
  }

  /** What does not look like HTTP is noted and echoed. */
  private accept(at: string, socket: net.Socket, parser: http.Server): void {
    this.sockets.set(socket, at)
    socket.on('close', () => this.sockets.delete(socket))
    socket.on('error', () => {})
    socket.setNoDelay(true)
    socket.once('data', (chunk: Buffer) => {
      socket.pause()
      const start = chunk.subarray(0, 40).toString('latin1')
      if (/^[A-Za-z!#$%&'*+.^_`|~-]+ /.test(start) && !start.startsWith('PRI * HTTP/2.0')) {
        socket.unshift(chunk)
        parser.emit('connection', socket)
      } else if (start.startsWith('PRI * HTTP/2.0')) {
        this.relay(at, socket, chunk)
      } else {
        this.seen.push({ at, tcp: chunk.toString('latin1').slice(0, 200) })
        socket.write(chunk)
        socket.pipe(socket)
      }
      socket.resume()
    })
  }

  /** HTTP/2 is answered by a server of its own, which needs the connection from its first byte. */
  private relay(at: string, socket: net.Socket, first: Buffer): void {
    const server = http2.createServer((req, res) =>
      this.serve(at, req as unknown as IncomingMessage, res as unknown as ServerResponse, socket),
    )
    server.on('sessionError', () => {})
    server.listen(0, '127.0.0.1', () => {
      const inner = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
      inner.on('error', () => socket.destroy())
      inner.write(first)
      inner.pipe(socket)
      socket.pipe(inner)
      const end = () => {
        inner.destroy()
        socket.destroy()
        server.close()
      }
      socket.on('close', end)
      inner.on('close', end)
    })
  }

  /** `socket`: the connection itself; that of an HTTP/2 request stands for the stream only. */
  private serve(at: string, req: IncomingMessage, res: ServerResponse, socket: net.Socket): void {
    this.answer(at, req, res, socket).catch(() => socket.destroy())
  }

  private note(at: string, req: IncomingMessage): Growing<SeenRequest> {
    const headers: HeaderPair[] = []
    for (let i = 0; i < req.rawHeaders.length; i += 2) {
      const name = (req.rawHeaders[i] as string).toLowerCase()
      if (name !== 'host' && !name.startsWith(':')) headers.push([name, req.rawHeaders[i + 1] as string])
    }
    const { method = '', url = '' } = req
    const seen = {
      at,
      protocol: req.httpVersion === '2.0' ? 'HTTP/2' : `HTTP/${req.httpVersion}`,
      method,
      path: url,
      authority: req.headers.host ?? (req.headers[':authority'] as string | undefined) ?? null,
      headers,
      body: '',
      bodyBytes: 0,
    }
    this.seen.push(seen)
    return seen
  }

  private async answer(at: string, req: IncomingMessage, res: ServerResponse, socket: net.Socket): Promise<void> {
    const seen = this.note(at, req)
    const wish = this.wishes(at, req)
    req.on('error', () => {})
    res.on('error', () => {})
    const reset = wish('x-stub-reset') ?? '0'
    const { stream } = res as unknown as { stream?: http2.ServerHttp2Stream }
    if (stream !== undefined && reset === 'refused') return stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)
    if (stream !== undefined && reset === 'rst') return stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
    if (reset === '1' || reset === 'refused' || reset === 'rst') {
      await pause(Number(wish('x-stub-delay-ms') ?? 0))
      return void socket.destroy()
    }
    if (reset === 'garbage') return void socket.end('not http at all\r\n\r\n')
    if (!(await this.readBody(req, res, seen))) return
    const delayMs = Number(wish('x-stub-delay-ms') ?? 0)
    if (delayMs > 0) await pause(delayMs)
    if (res.destroyed) return
    const status = Number(wish('x-stub-status') ?? 200)
    const extra = JSON.parse(wish('x-stub-headers', true) ?? '{}') as Record<string, string | string[]>
    const grpc = wish('x-stub-grpc-status')
    if (grpc !== null) return answerGrpc(res, status, grpc, extra)
    res.writeHead(status, { 'content-type': 'text/plain', ...extra })
    if (reset === 'after') {
      res.write('partial')
      await pause(30)
      return void socket.destroy()
    }
    res.end(status === 204 || status === 304 ? undefined : (wish('x-stub-body', true) ?? 'ok\n'))
  }

  /** false: the proxy went away. */
  private readBody(req: IncomingMessage, res: ServerResponse, seen: Growing<SeenRequest>): Promise<boolean> {
    return new Promise((resolve) => {
      req.on('data', (d: Buffer) => {
        seen.bodyBytes = (seen.bodyBytes ?? 0) + d.length
        if ((seen.body ?? '').length < 200) seen.body = ((seen.body ?? '') + d.toString('latin1')).slice(0, 200)
      })
      req.on('end', () => {
        if (Object.keys(req.trailers).length > 0) seen.trailers = { ...req.trailers }
        resolve(true)
      })
      res.on('close', () => resolve(false))
    })
  }

  /** The value for this attempt; `whole`: the value is no list. */
  private wishes(at: string, req: IncomingMessage): (name: string, whole?: boolean) => string | null {
    const attempt = this.attemptOf(req)
    const places = req.headers['x-stub-at']
    const obeys = typeof places !== 'string' || places.split(',').some((p) => at === p.trim() || at.startsWith(`${p.trim()}:`))
    return (name, whole = false) => {
      const value = req.headers[name]
      if (!obeys || typeof value !== 'string') return null
      if (whole) return value
      const list = value.split(',').map((v) => v.trim())
      return list[Math.min(attempt, list.length) - 1] ?? null
    }
  }

  private attemptOf(req: IncomingMessage): number {
    const told = Number(req.headers['x-envoy-attempt-count'])
    if (told > 0) return told
    const key = `${req.headers['x-request-id']} ${req.url}`
    const next = (this.tries.get(key) ?? 0) + 1
    this.tries.set(key, next)
    return next
  }
}

/** `14`: trailers-only; `t14`: a message, and the status in trailers. */
function answerGrpc(res: ServerResponse, status: number, grpc: string, extra: Record<string, string | string[]>): void {
  const late = grpc.startsWith('t')
  const code = late ? grpc.slice(1) : grpc
  const { stream } = res as unknown as { stream?: http2.ServerHttp2Stream }
  const head = { 'content-type': 'application/grpc', ...extra }
  if (stream === undefined) res.writeHead(status, { ...head, 'grpc-status': code }).end()
  else if (!late) stream.respond({ ':status': status, ...head, 'grpc-status': code }, { endStream: true })
  else {
    res.writeHead(status, head)
    res.addTrailers({ 'grpc-status': code })
    res.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]))
  }
}

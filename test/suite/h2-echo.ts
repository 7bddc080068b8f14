// A small server on the HTTP/2 codec alone, for clients that others wrote: what it answers depends on the path.
//
//   /            200, a short text               /bytes/N    200, N bytes, as fast as the client takes them
//   /echo        the body, as it comes, and      /headers    what was asked, as JSON
//                its trailers                    /status/N   N, without a body
//   /trailers    a text and trailers             /hints      103 before the answer
//   /reset       RST_STREAM                      /hang       nothing
// A CONNECT gets its bytes back, and so does a gRPC call of any method below /grpc/, with grpc-status 0.
import net from 'node:net'
import { CANCEL } from '../../lib/http/h2/error-codes.ts'
import { TOO_LARGE, TOO_MANY } from '../../lib/http/h2/message-head.ts'
import { HTTP2_DEFAULTS, type Http2Options } from '../../lib/http/h2/options.ts'
import { Http2ServerConnection, type Http2ServerEvents } from '../../lib/http/h2/server-connection.ts'
import type { Http2Stream } from '../../lib/http/h2/stream.ts'
import type { StreamEvents } from '../../lib/http/h2/stream-events.ts'
import type { HeaderMap } from '../../lib/http/header-map.ts'
import type { ConnectionOwner } from '../../lib/transport/connection.ts'
import { Io } from '../../lib/transport/io.ts'
import { SocketConnection } from '../../lib/transport/socket-connection.ts'

const FILLER = Buffer.alloc(64 * 1024, 'abcdefghijklmnopqrstuvwxyz')
const TEXT = Buffer.from('It works over HTTP/2.\n')

const UNOWNED: ConnectionOwner = { onData() {}, onEnd() {}, onWritable() {}, onClose() {} }

/** Pseudo-headers and fields of a request as pairs, in their order. */
export function requestPairs(stream: Http2Stream): [string, string][] {
  const pseudo: [string, string][] = [
    [':method', stream.method],
    [':scheme', stream.scheme],
    [':authority', stream.authority],
    [':path', stream.path],
    [':protocol', stream.protocol],
  ]
  return [...pseudo.filter(([, value]) => value !== ''), ...fieldPairs(stream.headers)]
}

export function fieldPairs(map: HeaderMap): [string, string][] {
  const out: [string, string][] = []
  for (let i = 0; i < map.size; i++) if (!map.isRemoved(i)) out.push([map.nameAt(i), map.valueAt(i)])
  return out
}

class Exchange implements StreamEvents {
  private readonly stream: Http2Stream
  private readonly answer: string
  private left: number

  constructor(stream: Http2Stream) {
    this.stream = stream
    this.answer = stream.method === 'CONNECT' ? '/echo' : stream.path.split('?', 1)[0]!
    this.left = 0
  }

  begin(): void {
    const { stream, answer } = this
    if (answer === '/echo') stream.sendHeaders(200, '', false)
    else if (answer.startsWith('/grpc/')) stream.sendHeaders(200, 'content-type: application/grpc\r\n', false)
    else if (answer === '/hints') stream.sendInformational(103, 'link: </x.css>; rel=preload\r\n')
    else if (answer === '/reset') stream.reset(CANCEL)
  }

  private get echoes(): boolean {
    return this.answer === '/echo' || this.answer.startsWith('/grpc/')
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    if (this.echoes && !this.stream.sendBody(bytes, start, end)) this.stream.pause()
  }

  onEnd(trailers: HeaderMap | null): void {
    const { stream, answer } = this
    const [, kind, value] = answer.split('/')
    if (answer === '/echo') stream.sendEnd(trailers === null ? '' : trailers.serialise())
    else if (kind === 'grpc') stream.sendEnd('grpc-status: 0\r\ngrpc-message: fine\r\n')
    else if (kind === 'bytes') {
      this.left = Number(value)
      stream.sendHeaders(200, `content-length: ${value}\r\n`, false)
      this.onWritable()
    } else if (kind === 'status') stream.sendHeaders(Number(value), '', true)
    else if (answer === '/headers') this.text(Buffer.from(JSON.stringify(requestPairs(stream)), 'latin1'), '')
    else if (answer === '/trailers') this.text(TEXT, 'x-checksum: 12345\r\ngrpc-status: 0\r\n')
    else if (answer !== '/hang') this.text(TEXT, '')
  }

  private text(body: Buffer, trailers: string): void {
    const { stream } = this
    if (trailers === '')
      stream.sendHeaders(200, `server: echo\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n`, false)
    else stream.sendHeaders(200, 'Server: echo\r\ntrailer: x-checksum\r\n', false)
    stream.sendBody(body, 0, body.length)
    stream.sendEnd(trailers)
  }

  onWritable(): void {
    const { stream } = this
    if (this.echoes) {
      stream.resume()
      return
    }
    let goes = true
    while (goes && this.left > 0) {
      const n = Math.min(this.left, FILLER.length)
      this.left -= n
      goes = stream.sendBody(FILLER, 0, n)
    }
    if (this.left === 0) stream.sendEnd('')
  }

  onReset(): void {}
  onInformational(): void {}
  onResponse(): void {}
}

export class EchoServer implements Http2ServerEvents {
  readonly io: Io
  readonly options: Http2Options
  readonly server: net.Server
  readonly connections: Set<Http2ServerConnection>
  /** `code why` of each connection that a client was to blame for. */
  readonly errors: string[]
  /** What no test expects. */
  readonly faults: unknown[]
  requests: number

  constructor(options: Partial<Http2Options> = {}) {
    this.faults = []
    this.io = new Io((error) => this.faults.push(error))
    this.options = { ...HTTP2_DEFAULTS, ...options }
    this.connections = new Set()
    this.errors = []
    this.requests = 0
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.io.run('accept', () => this.accept(socket)),
    )
  }

  static async listen(options: Partial<Http2Options> = {}, port = 0): Promise<EchoServer> {
    const echo = new EchoServer(options)
    await new Promise<void>((resolve) => echo.server.listen(port, '127.0.0.1', resolve))
    return echo
  }

  get port(): number {
    return (this.server.address() as net.AddressInfo).port
  }

  accept(socket: net.Socket): void {
    const connection = new SocketConnection(this.io, socket, UNOWNED)
    const h2 = new Http2ServerConnection(connection, this, this.options)
    connection.owner = h2
    this.connections.add(h2)
    socket.on('close', () => this.connections.delete(h2))
  }

  close(): void {
    this.server.close()
    this.io.run('close', () => {
      for (const h2 of this.connections) h2.connection.destroy('')
    })
  }

  onRequest(stream: Http2Stream): void {
    this.requests++
    const exchange = new Exchange(stream)
    stream.events = exchange
    exchange.begin()
  }

  onRefusedRequest(stream: Http2Stream): void {
    if (stream.fault === TOO_LARGE || stream.fault === TOO_MANY) stream.sendHeaders(431, '', true)
  }

  onConnectionError(code: number, why: string): void {
    this.errors.push(`${code} ${why}`)
  }

  onSettings(): void {}
  onStreamClosed(stream: Http2Stream): void {
    if (stream.remoteEnded && stream.localEnded) stream.connection.recycle(stream)
  }
  onGoaway(): void {}
  onClose(): void {}
}

/** `node build/test/suite/h2-echo.js PORT`: for a look with curl, h2load or h2spec. */
if (process.argv[1] === import.meta.filename) {
  const echo = await EchoServer.listen({ extendedConnect: true }, Number(process.argv[2] ?? 0))
  process.stdout.write(`listening on ${echo.port}\n`)
  process.on('SIGTERM', () => {
    const { user, system } = process.cpuUsage()
    process.stdout.write(
      `${JSON.stringify({ requests: echo.requests, cpuMicros: user + system, errors: echo.errors, faults: echo.faults.map(String) })}\n`,
    )
    process.exit(0)
  })
}

// An HTTP/2 upstream by node:http2 whose every answer the test makes: for what no gRPC library would do.
import http2 from 'node:http2'
import type net from 'node:net'
import type { Teardown } from './teardown.ts'

export interface Http2Seen {
  readonly headers: http2.IncomingHttpHeaders
  readonly stream: http2.ServerHttp2Stream
  /** Code of the peer's RST_STREAM, or 0, once the stream is closed. */
  readonly closed: Promise<number>
}

export class Http2Upstream {
  readonly seen: Http2Seen[]
  readonly sessions: Set<http2.ServerHttp2Session>
  onStream: (seen: Http2Seen, nth: number) => void
  private readonly server: http2.Http2Server

  private constructor() {
    this.seen = []
    this.sessions = new Set()
    this.onStream = ({ stream }) => stream.respond({ ':status': 200 }, { endStream: true })
    this.server = http2.createServer()
    this.server.on('session', (s) => {
      this.sessions.add(s)
      s.on('close', () => this.sessions.delete(s))
      s.on('error', () => {})
    })
    this.server.on('sessionError', () => {})
    this.server.on('stream', (stream, headers) => {
      stream.on('error', () => {})
      const closed = new Promise<number>((resolve) => stream.on('close', () => resolve(stream.rstCode ?? 0)))
      const seen = { headers, stream, closed }
      this.seen.push(seen)
      this.onStream(seen, this.seen.length)
    })
  }

  static async start(t: Teardown): Promise<Http2Upstream> {
    const upstream = new Http2Upstream()
    await new Promise<void>((resolve) => upstream.server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => {
      for (const s of upstream.sessions) s.destroy()
      upstream.server.close()
    })
    return upstream
  }

  get address(): string {
    return `127.0.0.1:${(this.server.address() as net.AddressInfo).port}`
  }

  /** Forgets what came. */
  startAfresh(): void {
    this.seen.length = 0
  }
}

/** A gRPC status in the headers of the response (trailers-only). */
export function trailersOnly(stream: http2.ServerHttp2Stream, status: number, message = ''): void {
  const said = message === '' ? {} : { 'grpc-message': message }
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': String(status), ...said },
    { endStream: true },
  )
}

/** A message, and the status in trailers. */
export function inTrailers(stream: http2.ServerHttp2Stream, status: number, message = 'x'): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(status) }))
  stream.end(framed(message))
}

/** A message as gRPC frames it. */
export function framed(message: string): Buffer {
  const body = Buffer.from(message)
  const head = Buffer.alloc(5)
  head.writeUInt32BE(body.length, 1)
  return Buffer.concat([head, body])
}

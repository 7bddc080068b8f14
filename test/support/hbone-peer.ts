// Both ends of HBONE by Node's own HTTP/2 and TLS: what heddle's tunnels are held against. Nothing of it is heddle's.
import type { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import tls from 'node:tls'
import { eventually } from './eventually.ts'
import type { Issued } from './signing-ca.ts'
import type { Teardown } from './teardown.ts'

/** Who somebody is, and whom they believe. */
export interface HboneIdentity {
  readonly issued: Issued
  readonly roots: readonly string[]
}

const MIB = 1024 * 1024
const SETTINGS = { initialWindowSize: 4 * MIB, enablePush: false } as const

/** The URI names of a certificate. */
function identityOf(certificate: X509Certificate): string {
  return (certificate.subjectAltName ?? '').replace(/^URI:/, '')
}

export interface HboneClientOptions {
  readonly port: number
  readonly host?: string
  /** null: shows no certificate. */
  readonly as: HboneIdentity | null
  readonly roots?: readonly string[]
}

/** A connection to a proxy that speaks HBONE. */
export class HboneClient {
  readonly session: http2.ClientHttp2Session
  readonly socket: tls.TLSSocket
  goaway: boolean
  /** Why the session failed; null: it did not. */
  error: Error | null

  private constructor(session: http2.ClientHttp2Session, socket: tls.TLSSocket) {
    this.session = session
    this.socket = socket
    this.goaway = false
    this.error = null
    session.on('goaway', () => {
      this.goaway = true
    })
    session.on('error', (error) => {
      this.error = error
    })
  }

  static async connect(t: Teardown, { port, host = '127.0.0.1', as, roots }: HboneClientOptions): Promise<HboneClient> {
    const socket = tls.connect({
      host,
      port,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
      ca: [...(as?.roots ?? roots ?? [])],
      checkServerIdentity: () => undefined,
      ...(as === null ? {} : { cert: as.issued.chain, key: as.issued.key }),
    })
    await once(socket, 'secureConnect')
    const session = http2.connect('https://unused', { createConnection: () => socket, settings: SETTINGS })
    const client = new HboneClient(session, socket)
    session.on('connect', () => session.setLocalWindowSize(16 * MIB))
    t.teardown(() => session.destroy())
    return client
  }

  /** Who answers. */
  get server(): string {
    const certificate = this.socket.getPeerX509Certificate()
    return certificate === undefined ? '' : identityOf(certificate)
  }

  /** CONNECT; resolves with what is answered. */
  async open(authority: string, headers: http2.OutgoingHttpHeaders = {}): Promise<HboneTunnel> {
    const stream = this.session.request({ ':method': 'CONNECT', ':authority': authority, ...headers }, { endStream: false })
    const tunnel = new HboneTunnel(stream)
    await tunnel.answered()
    return tunnel
  }

  close(): void {
    this.session.close()
  }
}

/** One stream. */
export class HboneTunnel {
  readonly stream: http2.ClientHttp2Stream
  /** 0: it was reset before there was an answer. */
  status: number
  headers: http2.IncomingHttpHeaders
  ended: boolean
  /** HTTP/2 error code at its close; null: open. */
  closed: number | null
  private readonly parts: Buffer[]

  constructor(stream: http2.ClientHttp2Stream) {
    this.stream = stream
    this.status = 0
    this.headers = {}
    this.ended = false
    this.closed = null
    this.parts = []
    stream.on('response', (headers) => {
      this.status = Number(headers[':status'])
      this.headers = headers
    })
    stream.on('data', (d: Buffer) => this.parts.push(d))
    stream.on('end', () => {
      this.ended = true
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      this.closed = stream.rstCode ?? 0
    })
  }

  answered(): Promise<unknown> {
    return eventually('an answer to CONNECT', () => this.status !== 0 || this.closed !== null, 10_000)
  }

  get bytes(): Buffer {
    return Buffer.concat(this.parts)
  }

  get text(): string {
    return this.bytes.toString('latin1')
  }

  write(bytes: string | Buffer): void {
    this.stream.write(bytes)
  }

  /** FIN; the other direction stays open. */
  end(bytes: string | Buffer = ''): void {
    this.stream.end(bytes)
  }

  until(what: RegExp | number, budgetMs = 10_000): Promise<unknown> {
    const there = () => (typeof what === 'number' ? this.parts.reduce((n, p) => n + p.length, 0) >= what : what.test(this.text))
    return eventually(`${what} through the tunnel`, there, budgetMs)
  }

  /** An HTTP/1.1 request through it; resolves with status and body. The connection is kept. */
  async request(lines: readonly string[]): Promise<{ readonly status: number; readonly body: string; readonly head: string }> {
    const from = this.text.length
    this.write(`${lines.join('\r\n')}\r\n\r\n`)
    const whole = (): { status: number; body: string; head: string } | null => {
      const text = this.text.slice(from)
      const end = text.indexOf('\r\n\r\n')
      if (end < 0) return null
      const head = text.slice(0, end)
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      const body = text.slice(end + 4)
      return body.length < length ? null : { status: Number(head.slice(9, 12)), body, head }
    }
    return await eventually('a response through the tunnel', () => whole() as { status: number; body: string; head: string })
  }
}

/** A CONNECT as the server saw it. */
export interface SeenConnect {
  readonly authority: string
  readonly headers: http2.IncomingHttpHeaders
  /** URI name of the certificate that the connection showed. */
  readonly client: string
  /** Number of its connection. */
  readonly connection: number
  readonly stream: http2.ServerHttp2Stream
}

export interface HboneServerOptions {
  readonly as: HboneIdentity
  readonly host: string
  /** 15008 */
  readonly port?: number
  /** Port on the loopback that stands for an authority, or a status to answer. */
  readonly to: (authority: string) => number | { readonly status: number }
  readonly maxConcurrentStreams?: number
}

/** A proxy at the other end: takes CONNECT from whoever the roots vouch for, and connects. */
export class HboneServer {
  readonly seen: SeenConnect[]
  readonly sessions: Set<http2.ServerHttp2Session>
  connections: number
  private readonly server: http2.Http2SecureServer

  private constructor(server: http2.Http2SecureServer) {
    this.server = server
    this.seen = []
    this.sessions = new Set()
    this.connections = 0
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  static async start(t: Teardown, options: HboneServerOptions): Promise<HboneServer> {
    const { as, host, port = 15_008, to, maxConcurrentStreams = 200 } = options
    const server = http2.createSecureServer({
      cert: as.issued.chain,
      key: as.issued.key,
      ca: [...as.roots],
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      settings: { ...SETTINGS, maxConcurrentStreams },
    })
    const hbone = new HboneServer(server)
    const numbers = new Map<http2.Http2Session, number>()
    server.on('session', (session) => {
      numbers.set(session, hbone.connections++)
      hbone.sessions.add(session)
      session.setLocalWindowSize(16 * MIB)
      session.on('close', () => hbone.sessions.delete(session))
      session.on('error', () => {})
    })
    server.on('stream', (stream, headers) => {
      stream.on('error', () => {})
      const session = stream.session as http2.ServerHttp2Session
      const certificate = (session.socket as tls.TLSSocket).getPeerX509Certificate()
      const authority = String(headers[':authority'])
      const client = certificate === undefined ? '' : identityOf(certificate)
      hbone.seen.push({ authority, headers, client, connection: numbers.get(session) as number, stream })
      const target = to(authority)
      if (typeof target !== 'number') {
        stream.respond({ ':status': target.status }, { endStream: true })
        return
      }
      const socket = net.connect({ port: target, host: '127.0.0.1', allowHalfOpen: true })
      socket.on('connect', () => {
        stream.respond({ ':status': 200 })
        stream.pipe(socket).pipe(stream)
      })
      socket.on('error', () => {
        if (!stream.headersSent) stream.respond({ ':status': 503 }, { endStream: true })
        else stream.close(http2.constants.NGHTTP2_CONNECT_ERROR)
      })
      stream.on('close', () => socket.destroy())
    })
    server.listen(port, host)
    await once(server, 'listening')
    t.teardown(() => {
      for (const session of hbone.sessions) session.destroy()
      server.close()
    })
    return hbone
  }

  /** GOAWAY to all; streams that are open go on. */
  goaway(): void {
    for (const session of this.sessions) session.close()
  }
}

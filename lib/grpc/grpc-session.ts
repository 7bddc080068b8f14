// One HTTP/2 connection of a channel: made, watched by PINGs, and the reason of its end kept in words.
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2'
import { connect } from 'node:http2'
import type net from 'node:net'
import { dial, errorText } from './dial.ts'
import type { GrpcAddress, GrpcTls } from './grpc-address.ts'
import { addressText, authorityOf } from './grpc-address.ts'
import { GRPC, GrpcError, http2CodeName } from './grpc-error.ts'

/** With the default of 64 kB a large push crawls: one round trip for each 64 kB. */
const STREAM_WINDOW_BYTES = 4 * 1024 * 1024
const CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024
/** MB; node counts what it holds for a session, and refuses streams above it. */
const SESSION_MEMORY_MB = 64
const ENHANCE_YOUR_CALM = 0xb

export interface SessionTerms {
  readonly address: GrpcAddress
  readonly tls: GrpcTls | null
  readonly connectTimeoutMs: number
  /** Between PINGs while a call is open (gRFC A8). */
  readonly keepaliveMs: number
  /** For the answer to a PING. */
  readonly keepaliveTimeoutMs: number
  /** Without a call the connection is closed after this. */
  readonly idleMs: number
  /** `:authority`; null for that of the address. */
  readonly authority: string | null
  /** The connection is closed. */
  readonly onEnd: (session: GrpcSession) => void
  /** The server finds our PINGs too many; the next connection is to send fewer. */
  readonly onTooManyPings: () => void
}

export class GrpcSession {
  /** Why it ended, in words; null while it stands. */
  endedBecause: string | null
  /** The server said that it takes no further calls, and nothing of a fault: it goes away, or finds the connection old enough. */
  announcedEnd: boolean
  readonly authority: string
  readonly #terms: SessionTerms
  readonly #http2: ClientHttp2Session
  #calls: number
  #usable: boolean
  #pings: NodeJS.Timeout | null
  #pingTimeout: NodeJS.Timeout | null
  #idle: NodeJS.Timeout | null

  constructor(http2: ClientHttp2Session, socket: net.Socket, terms: SessionTerms) {
    this.endedBecause = null
    this.announcedEnd = false
    this.authority = terms.authority ?? authorityOf(terms.address, terms.tls)
    this.#terms = terms
    this.#http2 = http2
    this.#calls = 0
    this.#usable = true
    this.#pings = null
    this.#pingTimeout = null
    this.#idle = null
    http2.on('error', (error) => this.#note(errorText(error)))
    // Node tells of a session's end when its last writes are done, which a socket that TLS has given up never says.
    socket.on('error', (error) => {
      this.#note(errorText(error))
      socket.destroy()
    })
    // Before Node's own listener, which resets the streams as if the server had cancelled each.
    socket.prependListener('close', () => this.#note('the server closed the connection'))
    http2.on('goaway', (code, _last, data) => this.#onGoaway(code, data))
    http2.on('close', () => this.#onClose())
  }

  /** It takes further calls. */
  get usable(): boolean {
    return this.#usable && !this.#http2.closed && !this.#http2.destroyed
  }

  request(headers: OutgoingHttpHeaders): ClientHttp2Stream {
    const stream = this.#http2.request(headers)
    if (this.#idle !== null) clearTimeout(this.#idle)
    this.#idle = null
    this.#calls++
    if (this.#calls === 1) this.#busy()
    stream.once('close', () => {
      this.#calls--
      this.touch()
    })
    return stream
  }

  /** Without a call nothing of it keeps the process alive, and after a while it goes. Called also when the first call never came. */
  touch(): void {
    if (this.#calls > 0 || this.#idle !== null) return
    if (this.#pings !== null) clearInterval(this.#pings)
    this.#pings = null
    if (this.#http2.destroyed) return
    this.#http2.unref()
    this.#idle = setTimeout(() => this.destroy('it was idle'), this.#terms.idleMs)
    this.#idle.unref()
  }

  destroy(because: string): void {
    this.#note(because)
    this.#http2.destroy()
  }

  #busy(): void {
    this.#http2.ref()
    this.#pings = setInterval(() => this.#ping(), this.#terms.keepaliveMs)
    this.#pings.unref()
  }

  #ping(): void {
    if (this.#pingTimeout !== null || this.#http2.destroyed) return
    const { keepaliveTimeoutMs } = this.#terms
    this.#pingTimeout = setTimeout(() => this.destroy(`no answer to a PING in ${keepaliveTimeoutMs} ms`), keepaliveTimeoutMs)
    this.#pingTimeout.unref()
    this.#http2.ping(() => {
      if (this.#pingTimeout !== null) clearTimeout(this.#pingTimeout)
      this.#pingTimeout = null
    })
  }

  #note(because: string): void {
    this.endedBecause ??= because
    this.#usable = false
  }

  /** Node lets open streams end after a clean GOAWAY, refuses those behind the last one, and ends the connection on any other. */
  #onGoaway(code: number, data?: Uint8Array): void {
    const debug = Buffer.from(data ?? [])
      .toString('latin1')
      .slice(0, 100)
    if (code === ENHANCE_YOUR_CALM && debug === 'too_many_pings') this.#terms.onTooManyPings()
    if (code === 0) this.announcedEnd = true
    else this.#note(`the server sent GOAWAY ${http2CodeName(code)}${debug === '' ? '' : ` ${JSON.stringify(debug)}`}`)
    this.#usable = false
  }

  #onClose(): void {
    for (const timer of [this.#pings, this.#pingTimeout, this.#idle]) if (timer !== null) clearTimeout(timer)
    this.#note('the server closed the connection')
    this.#terms.onEnd(this)
  }
}

/** Resolves when the server's SETTINGS are here, so what is no HTTP/2 server is found out now. Rejects with UNAVAILABLE. */
export function openSession(terms: SessionTerms, signal: AbortSignal): Promise<GrpcSession> {
  const where = addressText(terms.address)
  return new Promise((resolve, reject) => {
    let http2: ClientHttp2Session | null = null
    const finish = (error: string | null, session: GrpcSession | null): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      if (session !== null) {
        resolve(session)
        return
      }
      http2?.destroy()
      socket.destroy()
      reject(new GrpcError(GRPC.UNAVAILABLE, `no connection to ${where}: ${error}`))
    }
    const onAbort = (): void => finish('the channel was closed', null)
    const timer = setTimeout(() => finish(`it took longer than ${terms.connectTimeoutMs} ms`, null), terms.connectTimeoutMs)
    signal.addEventListener('abort', onAbort, { once: true })
    const socket = dial(terms.address, terms.tls, (error, connected) => {
      if (error !== null) return finish(error, null)
      http2 = overSocket(connected)
      const session = new GrpcSession(http2, connected, terms)
      http2.once('close', () => finish(session.endedBecause, null))
      http2.once('remoteSettings', () => finish(null, session))
    })
  })
}

function overSocket(socket: net.Socket): ClientHttp2Session {
  const http2 = connect('http://grpc.invalid', {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
    maxSessionMemory: SESSION_MEMORY_MB,
    maxSettings: 32,
  })
  http2.once('connect', () => http2.setLocalWindowSize(CONNECTION_WINDOW_BYTES))
  return http2
}

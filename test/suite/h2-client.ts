// A client on the HTTP/2 codec alone, for servers that others wrote.
import { once } from 'node:events'
import net from 'node:net'
import { Http2ClientConnection } from '../../lib/http/h2/client-connection.ts'
import type { Http2Events } from '../../lib/http/h2/http2-connection.ts'
import { HTTP2_DEFAULTS, type Http2Options } from '../../lib/http/h2/options.ts'
import type { Http2Stream } from '../../lib/http/h2/stream.ts'
import type { StreamEvents } from '../../lib/http/h2/stream-events.ts'
import { HeaderMap } from '../../lib/http/header-map.ts'
import { Io } from '../../lib/transport/io.ts'
import { SocketConnection } from '../../lib/transport/socket-connection.ts'
import { fieldPairs } from './h2-echo.ts'

export interface Answer {
  readonly status: number
  readonly fields: readonly (readonly [string, string])[]
  readonly body: Buffer
  readonly trailers: readonly (readonly [string, string])[]
  readonly interim: readonly number[]
  /** Code of a reset; null when the response is whole. */
  readonly reset: number | null
}

interface Asked {
  readonly method?: string
  readonly path?: string
  readonly authority?: string
  readonly fields?: string
  readonly body?: Buffer | null
  readonly trailers?: string
  /** Pauses at each piece of the body, and goes on in a later turn. */
  readonly slow?: boolean
}

class Call implements StreamEvents {
  stream: Http2Stream | null = null
  private readonly io: Io
  private readonly asked: Asked
  private readonly parts: Buffer[] = []
  private readonly interim: number[] = []
  private sent = 0
  private status = 0
  private fields: readonly (readonly [string, string])[] = []
  private readonly settle: (answer: Answer) => void

  constructor(io: Io, asked: Asked, settle: (answer: Answer) => void) {
    this.io = io
    this.asked = asked
    this.settle = settle
  }

  /** Sends the body as fast as it is taken. */
  onWritable(): void {
    const { body, trailers } = this.asked
    if (body === undefined || body === null || this.stream === null) return
    let goes = true
    while (goes && this.sent < body.length) {
      const end = Math.min(body.length, this.sent + 50_000)
      goes = this.stream.sendBody(body, this.sent, end)
      this.sent = end
    }
    if (this.sent === body.length) this.stream.sendEnd(trailers ?? '')
  }

  onInformational(status: number): void {
    this.interim.push(status)
  }

  onResponse(): void {
    const stream = this.stream as Http2Stream
    this.status = stream.status
    this.fields = fieldPairs(stream.headers)
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    this.parts.push(Buffer.from(bytes.subarray(start, end)))
    if (this.asked.slow !== true) return
    const stream = this.stream as Http2Stream
    stream.pause()
    setImmediate(() => this.io.run('resume', () => stream.resume()))
  }

  onEnd(trailers: HeaderMap | null): void {
    this.done(trailers === null ? [] : fieldPairs(trailers), null)
  }

  onReset(code: number): void {
    this.done([], code)
  }

  private done(trailers: readonly (readonly [string, string])[], reset: number | null): void {
    const { status, fields, interim } = this
    this.settle({ status, fields, body: Buffer.concat(this.parts), trailers, interim, reset })
  }
}

export class CodecClient implements Http2Events {
  readonly io: Io
  readonly faults: unknown[]
  readonly errors: string[]
  readonly h2: Http2ClientConnection
  readonly settled: Promise<void>
  private settle: () => void

  constructor(socket: net.Socket, options: Partial<Http2Options> = {}) {
    this.faults = []
    this.errors = []
    this.io = new Io((error) => this.faults.push(error))
    this.settle = () => {}
    this.settled = new Promise((resolve) => {
      this.settle = resolve
    })
    const connection = new SocketConnection(this.io, socket, { onData() {}, onEnd() {}, onWritable() {}, onClose() {} })
    this.h2 = new Http2ClientConnection(connection, this, { ...HTTP2_DEFAULTS, ...options })
    connection.owner = this.h2
    this.io.run('begin', () => {})
  }

  static async connect(port: number, options: Partial<Http2Options> = {}): Promise<CodecClient> {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    await once(socket, 'connect')
    const client = new CodecClient(socket, options)
    await client.settled
    return client
  }

  ask(asked: Asked = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.io.run('ask', () => {
        const call = new Call(this.io, asked, resolve)
        const { method = 'GET', path = '/', authority = 'a.example', fields = '', body = null } = asked
        const connect = method === 'CONNECT'
        call.stream = this.h2.request(
          call,
          method,
          connect ? '' : 'http',
          authority,
          connect ? '' : path,
          '',
          new HeaderMap(),
          fields,
          '',
          body === null,
        )
        if (call.stream === null) reject(new Error('no room'))
        else call.onWritable()
      })
    })
  }

  close(): void {
    this.io.run('close', () => this.h2.connection.destroy(''))
  }

  onSettings(): void {
    this.settle()
  }

  onStreamClosed(): void {}
  onGoaway(code: number): void {
    this.errors.push(`goaway ${code}`)
  }

  onConnectionError(code: number, why: string): void {
    this.errors.push(`${code} ${why}`)
  }

  onClose(): void {}
}

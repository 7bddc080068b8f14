// The HTTP/2 side of an Upstream: Node's implementation behind the same moves.
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import { ByteList } from './byte-list.ts'
import type { AnswerSpec, Exchange } from './exchange.ts'
import { fedDuplex } from './fed-duplex.ts'
import { type HeaderPair, type RequestMessage, type ResponseMessage, ResponseReader } from './h1-reader.ts'
import { resetNow } from './http2-client.ts'
import { headerPairs } from './raw-client.ts'
import type { UpstreamConnection } from './upstream.ts'

/** Node's session on a connection whose bytes are kept as those of HTTP/1 are. */
export class Http2Side {
  private readonly duplex: Duplex

  constructor(connection: UpstreamConnection, onRequest: (exchange: Exchange) => void, tell: () => void) {
    this.duplex = fedDuplex(connection.socket)
    const session = http2.performServerHandshake(this.duplex)
    session.on('error', () => {})
    session.on('stream', (stream: http2.ServerHttp2Stream, _headers: unknown, _flags: number, raw?: unknown) => {
      onRequest(new StreamExchange(connection, stream, raw as readonly string[], tell))
    })
  }

  /** null: the proxy has ended its half. */
  push(bytes: Buffer | null): void {
    if (!this.duplex.destroyed) this.duplex.push(bytes)
  }
}

/** What HTTP/2 has no fields for (RFC 9113 §8.2.2). */
const HOP_BY_HOP = new Set(['connection', 'transfer-encoding', 'keep-alive', 'proxy-connection', 'upgrade'])

export class StreamExchange implements Exchange {
  readonly connection: UpstreamConnection
  readonly request: RequestMessage
  readonly stream: http2.ServerHttp2Stream
  answered: boolean
  handlerError: unknown
  isOver: boolean
  /** Something was given to `write`. */
  private begun: boolean
  /** Of `write`. */
  private readonly reader: ResponseReader
  private written: { readonly response: ResponseMessage; sent: number } | null

  constructor(connection: UpstreamConnection, stream: http2.ServerHttp2Stream, raw: readonly string[], tell: () => void) {
    this.connection = connection
    this.stream = stream
    this.answered = false
    this.handlerError = null
    this.isOver = false
    this.begun = false
    this.written = null
    const content = new ByteList()
    const fields = pairs(raw)
    const pseudo = (name: string) => fields.find(([n]) => n === name)?.[1] ?? ''
    const request = {
      startLine: 'HTTP/2',
      method: pseudo(':method'),
      target: pseudo(':path'),
      version: 'HTTP/2',
      headers: [['host', pseudo(':authority')], ...fields.filter(([n]) => !n.startsWith(':'))] as readonly HeaderPair[],
      get body() {
        return content.bytes
      },
      content,
      chunks: [],
      trailers: [] as readonly HeaderPair[],
      framing: 'none' as const,
      complete: false,
    }
    this.request = request
    this.reader = new ResponseReader({
      onHead: (response) => this.beginWritten(response),
      onInformational: (status, headers) => this.inform(status, headers),
      onMessage: () => this.endWritten(),
      onError: (error) => {
        throw error
      },
    })
    this.reader.expect(request.method)
    stream.on('data', (d: Buffer) => {
      content.push(d)
      tell()
    })
    stream.on('trailers', (_t: unknown, _flags: unknown, raw: unknown) => {
      request.trailers = pairs(raw as readonly string[])
    })
    stream.on('end', () => {
      // Node says `end` also behind a reset.
      request.complete = (stream.rstCode ?? 0) === 0 && !stream.aborted
      tell()
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      this.isOver = true
      tell()
    })
  }

  async body(budgetMs = 10_000): Promise<Buffer> {
    await this.connection.until('the end of the request', () => this.request.complete, budgetMs)
    return this.request.body
  }

  async bodyBytes(count: number, budgetMs = 10_000): Promise<Buffer> {
    await this.connection.until(`${count} bytes of the request`, () => this.request.content.length >= count, budgetMs)
    return this.request.body
  }

  async answer(spec: AnswerSpec = {}): Promise<void> {
    await this.body()
    await this.answerEarly(spec)
  }

  async answerEarly(spec: AnswerSpec = {}): Promise<void> {
    this.answered = true
    const status = spec.status ?? 200
    const headers = [...headerPairs(spec.headers)]
    const body = spec.chunks?.join('') ?? spec.body ?? ''
    const hasLength = headers.some(([n]) => n.toLowerCase() === 'content-length')
    const sized = spec.chunks === undefined && spec.untilClose !== true && status !== 204 && status !== 304
    if (sized && !hasLength) headers.push(['content-length', String(Buffer.byteLength(body as string, 'latin1'))])
    this.respond(status, headers, spec.trailers === undefined ? null : () => headerPairs(spec.trailers))
    await this.send(typeof body === 'string' ? Buffer.from(body, 'latin1') : body)
    if (!this.stream.destroyed) this.stream.end()
  }

  async write(bytes: string | Uint8Array): Promise<void> {
    this.answered = true
    const all = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes)
    // What is no HTTP/1 is no frame either.
    if (!this.begun && all[0] !== 0x48 /* H */) return this.connection.write(all)
    this.begun = true
    this.reader.push(all)
    await this.flushWritten()
  }

  async writeSplit(bytes: string | Uint8Array, offsets: readonly number[]): Promise<void> {
    let from = 0
    for (const to of [...offsets, bytes.length]) {
      await this.write(bytes.slice(from, to))
      from = to
    }
  }

  /** A frame for each byte of a body. */
  trickle(bytes: string | Uint8Array): Promise<void> {
    return this.writeSplit(
      bytes,
      Array.from({ length: bytes.length }, (_, i) => i + 1),
    )
  }

  switchProtocols(_protocol: string): Promise<void> {
    return Promise.reject(new Error('HTTP/2 has no Upgrade (RFC 9113 §8.6)'))
  }

  end(): void {
    this.answered = true
    if (this.written?.response.framing === 'close') this.reader.end()
    else this.connection.end()
  }

  close(): void {
    this.connection.destroy()
  }

  reset(): void {
    this.connection.reset()
  }

  abandon(): void {
    resetNow(this.stream, 'cancel')
  }

  over(budgetMs = 10_000): Promise<unknown> {
    return this.connection.until(`the end of ${this.request.target}`, () => this.isOver, budgetMs)
  }

  pause(): void {
    this.stream.pause()
  }

  resume(): void {
    this.stream.resume()
  }

  private beginWritten(response: ResponseMessage): void {
    const trailers = response.framing === 'chunked' ? () => response.trailers : null
    this.respond(response.status, response.headers, trailers)
    this.written = { response, sent: 0 }
  }

  private inform(status: number, headers: readonly HeaderPair[]): void {
    if (!this.stream.destroyed) this.stream.additionalHeaders({ ':status': status, ...record(headers) })
  }

  private async flushWritten(): Promise<void> {
    const { written } = this
    if (written === null) return
    const part = written.response.content.since(written.sent)
    written.sent += part.length
    if (part.length > 0) await this.send(part)
  }

  private endWritten(): void {
    void this.flushWritten()
    if (!this.stream.destroyed) this.stream.end()
  }

  private respond(status: number, headers: readonly HeaderPair[], trailers: (() => readonly HeaderPair[]) | null): void {
    if (this.stream.destroyed) return
    this.stream.respond({ ':status': status, ...record(headers) }, { waitForTrailers: trailers !== null })
    if (trailers !== null) this.stream.on('wantTrailers', () => this.stream.sendTrailers(record(trailers())))
  }

  /** Resolves when Node has taken the bytes, which is when the proxy gives credit for them. */
  private send(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.stream.destroyed || this.stream.writableEnded || bytes.length === 0) return resolve()
      this.stream.once('close', resolve)
      this.stream.write(bytes, () => {
        this.stream.off('close', resolve)
        resolve()
      })
    })
  }
}

function record(headers: readonly HeaderPair[]): Record<string, string | string[]> {
  const out: Record<string, string | string[]> = {}
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    if (HOP_BY_HOP.has(key)) continue
    const there = out[key]
    out[key] = there === undefined ? value : [...(typeof there === 'string' ? [there] : there), value]
  }
  return out
}

function pairs(raw: readonly string[]): HeaderPair[] {
  const out: HeaderPair[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) out.push([raw[i] as string, raw[i + 1] as string])
  return out
}

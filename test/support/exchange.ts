// One request at an upstream and what is done about it, over HTTP/1; over HTTP/2 it is stream-exchange.ts.
import type { HeaderPair, RequestMessage } from './h1-reader.ts'
import { headerPairs } from './raw-client.ts'
import type { UpstreamConnection } from './upstream.ts'

export interface AnswerSpec {
  /** 200 */
  readonly status?: number
  readonly reason?: string
  readonly headers?: readonly HeaderPair[] | Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** Sent chunked, in these chunks, instead of `body`. */
  readonly chunks?: readonly string[]
  /** After `chunks`. */
  readonly trailers?: readonly HeaderPair[] | Readonly<Record<string, string>>
  /** Neither content-length nor chunked: the body ends with the connection. */
  readonly untilClose?: boolean
  /** `Connection: close`, and closed after the answer. */
  readonly close?: boolean
}

/** What tests do with a request, whichever version it came in. Bytes are in the notation of HTTP/1; over HTTP/2 goes what they say. */
export interface Exchange {
  /** Over HTTP/2 it has others too. */
  readonly connection: UpstreamConnection
  /** Grows until `complete`. */
  readonly request: RequestMessage
  answered: boolean
  handlerError: unknown
  /** The whole request has come. */
  body(budgetMs?: number): Promise<Buffer>
  /** So many bytes of the body have come. */
  bodyBytes(count: number, budgetMs?: number): Promise<Buffer>
  /** A well-formed answer, after the whole request has come. */
  answer(spec?: AnswerSpec): Promise<void>
  /** A well-formed answer at once. */
  answerEarly(spec?: AnswerSpec): Promise<void>
  /** Exact bytes; call as often as needed. */
  write(bytes: string | Uint8Array): Promise<void>
  writeSplit(bytes: string | Uint8Array, offsets: readonly number[]): Promise<void>
  trickle(bytes: string | Uint8Array): Promise<void>
  /** 101, and both directions are raw from here on. */
  switchProtocols(protocol: string): Promise<void>
  /** Ends the answer where its framing leaves that to the connection; else it ends the connection. */
  end(): void
  /** Ends the connection. */
  close(): void
  /** Ends the connection by RST. */
  reset(): void
  /** Is not answered any more: what is under way is cut. */
  abandon(): void
  /** The proxy is done with it: it has closed the connection or, over HTTP/2, the stream. */
  over(budgetMs?: number): Promise<unknown>
  readonly isOver: boolean
  /** Takes no more of the request. */
  pause(): void
  resume(): void
}

export class Http1Exchange implements Exchange {
  readonly connection: UpstreamConnection
  readonly request: RequestMessage
  answered: boolean
  handlerError: unknown

  constructor(connection: UpstreamConnection, request: RequestMessage) {
    this.connection = connection
    this.request = request
    this.answered = false
    this.handlerError = null
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
    if (this.request.method !== 'CONNECT') await this.body()
    await this.answerEarly(spec)
  }

  async answerEarly(spec: AnswerSpec = {}): Promise<void> {
    this.answered = true
    await this.connection.write(answerBytes(spec, this.request.method))
    if (spec.close === true || spec.untilClose === true) this.connection.end()
  }

  write(bytes: string | Uint8Array): Promise<void> {
    this.answered = true
    return this.connection.write(bytes)
  }

  writeSplit(bytes: string | Uint8Array, offsets: readonly number[]): Promise<void> {
    this.answered = true
    return this.connection.writeSplit(bytes, offsets)
  }

  trickle(bytes: string | Uint8Array): Promise<void> {
    this.answered = true
    return this.connection.writeBytewise(bytes)
  }

  async switchProtocols(protocol: string): Promise<void> {
    await this.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`)
    this.connection.switchToTunnel()
  }

  end(): void {
    this.answered = true
    this.connection.end()
  }

  close(): void {
    this.connection.destroy()
  }

  reset(): void {
    this.connection.reset()
  }

  abandon(): void {
    this.connection.destroy()
  }

  get isOver(): boolean {
    return this.connection.closedBy !== null
  }

  over(budgetMs = 10_000): Promise<unknown> {
    return this.connection.closed(budgetMs)
  }

  pause(): void {
    this.connection.pause()
  }

  resume(): void {
    this.connection.resume()
  }
}

export function answerBytes(spec: AnswerSpec, method = 'GET'): Buffer {
  const status = spec.status ?? 200
  const pairs = [...headerPairs(spec.headers)]
  const has = (name: string) => pairs.some(([n]) => n.toLowerCase() === name)
  const body = Buffer.from((spec.body ?? '') as string, 'latin1')
  let tail = body
  if (spec.chunks !== undefined) {
    if (!has('transfer-encoding')) pairs.push(['Transfer-Encoding', 'chunked'])
    const chunks = spec.chunks.map((c) => `${Buffer.byteLength(c, 'latin1').toString(16)}\r\n${c}\r\n`).join('')
    const trailers = headerPairs(spec.trailers).map(([n, v]) => `${n}: ${v}\r\n`)
    tail = Buffer.from(`${chunks}0\r\n${trailers.join('')}\r\n`, 'latin1')
  } else if (spec.untilClose !== true && !has('content-length') && status !== 204 && status !== 304 && status >= 200) {
    pairs.push(['Content-Length', String(body.length)])
  }
  if (spec.close === true && !has('connection')) pairs.push(['Connection', 'close'])
  const head = `HTTP/1.1 ${status} ${spec.reason ?? 'Reason'}\r\n${pairs.map(([n, v]) => `${n}: ${v}\r\n`).join('')}\r\n`
  return method === 'HEAD' ? Buffer.from(head, 'latin1') : Buffer.concat([Buffer.from(head, 'latin1'), tail])
}

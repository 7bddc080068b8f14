import http2 from 'node:http2'
import net from 'node:net'
import { addAbortSignal } from 'node:stream'
import { ByteList } from './byte-list.ts'
import { within } from './eventually.ts'
import type { HeaderPair, RequestMessage, ResponseMessage } from './h1-reader.ts'
import { RequestReader } from './h1-reader.ts'
import { type ConnectOptions, headerPairs, type RequestSpec } from './raw-client.ts'
import type { Teardown } from './teardown.ts'
import type { Ending } from './wire.ts'

/** One request and what comes back; grows while it is read. */
export class Http2Call {
  /** For what only Node's own interface can do. */
  readonly stream: http2.ClientHttp2Stream
  readonly message: ResponseMessage
  headCame: boolean
  /** Code of RST_STREAM; null: none came. */
  resetCode: number | null
  closed: boolean
  private readonly changed: Set<() => void>

  constructor(stream: http2.ClientHttp2Stream, onChange: () => void = () => {}) {
    const content = new ByteList()
    const informational: { status: number; headers: HeaderPair[] }[] = []
    const message = {
      startLine: 'HTTP/2',
      version: 'HTTP/2',
      status: 0,
      reason: '',
      headers: [] as HeaderPair[],
      get body() {
        return content.bytes
      },
      content,
      chunks: [],
      trailers: [] as HeaderPair[],
      framing: 'none' as const,
      complete: false,
      informational,
    }
    this.stream = stream
    this.message = message
    this.headCame = false
    this.resetCode = null
    this.closed = false
    this.changed = new Set([onChange])
    stream.on('headers', (_h: unknown, _flags: unknown, raw: unknown) => {
      const fields = pairs(raw)
      informational.push({ status: statusOf(fields), headers: withoutPseudo(fields) })
      this.tell()
    })
    stream.on('response', (_h: unknown, _flags: unknown, raw?: unknown) => {
      const fields = pairs(raw)
      message.status = statusOf(fields)
      message.headers = withoutPseudo(fields)
      this.headCame = true
      this.tell()
    })
    stream.on('trailers', (_h: unknown, _flags: unknown, raw?: unknown) => {
      message.trailers = pairs(raw)
    })
    stream.on('data', (d: Buffer) => {
      content.push(d)
      this.tell()
    })
    stream.on('end', () => {
      // Node says `end` also behind a reset.
      message.complete = this.headCame && (stream.rstCode ?? 0) === 0
      this.tell()
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      this.closed = true
      this.resetCode = stream.rstCode === 0 ? null : (stream.rstCode ?? null)
      this.tell()
    })
  }

  /** The response, complete. Fails when the stream ends before. */
  async response(budgetMs = 10_000): Promise<ResponseMessage> {
    await this.until('a response', () => this.message.complete || this.broken(), budgetMs)
    return this.message
  }

  async responseHead(budgetMs = 10_000): Promise<ResponseMessage> {
    await this.until('the head of a response', () => this.headCame || this.broken(), budgetMs)
    return this.message
  }

  /** Waits for the end of the stream; the code of its reset, or null. */
  async ended(budgetMs = 10_000): Promise<number | null> {
    await this.until('the end of the stream', () => this.closed, budgetMs)
    return this.resetCode
  }

  until(what: string, isSo: () => boolean, budgetMs = 10_000): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      const check = () => {
        try {
          if (!isSo()) return
          resolve()
        } catch (error) {
          reject(error as Error)
        }
        this.changed.delete(check)
      }
      this.changed.add(check)
      check()
    })
    return within(what, promise, budgetMs, () => `status ${this.message.status}, ${this.message.content.length} bytes`)
  }

  write(bytes: string | Uint8Array): void {
    this.stream.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** Ends the request. */
  end(bytes: string | Uint8Array = ''): void {
    this.stream.end(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** RST_STREAM CANCEL. */
  reset(): void {
    resetNow(this.stream, 'cancel')
  }

  private broken(): false {
    if (this.closed) throw new Error(`the stream was closed (code ${this.resetCode}) after ${this.message.content.length} bytes`)
    return false
  }

  private tell(): void {
    for (const check of [...this.changed]) check()
  }
}

export type Http2Request = RequestSpec & {
  /** Default: the body and the end are sent with the head. */
  readonly open?: boolean
  readonly pseudo?: Readonly<Record<string, string>>
  readonly trailers?: Readonly<Record<string, string>> | (() => Readonly<Record<string, string>>)
}

/** Node's HTTP/2 client with the interface of RawClient, as far as a library lets a test go. Prior knowledge, no TLS. */
export class Http2Client {
  readonly session: http2.ClientHttp2Session
  /** Requests whose answers were not asked for yet. */
  private readonly waiting: Http2Call[]
  /** All that were ever begun. */
  private readonly calls: Http2Call[]
  private readonly changed: Set<() => void>
  /** Of `write`. */
  private readonly reader: RequestReader
  /** The request that `write` is in the middle of, and how much of its body has been sent. */
  private written: { readonly call: Http2Call; readonly request: RequestMessage; sent: number } | null
  private paused: boolean
  readonly localAddress: string
  goawayCode: number | null
  closedBy: Ending | null

  private constructor(session: http2.ClientHttp2Session) {
    this.session = session
    this.waiting = []
    this.calls = []
    this.changed = new Set()
    this.written = null
    this.paused = false
    this.localAddress = `${session.socket.localAddress}:${session.socket.localPort}`
    this.goawayCode = null
    this.closedBy = null
    this.reader = new RequestReader({
      onHead: (request) => this.beginWritten(request),
      onMessage: () => this.endWritten(),
      onError: (error) => {
        throw error
      },
    })
    session.on('goaway', (code) => {
      this.goawayCode = code
    })
    let failed = false
    session.on('error', () => {
      failed = true
    })
    session.on('close', () => {
      this.closedBy = failed ? 'reset' : 'end'
      this.tell()
    })
  }

  get isClosed(): boolean {
    return this.closedBy !== null
  }

  /** Those whose heads came, in the order of their requests. */
  get responses(): readonly ResponseMessage[] {
    return this.calls.filter((c) => c.headCame).map((c) => c.message)
  }

  static async connect(t: Teardown, to: ConnectOptions | number, settings: http2.Settings = {}): Promise<Http2Client> {
    const o = typeof to === 'number' ? { port: to } : to
    const { port, host = '127.0.0.1', localAddress } = o
    const socket = net.connect({ host, port, ...(localAddress === undefined ? {} : { localAddress }) })
    t.teardown(() => socket.destroy())
    await within(`a connection to ${host}:${port}`, opened(socket, 'connect'))
    const session = http2.connect(`http://${host}:${port}`, {
      settings,
      maxSessionMemory: 1000,
      createConnection: () => socket,
    })
    t.teardown(() => session.destroy())
    const client = new Http2Client(session)
    await within(`SETTINGS from port ${port}`, opened(session, 'remoteSettings'))
    return client
  }

  /** Begins a request; its answer is the call's. */
  call(request: Http2Request = {}): Http2Call {
    const headers: Record<string, string | string[]> = {
      ':method': request.method ?? 'GET',
      ...(request.method === 'CONNECT' ? {} : { ':path': request.target ?? '/', ':scheme': 'http' }),
      ...(request.host === null ? {} : { ':authority': request.host ?? 'localhost' }),
      ...request.pseudo,
    }
    for (const [name, value] of headerPairs(request.headers)) {
      const key = name.toLowerCase()
      const there = headers[key]
      headers[key] = there === undefined ? value : [...(typeof there === 'string' ? [there] : there), value]
    }
    const body = request.body === undefined ? null : Buffer.from(request.body as string, 'latin1')
    if (body !== null && headers['content-length'] === undefined) headers['content-length'] = String(body.length)
    const { open = false, trailers } = request
    const stream = this.session.request(headers, {
      endStream: body === null && !open && trailers === undefined,
      waitForTrailers: trailers !== undefined,
    })
    if (trailers !== undefined)
      stream.on('wantTrailers', () => stream.sendTrailers(typeof trailers === 'function' ? trailers() : trailers))
    const call = new Http2Call(stream, () => this.tell())
    this.calls.push(call)
    if (this.paused) stream.pause()
    if (body !== null) stream.write(body)
    if (!open && (body !== null || trailers !== undefined)) stream.end()
    return call
  }

  send(request: Http2Request = {}): Promise<void> {
    this.waiting.push(this.call(request))
    return Promise.resolve()
  }

  /** The answer to the oldest `send`. */
  response(budgetMs = 10_000): Promise<ResponseMessage> {
    return this.next().response(budgetMs)
  }

  responseHead(budgetMs = 10_000): Promise<ResponseMessage> {
    return this.next().responseHead(budgetMs)
  }

  private next(): Http2Call {
    const call = this.waiting.shift()
    if (call === undefined) throw new Error('nothing was sent')
    return call
  }

  ask(request: Http2Request = {}, budgetMs = 10_000): Promise<ResponseMessage> {
    return this.call(request).response(budgetMs)
  }

  completed(message: ResponseMessage, budgetMs = 10_000): Promise<ResponseMessage> {
    return (this.calls.find((c) => c.message === message) as Http2Call).response(budgetMs)
  }

  /** Nothing to prepare: the version says itself what an answer is to. */
  expectMethod(_method: string): void {}

  /** Requests or parts of them in the notation of HTTP/1; what they say is sent. */
  write(bytes: string | Uint8Array): Promise<void> {
    this.reader.push(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes))
    return this.flushWritten()
  }

  async writeSplit(bytes: string | Uint8Array, offsets: readonly number[]): Promise<void> {
    let from = 0
    for (const to of [...offsets, bytes.length]) {
      await this.write(bytes.slice(from, to))
      from = to
    }
  }

  /** A frame for each byte of a body. */
  async writeBytewise(bytes: string | Uint8Array): Promise<void> {
    for (const byte of typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes) await this.write(Buffer.of(byte))
  }

  private beginWritten(request: RequestMessage): void {
    const { method, target, headers, framing } = request
    const call = this.call({
      method,
      target,
      host: headers.find(([n]) => n.toLowerCase() === 'host')?.[1] ?? null,
      headers: headers.filter(([n]) => !HOP_BY_HOP.has(n.toLowerCase())),
      open: framing !== 'none',
      ...(framing === 'chunked' ? { trailers: () => Object.fromEntries(request.trailers) } : {}),
    })
    this.waiting.push(call)
    this.written = { call, request, sent: 0 }
  }

  private flushWritten(): Promise<void> {
    const { written } = this
    if (written === null || written.request.content.length === written.sent) return Promise.resolve()
    const part = written.request.content.since(written.sent)
    written.sent += part.length
    if (written.call.closed) return Promise.resolve()
    return new Promise((resolve) => written.call.stream.write(part, () => resolve()))
  }

  private endWritten(): void {
    void this.flushWritten()
    if (this.written?.request.framing !== 'none') this.written?.call.stream.end()
    this.written = null
  }

  untilInformational(status: number): Promise<void> {
    return this.until(`a ${status}`, () => this.calls.some((c) => c.message.informational.some((i) => i.status === status)))
  }

  /** Waits for what can only change with something that comes. */
  until(what: string, isSo: () => boolean, budgetMs = 10_000): Promise<void> {
    const promise = new Promise<void>((resolve) => {
      const check = () => {
        if (!isSo()) return
        this.changed.delete(check)
        resolve()
      }
      this.changed.add(check)
      check()
    })
    return within(what, promise, budgetMs)
  }

  private tell(): void {
    for (const check of [...this.changed]) check()
  }

  /** Gives no more credit to any stream, also not to those that begin later. */
  pause(): void {
    this.paused = true
    for (const call of this.calls) call.stream.pause()
  }

  resume(): void {
    this.paused = false
    for (const call of this.calls) call.stream.resume()
  }

  reset(): void {
    this.session.destroy()
  }

  destroy(): void {
    this.session.destroy()
  }

  /** The proxy has closed the connection. */
  async closed(budgetMs = 10_000): Promise<Ending> {
    await this.until('the connection to be closed', () => this.closedBy !== null, budgetMs)
    return this.closedBy as Ending
  }

  get isOver(): boolean {
    return this.isClosed || this.calls.every((c) => c.closed)
  }

  /** Every stream has ended, or been ended. */
  over(budgetMs = 10_000): Promise<void> {
    return this.until('all streams to end', () => this.isOver, budgetMs)
  }
}

/** What HTTP/2 has no fields for (RFC 9113 §8.2.2), and Host, which is `:authority`. */
const HOP_BY_HOP = new Set(['host', 'connection', 'transfer-encoding', 'keep-alive', 'proxy-connection', 'upgrade'])

function opened(of: net.Socket | http2.ClientHttp2Session, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    of.once(event as 'connect', () => resolve())
    of.once('error', reject)
  })
}

/** RST_STREAM at once: Node's `close` ends the stream before, so that what was cut looks complete. */
export function resetNow(stream: http2.Http2Stream, code: 'cancel' | 'internal error'): void {
  if (stream.destroyed) return
  if (code === 'cancel') addAbortSignal(AbortSignal.abort(), stream)
  else stream.destroy(new Error('reset by the test'))
}

function pairs(raw: unknown): HeaderPair[] {
  const list = raw as readonly string[]
  const out: HeaderPair[] = []
  for (let i = 0; i + 1 < list.length; i += 2) out.push([list[i] as string, list[i + 1] as string])
  return out
}

function statusOf(fields: readonly HeaderPair[]): number {
  return Number(fields.find(([n]) => n === ':status')?.[1] ?? 0)
}

function withoutPseudo(fields: readonly HeaderPair[]): HeaderPair[] {
  return fields.filter(([n]) => !n.startsWith(':'))
}

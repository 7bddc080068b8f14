import http2 from 'node:http2'
import { ByteList } from './byte-list.ts'
import { within } from './eventually.ts'
import type { HeaderPair, ResponseMessage } from './h1-reader.ts'
import { type ConnectOptions, headerPairs, type RequestSpec } from './raw-client.ts'
import type { Teardown } from './teardown.ts'

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

  constructor(stream: http2.ClientHttp2Stream) {
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
    this.changed = new Set()
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
  async response(budgetMs = 5000): Promise<ResponseMessage> {
    await this.until('a response', () => this.message.complete || this.broken(), budgetMs)
    return this.message
  }

  async responseHead(budgetMs = 5000): Promise<ResponseMessage> {
    await this.until('the head of a response', () => this.headCame || this.broken(), budgetMs)
    return this.message
  }

  /** Waits for the end of the stream; the code of its reset, or null. */
  async ended(budgetMs = 5000): Promise<number | null> {
    await this.until('the end of the stream', () => this.closed, budgetMs)
    return this.resetCode
  }

  until(what: string, isSo: () => boolean, budgetMs = 5000): Promise<void> {
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
    this.stream.close(http2.constants.NGHTTP2_CANCEL)
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
  readonly trailers?: Readonly<Record<string, string>>
}

/** Node's HTTP/2 client with the interface of RawClient, as far as a library lets a test go. Prior knowledge, no TLS. */
export class Http2Client {
  readonly session: http2.ClientHttp2Session
  /** Requests whose answers were not asked for yet. */
  private readonly waiting: Http2Call[]
  goawayCode: number | null
  closed: boolean

  private constructor(session: http2.ClientHttp2Session) {
    this.session = session
    this.waiting = []
    this.goawayCode = null
    this.closed = false
    session.on('error', () => {})
    session.on('goaway', (code) => {
      this.goawayCode = code
    })
    session.on('close', () => {
      this.closed = true
    })
  }

  static async connect(t: Teardown, to: ConnectOptions | number, settings: http2.Settings = {}): Promise<Http2Client> {
    const o = typeof to === 'number' ? { port: to } : to
    const session = http2.connect(`http://${o.host ?? '127.0.0.1'}:${o.port}`, { settings, maxSessionMemory: 1000 })
    t.teardown(() => session.destroy())
    const client = new Http2Client(session)
    const connected = new Promise<void>((resolve, reject) => {
      session.once('remoteSettings', () => resolve())
      session.once('error', reject)
    })
    await within(`SETTINGS from port ${o.port}`, connected)
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
    if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    const call = new Http2Call(stream)
    if (body !== null) stream.write(body)
    if (!open && (body !== null || trailers !== undefined)) stream.end()
    return call
  }

  send(request: Http2Request = {}): Promise<void> {
    this.waiting.push(this.call(request))
    return Promise.resolve()
  }

  /** The answer to the oldest `send`. */
  response(budgetMs = 5000): Promise<ResponseMessage> {
    return this.next().response(budgetMs)
  }

  responseHead(budgetMs = 5000): Promise<ResponseMessage> {
    return this.next().responseHead(budgetMs)
  }

  private next(): Http2Call {
    const call = this.waiting.shift()
    if (call === undefined) throw new Error('nothing was sent')
    return call
  }

  ask(request: Http2Request = {}, budgetMs = 5000): Promise<ResponseMessage> {
    return this.call(request).response(budgetMs)
  }

  destroy(): void {
    this.session.destroy()
  }
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

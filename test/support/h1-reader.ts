// A small HTTP/1.1 reader for tests, independent of the codec under test. It is strict about line ends and framing, keeps
// spelling and order, and reports instead of repairing.

import { ByteList } from './byte-list.ts'

export type HeaderPair = readonly [name: string, value: string]

/** A message, growing while it is read. `complete` turns true with its last byte. */
export interface Message {
  /** Without CRLF. */
  readonly startLine: string
  /** In order and as spelled. */
  readonly headers: readonly HeaderPair[]
  /** So far. */
  readonly body: Buffer
  readonly content: ByteList
  /** Sizes of the chunks as they came; empty unless chunked. */
  readonly chunks: number[]
  trailers: readonly HeaderPair[]
  readonly framing: 'none' | 'length' | 'chunked' | 'close' | 'tunnel'
  complete: boolean
}

export interface RequestMessage extends Message {
  readonly method: string
  readonly target: string
  readonly version: string
}

export interface ResponseMessage extends Message {
  readonly version: string
  readonly status: number
  readonly reason: string
  /** The interim responses that came before it. */
  readonly informational: readonly { readonly status: number; readonly headers: readonly HeaderPair[] }[]
}

/** First value of a header, whatever its spelling. */
export function header(message: Pick<Message, 'headers'>, name: string): string | undefined {
  return message.headers.find(([n]) => n.toLowerCase() === name.toLowerCase())?.[1]
}

/** All values of a header. */
export function headerValues(message: Pick<Message, 'headers'>, name: string): string[] {
  return message.headers.filter(([n]) => n.toLowerCase() === name.toLowerCase()).map(([, v]) => v)
}

export interface ReaderEvents<M extends Message> {
  onHead?(message: M): void
  onMessage?(message: M): void
  /** An interim response. */
  onInformational?(status: number, headers: readonly HeaderPair[]): void
  /** Bytes after 101 or a CONNECT, or of a request that asked for a tunnel. */
  onTunnel?(bytes: Buffer): void
  onError?(error: Error): void
}

const CRLF = Buffer.from('\r\n')
/** Bytes that are no HTTP at all would be searched again and again. */
const MAX_HEAD_BYTES = 1024 * 1024
const END_OF_HEAD = Buffer.from('\r\n\r\n')

/** Reads one direction of a connection. Subclasses know what a start line looks like. */
abstract class H1Reader<M extends Message> {
  protected readonly events: ReaderEvents<M>
  private buffer: Buffer
  private current: M | null
  private left: number
  private state: 'head' | 'length' | 'close' | 'chunk-size' | 'chunk-data' | 'trailers' | 'tunnel' | 'broken'

  constructor(events: ReaderEvents<M>) {
    this.events = events
    this.buffer = Buffer.alloc(0)
    this.current = null
    this.left = 0
    this.state = 'head'
  }

  push(bytes: Buffer): void {
    if (this.state === 'broken') return
    this.buffer = this.buffer.length === 0 ? bytes : Buffer.concat([this.buffer, bytes])
    try {
      while (this.step()) {
        // until more bytes are needed
      }
    } catch (error) {
      this.state = 'broken'
      this.events.onError?.(error as Error)
    }
  }

  /** The peer sent FIN. */
  end(): void {
    if (this.state === 'close') this.finish()
    else if (this.current !== null || (this.state === 'head' && this.buffer.length > 0)) {
      this.events.onError?.(new Error(`closed inside of a message (${this.state})`))
    }
  }

  protected abstract begin(startLine: string, headers: readonly HeaderPair[]): M | null

  /** What comes next is no HTTP any more. */
  protected tunnel(): void {
    this.state = 'tunnel'
  }

  private step(): boolean {
    switch (this.state) {
      case 'head':
        return this.head()
      case 'length':
        return this.lengthBody()
      case 'close':
        return this.take(this.buffer.length) && false
      case 'chunk-size':
        return this.chunkSize()
      case 'chunk-data':
        return this.chunkData()
      case 'trailers':
        return this.trailers()
      case 'tunnel': {
        const bytes = this.buffer
        this.buffer = Buffer.alloc(0)
        if (bytes.length > 0) this.events.onTunnel?.(bytes)
        return false
      }
      case 'broken':
        return false
    }
  }

  private head(): boolean {
    const end = this.buffer.indexOf(END_OF_HEAD)
    if (end < 0) {
      if (this.buffer.length > MAX_HEAD_BYTES) throw new Error('no end of a head in sight')
      return false
    }
    const [startLine = '', ...lines] = this.buffer.subarray(0, end).toString('latin1').split('\r\n')
    this.buffer = this.buffer.subarray(end + 4)
    const message = this.begin(startLine, lines.map(parseHeaderLine))
    if (message === null) return true
    this.current = message
    this.events.onHead?.(message)
    switch (message.framing) {
      case 'none':
        this.finish()
        break
      case 'length':
        this.left = Number(header(message, 'content-length'))
        this.state = 'length'
        break
      case 'chunked':
        this.state = 'chunk-size'
        break
      case 'close':
        this.state = 'close'
        break
      case 'tunnel':
        this.finish()
        this.state = 'tunnel'
    }
    return true
  }

  private lengthBody(): boolean {
    const n = Math.min(this.left, this.buffer.length)
    this.left -= n
    this.take(n)
    if (this.left === 0) this.finish()
    return this.state === 'head'
  }

  private chunkSize(): boolean {
    const end = this.buffer.indexOf(CRLF)
    if (end < 0) return false
    const line = this.buffer.subarray(0, end).toString('latin1')
    if (!/^[0-9a-f]{1,8}(;.*)?$/i.test(line)) throw new Error(`not a chunk size: ${JSON.stringify(line)}`)
    this.buffer = this.buffer.subarray(end + 2)
    this.left = Number.parseInt(line, 16)
    this.state = this.left === 0 ? 'trailers' : 'chunk-data'
    if (this.left > 0) this.current?.chunks.push(this.left)
    return true
  }

  private chunkData(): boolean {
    const n = Math.min(this.left, this.buffer.length)
    this.left -= n
    this.take(n)
    if (this.left > 0 || this.buffer.length < 2) return false
    if (this.buffer.indexOf(CRLF) !== 0) throw new Error('a chunk does not end with CRLF')
    this.buffer = this.buffer.subarray(2)
    this.state = 'chunk-size'
    return true
  }

  private trailers(): boolean {
    if (this.buffer.length < 2) return false
    if (this.buffer.indexOf(CRLF) === 0) {
      this.buffer = this.buffer.subarray(2)
    } else {
      const end = this.buffer.indexOf(END_OF_HEAD)
      if (end < 0) return false
      const lines = this.buffer.subarray(0, end).toString('latin1').split('\r\n')
      if (this.current !== null) this.current.trailers = lines.map(parseHeaderLine)
      this.buffer = this.buffer.subarray(end + 4)
    }
    this.finish()
    return true
  }

  private take(n: number): boolean {
    if (n > 0) this.current?.content.push(this.buffer.subarray(0, n))
    this.buffer = this.buffer.subarray(n)
    return true
  }

  private finish(): void {
    const message = this.current as M
    this.current = null
    this.state = 'head'
    message.complete = true
    this.events.onMessage?.(message)
  }
}

export class RequestReader extends H1Reader<RequestMessage> {
  protected override begin(startLine: string, headers: readonly HeaderPair[]): RequestMessage {
    const m = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) (HTTP\/1\.[01])$/.exec(startLine)
    if (m === null) throw new Error(`not a request line: ${JSON.stringify(startLine)}`)
    const [, method = '', target = '', version = ''] = m
    const framing = method === 'CONNECT' ? 'tunnel' : framingOf(headers, 'none')
    return growing({ startLine, method, target, version, headers, chunks: [], trailers: [], framing, complete: false })
  }

  /** After a 101 was answered. */
  switchToTunnel(): void {
    this.tunnel()
    this.push(Buffer.alloc(0))
  }
}

export class ResponseReader extends H1Reader<ResponseMessage> {
  private readonly methods: string[] = []
  private informational: { readonly status: number; readonly headers: readonly HeaderPair[] }[] = []

  /** Tells the reader what the next unanswered request asks, since HEAD and CONNECT change the framing of their answer. */
  expect(method: string): void {
    this.methods.push(method)
  }

  protected override begin(startLine: string, headers: readonly HeaderPair[]): ResponseMessage | null {
    const m = /^(HTTP\/1\.[01]) (\d{3})(?: (.*))?$/.exec(startLine)
    if (m === null) throw new Error(`not a status line: ${JSON.stringify(startLine)}`)
    const [, version = '', code = '', reason = ''] = m
    const status = Number(code)
    if (status < 200 && status !== 101) {
      this.informational.push({ status, headers })
      this.events.onInformational?.(status, headers)
      return null
    }
    const method = this.methods.shift() ?? 'GET'
    const framing = responseFraming(method, status, headers)
    const informational = this.informational
    this.informational = []
    return growing({
      startLine,
      version,
      status,
      reason,
      headers,
      informational,
      chunks: [],
      trailers: [],
      framing,
      complete: false,
    })
  }
}

function growing<M extends object>(rest: M): M & { readonly body: Buffer; readonly content: ByteList } {
  const content = new ByteList()
  return Object.defineProperty({ ...rest, content }, 'body', { get: () => content.bytes, enumerable: true }) as M & {
    readonly body: Buffer
    readonly content: ByteList
  }
}

/** RFC 9112 §6.3. */
function responseFraming(method: string, status: number, headers: readonly HeaderPair[]): Message['framing'] {
  if (status === 101 || (method === 'CONNECT' && status >= 200 && status < 300)) return 'tunnel'
  if (method === 'HEAD' || status === 204 || status === 304) return 'none'
  return framingOf(headers, 'close')
}

function framingOf(headers: readonly HeaderPair[], otherwise: 'none' | 'close'): Message['framing'] {
  const codings = headerValues({ headers }, 'transfer-encoding')
  const lengths = headerValues({ headers }, 'content-length')
  if (codings.length > 0) {
    if (lengths.length > 0) throw new Error('both transfer-encoding and content-length')
    if (codings.join(',').toLowerCase() !== 'chunked') throw new Error(`transfer-encoding ${codings.join(',')}`)
    return 'chunked'
  }
  if (lengths.length === 0) return otherwise
  if (lengths.length > 1 || !/^\d+$/.test(lengths[0] as string)) throw new Error(`content-length ${lengths.join(',')}`)
  return lengths[0] === '0' ? 'none' : 'length'
}

function parseHeaderLine(line: string): HeaderPair {
  const m = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/s.exec(line)
  if (m === null || /[\r\n]/.test(line)) throw new Error(`not a header line: ${JSON.stringify(line)}`)
  return [m[1] as string, m[2] as string]
}

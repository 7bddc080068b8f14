import net from 'node:net'
import { ByteList } from './byte-list.ts'
import { within } from './eventually.ts'
import type { HeaderPair, ResponseMessage } from './h1-reader.ts'
import { ResponseReader } from './h1-reader.ts'
import type { Teardown } from './teardown.ts'
import type { Ending } from './wire.ts'
import { Wire } from './wire.ts'

export interface ConnectOptions {
  readonly port: number
  /** 127.0.0.1 */
  readonly host?: string
  /** Address to come from. */
  readonly localAddress?: string
  readonly budgetMs?: number
}

export interface RequestSpec {
  /** GET */
  readonly method?: string
  /** `/` */
  readonly target?: string
  /** Value of Host; null: none is sent. Default `localhost`. */
  readonly host?: string | null
  readonly version?: string
  readonly headers?: readonly HeaderPair[] | Readonly<Record<string, string>>
  /** Sent with content-length, unless the headers already say how the body is framed. */
  readonly body?: string | Uint8Array
}

/**
 * A client that can send what no HTTP library would. Requests written with `write…` must be announced with `expectMethod` when
 * they are HEAD or CONNECT; `send` does that by itself.
 */
export class RawClient extends Wire {
  /** Responses that came, complete or not, in order. */
  readonly responses: ResponseMessage[]
  /** What came after 101 or the answer to CONNECT. */
  readonly tunnel: ByteList
  /** The first thing that was no valid response. */
  parseError: Error | null
  private readonly reader: ResponseReader
  private taken: number

  private constructor(socket: net.Socket) {
    super(socket)
    this.responses = []
    this.tunnel = new ByteList()
    this.parseError = null
    this.taken = 0
    this.reader = new ResponseReader({
      onHead: (m) => void this.responses.push(m),
      onTunnel: (bytes) => this.tunnel.push(bytes),
      onError: (error) => {
        this.parseError ??= error
      },
    })
    socket.on('data', (d: Buffer) => {
      this.reader.push(d)
      this.tell()
    })
  }

  protected override onEnding(how: Ending): void {
    if (how === 'end') this.reader.end()
  }

  static async connect(t: Teardown, to: ConnectOptions | number): Promise<RawClient> {
    const o = typeof to === 'number' ? { port: to } : to
    const socket = net.connect({
      host: o.host ?? '127.0.0.1',
      port: o.port,
      allowHalfOpen: true,
      ...(o.localAddress === undefined ? {} : { localAddress: o.localAddress }),
    })
    t.teardown(() => socket.destroy())
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('connect', () => resolve())
      socket.once('error', reject)
    })
    await within(`a connection to ${o.host ?? '127.0.0.1'}:${o.port}`, connected, o.budgetMs ?? 10_000)
    return new RawClient(socket)
  }

  expectMethod(method: string): void {
    this.reader.expect(method)
  }

  /** Writes a request as given; nothing is added but Host and, with a body, content-length. */
  send(request: RequestSpec = {}): Promise<void> {
    this.expectMethod(request.method ?? 'GET')
    return this.write(requestBytes(request))
  }

  /** `send`, and the answer to it. */
  async ask(request: RequestSpec = {}, budgetMs = 10_000): Promise<ResponseMessage> {
    await this.send(request)
    return this.response(budgetMs)
  }

  /** The next final response, complete. Fails when the connection ends before. */
  async response(budgetMs = 10_000): Promise<ResponseMessage> {
    const index = this.taken++
    await this.until(`response ${index + 1}`, () => this.isThere(index, true), budgetMs)
    return this.responses[index] as ResponseMessage
  }

  /** The next final response as soon as its head is there; the body grows. */
  async responseHead(budgetMs = 10_000): Promise<ResponseMessage> {
    const index = this.taken++
    await this.until(`the head of response ${index + 1}`, () => this.isThere(index, false), budgetMs)
    return this.responses[index] as ResponseMessage
  }

  /** Waits until a response from `responseHead` is complete. */
  async completed(message: ResponseMessage, budgetMs = 10_000): Promise<ResponseMessage> {
    await this.until('the rest of the body', () => message.complete || this.broken(), budgetMs)
    return message
  }

  /** An interim response has come. */
  async untilInformational(status: number): Promise<void> {
    await this.untilReceived(`HTTP/1.1 ${status} `)
  }

  get isOver(): boolean {
    return this.closedBy !== null
  }

  /** Nothing more will come: the connection is closed. */
  async over(budgetMs = 10_000): Promise<void> {
    await this.closed(budgetMs)
  }

  /** Waits until the other end of a tunnel has said so much. */
  async untilTunnelled(length: number, budgetMs = 10_000): Promise<Buffer> {
    await this.until(`${length} bytes from the tunnel`, () => this.tunnel.length >= length || this.broken(), budgetMs)
    return this.tunnel.bytes
  }

  private isThere(index: number, complete: boolean): boolean {
    const m = this.responses[index]
    return (m !== undefined && (!complete || m.complete)) || this.broken()
  }

  private broken(): false {
    if (this.parseError !== null) throw this.parseError
    if (this.closedBy !== null)
      throw new Error(`the connection was closed (${this.closedBy}); received: ${JSON.stringify(this.text.slice(-400))}`)
    return false
  }
}

export function requestBytes(r: RequestSpec): Buffer {
  const headers = headerPairs(r.headers)
  const has = (name: string) => headers.some(([n]) => n.toLowerCase() === name)
  const body = r.body === undefined ? null : Buffer.from(r.body as string, 'latin1')
  let head = `${r.method ?? 'GET'} ${r.target ?? '/'} ${r.version ?? 'HTTP/1.1'}\r\n`
  if (r.host !== null && !has('host')) head += `Host: ${r.host ?? 'localhost'}\r\n`
  for (const [name, value] of headers) head += `${name}: ${value}\r\n`
  if (body !== null && !has('content-length') && !has('transfer-encoding')) head += `Content-Length: ${body.length}\r\n`
  return Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), body ?? Buffer.alloc(0)])
}

/** One request on a connection of its own. */
export async function askOnce(t: Teardown, to: ConnectOptions | number, request: RequestSpec = {}): Promise<ResponseMessage> {
  const client = await RawClient.connect(t, to)
  try {
    return await client.ask(request)
  } finally {
    client.destroy()
  }
}

/** Bytes on a connection of its own, and all that comes until the peer closes it. */
export async function exchangeUntilClosed(t: Teardown, to: ConnectOptions | number, bytes: string | Uint8Array): Promise<string> {
  const client = await RawClient.connect(t, to)
  await client.write(bytes)
  await client.closed()
  client.destroy()
  return client.text
}

export function headerPairs(headers: RequestSpec['headers']): readonly HeaderPair[] {
  if (headers === undefined) return []
  return Array.isArray(headers) ? (headers as readonly HeaderPair[]) : (Object.entries(headers) as HeaderPair[])
}

/** `content-length` framing, or chunks of the sizes given. */
export function chunked(...chunks: readonly string[]): string {
  return `${chunks.map((c) => `${c.length.toString(16)}\r\n${c}\r\n`).join('')}0\r\n\r\n`
}

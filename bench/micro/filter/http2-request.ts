// One forwarded request of HTTP/2 through the whole data path, as request.ts: ten streams of a client in a read, and their ten answers in a read
// from the endpoint, which is what saturated connections look like.
import { HpackEncoder } from '../../../lib/http/h2/hpack/encoder.ts'
import type { Bench } from '../contract.ts'
import { proxy } from './proxy.ts'

const BATCH = 10

// RFC 9113 §6
const DATA = 0
const HEADERS = 1
const SETTINGS = 4
const WINDOW_UPDATE = 8
const ACK = 1
const END_STREAM = 1
const END_HEADERS = 4

function frame(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  return Buffer.concat([head, payload])
}

/** `put` written for the third time: everything that can come from the table does. */
function block(put: (encoder: HpackEncoder) => void): readonly Buffer[] {
  const encoder = new HpackEncoder(false)
  return [0, 1, 2].map(() => {
    const out = Buffer.alloc(4096)
    encoder.begin(out, 0, '')
    put(encoder)
    return Buffer.from(out.subarray(0, encoder.position))
  })
}

/** Messages of several streams in one buffer, whose stream ids are written anew each time. */
class Batch {
  readonly bytes: Buffer
  private readonly idsAt: number[]
  private readonly framesEach: number

  constructor(streams: number, message: readonly Buffer[], tail: Buffer) {
    this.framesEach = message.length
    this.idsAt = []
    const parts: Buffer[] = []
    let at = 0
    for (let k = 0; k < streams; k++) {
      for (const part of message) {
        this.idsAt.push(at + 5)
        parts.push(part)
        at += part.length
      }
    }
    this.bytes = Buffer.concat([...parts, tail])
  }

  number(first: number): void {
    const { bytes, idsAt, framesEach } = this
    for (let i = 0; i < idsAt.length; i++) {
      const at = idsAt[i] as number
      const id = first + 2 * Math.floor(i / framesEach)
      bytes[at] = id >>> 24
      bytes[at + 1] = id >>> 16
      bytes[at + 2] = id >>> 8
      bytes[at + 3] = id
    }
  }
}

interface Exchange {
  readonly requestFields: string
  readonly requestBody: Buffer
  readonly responseFields: string
  readonly responseBody: Buffer
  readonly trailers: string
}

function headers(flags: number, put: (encoder: HpackEncoder) => void): readonly Buffer[] {
  return block(put).map((bytes) => frame(HEADERS, END_HEADERS | flags, bytes))
}

/** The frames of a message at its first, second and every later time. */
function message(heads: readonly Buffer[], body: Buffer, trailers: readonly Buffer[]): readonly Buffer[][] {
  const data = body.length === 0 ? [] : [frame(DATA, trailers.length === 0 ? END_STREAM : 0, body)]
  return heads.map((head, i) => [head, ...data, ...(trailers.length === 0 ? [] : [trailers[i] as Buffer])])
}

function requests({ requestFields, requestBody }: Exchange): readonly Buffer[][] {
  const heads = headers(requestBody.length === 0 ? END_STREAM : 0, (encoder) => {
    encoder.request(requestBody.length === 0 ? 'GET' : 'POST', 'http', 'be:9001', '/1k', '')
    encoder.fields(requestFields, false)
  })
  return message(heads, requestBody, [])
}

function responses({ responseFields, responseBody, trailers }: Exchange): readonly Buffer[][] {
  const encoder = new HpackEncoder(false)
  const heads: Buffer[] = []
  const ends: Buffer[] = []
  const out = Buffer.alloc(4096)
  for (let i = 0; i < 3; i++) {
    encoder.begin(out, 0, '')
    encoder.status(200)
    encoder.fields(responseFields, true)
    heads.push(frame(HEADERS, END_HEADERS, Buffer.from(out.subarray(0, encoder.position))))
    if (trailers === '') continue
    encoder.begin(out, 0, '')
    encoder.fields(trailers, true)
    ends.push(frame(HEADERS, END_HEADERS | END_STREAM, Buffer.from(out.subarray(0, encoder.position))))
  }
  return message(heads, responseBody, ends)
}

/** Gives `n` bytes back to the connection's window. */
function window(n: number): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(n)
  return n === 0 ? size.subarray(4) : frame(WINDOW_UPDATE, 0, size)
}

function forwarded(e: Exchange, withLog: boolean): Bench['fn'] {
  const { io, client, upstream, pool } = proxy({ downstream: 'http2', upstream: 'http2', withLog, outlierDetection: null })
  const bytes = io.readBuffer
  const hear = (c: typeof client, said: Buffer): void => {
    bytes.set(said)
    io.enter()
    c.owner.onData(bytes, said.length)
    io.leave()
  }
  const hello = Buffer.concat([frame(SETTINGS, 0, Buffer.alloc(0)), frame(SETTINGS, ACK, Buffer.alloc(0))])
  hear(client, Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1'), hello]))
  hear(upstream, hello)
  const ask = requests(e)
  const answer = responses(e)
  let next = 1
  const exchange = (streams: number, question: Batch, reply: Batch): void => {
    question.number(next)
    reply.number(next)
    hear(client, question.bytes)
    hear(upstream, reply.bytes)
    next += 2 * streams
  }
  const batch = (streams: number, i: number): [Batch, Batch] => [
    new Batch(streams, ask[i] as Buffer[], window(streams * e.responseBody.length)),
    new Batch(streams, answer[i] as Buffer[], window(streams * e.requestBody.length)),
  ]
  exchange(1, ...batch(1, 0))
  exchange(1, ...batch(1, 1))
  const [question, reply] = batch(BATCH, 2)
  return (iterations) => {
    for (let i = 0; i < iterations; i += BATCH) exchange(BATCH, question, reply)
    if (pool.requestsTotal * 2 !== next - 1)
      throw new Error(`${pool.requestsTotal} requests reached the pool, not ${(next - 1) / 2}`)
  }
}

const NONE = Buffer.alloc(0)
const GET: Exchange = {
  requestFields: 'user-agent: h2load nghttp2/1.52.0\r\n',
  requestBody: NONE,
  responseFields:
    'server: nghttpd nghttp2/1.52.0\r\ncache-control: max-age=3600\r\ndate: Sat, 21 Nov 2026 10:50:22 GMT\r\ncontent-length: 1024\r\nlast-modified: Sat, 21 Nov 2026 10:10:54 GMT\r\n',
  responseBody: Buffer.alloc(1024, 'a'),
  trailers: '',
}
const UNARY: Exchange = {
  requestFields:
    'content-type: application/grpc\r\nte: trailers\r\ngrpc-accept-encoding: identity,deflate,gzip\r\nuser-agent: grpc-go/1.60.0\r\n',
  requestBody: Buffer.alloc(105),
  responseFields: 'content-type: application/grpc\r\ngrpc-accept-encoding: identity,deflate,gzip\r\n',
  responseBody: Buffer.alloc(105),
  trailers: 'grpc-status: 0\r\ngrpc-message: \r\n',
}

export const benches: readonly Bench[] = [
  { name: 'filter/request: forwarded over HTTP/2, GET, 1 KB, metrics and access log', fn: forwarded(GET, true) },
  { name: 'filter/request: forwarded over HTTP/2, GET, 1 KB, metrics only', fn: forwarded(GET, false) },
  { name: 'filter/request: forwarded over HTTP/2, gRPC unary, 100 bytes, metrics and access log', fn: forwarded(UNARY, true) },
]

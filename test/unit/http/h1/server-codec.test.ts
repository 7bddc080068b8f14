// One client connection's bytes as requests, in order, whatever pieces they come in and whenever the answers are made.
import t from 'tap'
import { BAD_CHUNK } from '../../../../lib/http/h1/body-decoder.ts'
import { LENGTH_AND_CODING } from '../../../../lib/http/h1/framing.ts'
import * as P from '../../../../lib/http/h1/parse-head.ts'
import * as C from '../../../../lib/http/h1/server-codec.ts'
import type { HeaderMap } from '../../../../lib/http/header-map.ts'
import { sameInAnyPieces } from '../../../suite/splits.ts'
import { feed, fieldsOf, RecordedConnection } from '../kit.ts'

const LIMITS = { maxHeaders: 10, maxHeaderBytes: 200 }

/** Writes down what the codec says. Answers a request at its end when `answers`; else the test calls `answer`. */
class Peer implements C.ServerEvents {
  readonly connection: RecordedConnection
  readonly codec: C.ServerCodec
  readonly log: string[]
  answers: boolean
  tunnelOn: string
  headsBegun: number

  constructor(answers = true) {
    this.connection = new RecordedConnection()
    this.codec = new C.ServerCodec(this.connection.asConnection, this, LIMITS)
    this.log = []
    this.answers = answers
    this.tunnelOn = ''
    this.headsBegun = 0
  }

  onRequest(): void {
    const { method, target, minor, headers, hasBody, bodyLength } = this.codec
    this.log.push(`${method} ${target} 1.${minor} [${fieldsOf(headers).join('; ')}] ${hasBody ? bodyLength : 'no body'}`)
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    this.append('body ', bytes.toString('latin1', start, end))
  }

  onTunnelData(bytes: Buffer, start: number, end: number): void {
    this.append('tunnel ', bytes.toString('latin1', start, end))
  }

  private append(kind: string, text: string): void {
    const last = this.log.length - 1
    if (this.log[last]?.startsWith(kind) === true) this.log[last] += text
    else this.log.push(kind + text)
  }

  onRequestEnd(trailers: HeaderMap | null): void {
    this.log.push(trailers === null ? 'end' : `end [${fieldsOf(trailers).join('; ')}]`)
    if (this.codec.target === this.tunnelOn) this.codec.becomeTunnel()
    else if (this.answers) this.answer()
  }

  onRequestError(code: number): void {
    this.log.push(`error ${code}`)
  }

  onHeadBegun(): void {
    this.headsBegun++
  }

  answer(): void {
    this.codec.sendHeaders(200, 'content-length: 0\r\n', C.END_NONE)
    this.codec.sendEnd('')
    this.codec.nextRequest()
  }
}

function observe(pieces: readonly string[]): readonly string[] {
  const peer = new Peer()
  for (const piece of pieces) feed(peer.codec, piece)
  return peer.log
}

/** Answered only after all has come, one request after the other. */
function observeLate(pieces: readonly string[]): readonly string[] {
  const peer = new Peer(false)
  for (const piece of pieces) feed(peer.codec, piece)
  for (let i = 0; i < 10; i++) if (peer.codec.requestEnded) peer.answer()
  return peer.log
}

const GET = 'GET /a HTTP/1.1\r\nhost: h\r\n\r\n'
const GOT = ['GET /a 1.1 [host: h] no body', 'end']

const ROWS: readonly (readonly [string, string, readonly string[]])[] = [
  ['one request', GET, GOT],
  ['two, pipelined', GET + GET, [...GOT, ...GOT]],
  ['an empty line before a request', `\r\n${GET}`, GOT],
  ['an empty line between two', `${GET}\r\n${GET}`, [...GOT, ...GOT]],
  ['two empty lines', `\r\n\r\n${GET}`, [`error ${P.BAD_START_LINE}`]],
  [
    'a body by length, then another request',
    `POST /p HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc${GET}`,
    ['POST /p 1.1 [content-length: 3] 3', 'body abc', 'end', ...GOT],
  ],
  [
    'a chunked body with trailers, then another request',
    `POST /p HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n${GET}`,
    ['POST /p 1.1 [transfer-encoding: chunked] -1', 'body abc', 'end [x: y]', ...GOT],
  ],
  [
    'trailers of one message are not those of the next',
    `POST /p HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n\r\nPOST /p HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    ['POST /p 1.1 [transfer-encoding: chunked] -1', 'end [x: y]', 'POST /p 1.1 [transfer-encoding: chunked] -1', 'end'],
  ],
  [
    'a zero length',
    `POST /p HTTP/1.1\r\ncontent-length: 0\r\n\r\n${GET}`,
    ['POST /p 1.1 [content-length: 0] no body', 'end', ...GOT],
  ],
  ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n', ['GET / 1.0 [] no body', 'end']],
  ['nothing is read behind a refused head', `GET / HTTP/1.1\r\na : b\r\n\r\n${GET}`, [`error ${P.BAD_FIELD_NAME}`]],
  [
    'nothing is read behind a refused framing',
    `POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n${GET}`,
    [`error ${LENGTH_AND_CODING}`],
  ],
  [
    'nothing is read behind a broken chunk',
    `POST /p HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab${GET}`,
    ['POST /p 1.1 [transfer-encoding: chunked] -1', 'body a', `error ${BAD_CHUNK}`],
  ],
  ['an unknown method', `get / HTTP/1.1\r\n\r\n${GET}`, [`error ${P.BAD_METHOD}`]],
  ['a good request, then a bad one', `${GET}GET /\r\n`, [...GOT, `error ${P.BAD_START_LINE}`]],
  ['too many fields', `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(11)}\r\n`, [`error ${P.TOO_MANY_FIELDS}`]],
  ['too many bytes', `GET / HTTP/1.1\r\na: ${'b'.repeat(200)}\r\n\r\n`, [`error ${P.TOO_LARGE}`]],
]

t.test('in any pieces, answered at once', async (t) => {
  for (const [what, bytes, expected] of ROWS) sameInAnyPieces(t, what, bytes, observe, expected)
})

t.test('in any pieces, answered when all has come', async (t) => {
  for (const [what, bytes, expected] of ROWS) sameInAnyPieces(t, what, bytes, observeLate, expected)
})

t.test('a request waits for the answer to the one before it', async (t) => {
  const peer = new Peer(false)
  feed(peer.codec, GET + GET + GET)
  t.same(peer.log, GOT)
  t.equal(peer.codec.requestEnded, true)
  t.equal(peer.codec.idle, false)
  peer.answer()
  t.equal(peer.log.length, 4)
  peer.answer()
  peer.answer()
  t.equal(peer.log.length, 6)
  t.equal(peer.codec.idle, true)
})

t.test('what waits is bounded: reading stops, and goes on with the next request', async (t) => {
  const peer = new Peer(false)
  feed(peer.codec, GET)
  feed(peer.codec, GET.repeat(10))
  t.equal(peer.connection.pauses, 0)
  feed(peer.codec, GET.repeat(3000))
  t.equal(peer.connection.pauses, 1)
  feed(peer.codec, GET)
  t.equal(peer.connection.pauses, 1, 'paused once')
  peer.answers = true
  peer.answer()
  t.equal(peer.connection.pauses, 0)
  t.equal(peer.log.length, 2 * 3012)
})

t.test('a client that does not read its answers is not served more', async (t) => {
  const peer = new Peer()
  peer.connection.writable = false
  feed(peer.codec, GET)
  t.same(peer.log, [], 'not even the first one, if the connection is full')
  t.equal(peer.codec.stalled, true)
  feed(peer.codec, GET.repeat(3000))
  t.equal(peer.connection.pauses, 1)
  peer.connection.writable = true
  peer.codec.resume()
  t.equal(peer.connection.pauses, 0)
  t.equal(peer.log.length, 2 * 3001)
  t.equal(peer.codec.stalled, false)
})

t.test('the begin of a head is told, that of an empty connection is not', async (t) => {
  const peer = new Peer()
  feed(peer.codec, GET)
  t.equal(peer.headsBegun, 0)
  feed(peer.codec, 'G')
  t.equal(peer.headsBegun, 1)
  t.equal(peer.codec.idle, false)
  const other = new Peer()
  feed(other.codec, '\r')
  t.equal(other.headsBegun, 1, 'half an empty line may not wait for ever either')
})

t.test('a tunnel', async (t) => {
  const bytes = `GET /t HTTP/1.1\r\nhost: h\r\n\r\n${GET}\0\xff`
  const expected = ['GET /t 1.1 [host: h] no body', 'end', `tunnel ${GET}\0\xff`]
  sameInAnyPieces(
    t,
    'accepted at once',
    bytes,
    (pieces) => {
      const peer = new Peer()
      peer.tunnelOn = '/t'
      for (const piece of pieces) feed(peer.codec, piece)
      return peer.log
    },
    expected,
  )
  sameInAnyPieces(
    t,
    'accepted late',
    bytes,
    (pieces) => {
      const peer = new Peer(false)
      for (const piece of pieces) feed(peer.codec, piece)
      peer.codec.becomeTunnel()
      return peer.log
    },
    expected,
  )
})

t.test('a closed codec reads nothing', async (t) => {
  for (const bytes of [GET, 'POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\na']) {
    const peer = new Peer(false)
    feed(peer.codec, bytes + GET)
    const { length } = peer.log
    peer.codec.close()
    feed(peer.codec, GET)
    peer.codec.nextRequest()
    feed(peer.codec, GET)
    t.equal(peer.log.length, length)
  }
})

t.test('a refused head says nothing of the request before it', async (t) => {
  const peer = new Peer()
  feed(peer.codec, `HEAD /a HTTP/1.0\r\n\r\nGET /\r\n`)
  t.same(peer.log.at(-1), `error ${P.BAD_START_LINE}`)
  t.same(
    [peer.codec.method, peer.codec.target, peer.codec.minor, peer.codec.hasBody, peer.codec.headBytes],
    ['', '', 1, false, 0],
  )
})

t.test('what is sent', async (t) => {
  const body = Buffer.from('abc')
  const sent = (act: (codec: C.ServerCodec) => void, request = GET) => {
    const peer = new Peer(false)
    feed(peer.codec, request)
    act(peer.codec)
    return peer.connection.sent
  }
  t.equal(
    sent((c) => {
      c.sendHeaders(200, 'content-length: 3\r\n', C.END_BY_LENGTH)
      c.sendBody(body, 0, 3)
      c.sendEnd('x: y\r\n')
    }),
    'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc',
    'by length: no place for trailers',
  )
  t.equal(
    sent((c) => {
      c.sendHeaders(404, 'a: b\r\n', C.END_BY_CHUNKS)
      c.sendBody(body, 1, 3)
      c.sendBody(body, 0, 1)
      c.sendEnd('x: y\r\n')
    }),
    'HTTP/1.1 404 Not Found\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbc\r\n1\r\na\r\n0\r\nx: y\r\n\r\n',
    'chunked',
  )
  t.equal(
    sent((c) => {
      c.sendHeaders(200, '', C.END_BY_CLOSE)
      c.sendBody(body, 0, 3)
      c.sendEnd('x: y\r\n')
    }),
    'HTTP/1.1 200 OK\r\n\r\nabc',
    'until close',
  )
  t.equal(
    sent((c) => {
      c.sendHeaders(599, 'content-length: 3\r\n', C.END_NONE)
      c.sendBody(body, 0, 3)
      c.sendEnd('')
    }),
    'HTTP/1.1 599 \r\ncontent-length: 3\r\n\r\n',
    'no body, an unregistered status',
  )
  t.equal(
    sent((c) => c.sendInformational(103, 'link: x\r\n')),
    'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n',
  )
  t.equal(
    sent((c) => c.sendInformational(103, ''), 'GET / HTTP/1.0\r\n\r\n'),
    '',
    'HTTP/1.0 knows no interim responses',
  )
})

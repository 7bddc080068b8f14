// An upstream's bytes as the answer to the one request that was sent, and everything that an upstream should not say.
import t from 'tap'
import { BAD_CHUNK } from '../../../../lib/http/h1/body-decoder.ts'
import { ClientCodec, type ClientEvents, UNSOLICITED } from '../../../../lib/http/h1/client-codec.ts'
import * as L from '../../../../lib/http/h1/framing.ts'
import * as P from '../../../../lib/http/h1/parse-head.ts'
import type { HeaderMap } from '../../../../lib/http/header-map.ts'
import { sameInAnyPieces } from '../../../suite/splits.ts'
import { feed, fieldsOf, RecordedConnection } from '../kit.ts'

const LIMITS = { maxHeaders: 10, maxHeaderBytes: 200 }

class Requester implements ClientEvents {
  readonly connection: RecordedConnection
  readonly codec: ClientCodec
  readonly log: string[]
  /** Begins another request in the moment when one ends, as a pool does that has a waiter. */
  readonly again: boolean

  constructor(again = false) {
    this.connection = new RecordedConnection()
    this.codec = new ClientCodec(this.connection.asConnection, this, LIMITS)
    this.log = []
    this.again = again
  }

  onInformational(status: number, headers: HeaderMap): void {
    this.log.push(`interim ${status} [${fieldsOf(headers).join('; ')}]`)
  }

  onResponse(): void {
    const { status, headers, hasBody, bodyLength } = this.codec
    this.log.push(`${status} [${fieldsOf(headers).join('; ')}] ${hasBody ? bodyLength : 'no body'}`)
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

  onResponseEnd(trailers: HeaderMap | null): void {
    const { keepAlive } = this.codec
    this.log.push(`end${trailers === null ? '' : ` [${fieldsOf(trailers).join('; ')}]`}${keepAlive ? '' : ', spent'}`)
    if (this.again && keepAlive) this.codec.begin(this, 'GET')
  }

  onResponseError(code: number): void {
    this.log.push(`error ${code}`)
  }
}

function observe(method: string, closes = false) {
  return (pieces: readonly string[]): readonly string[] => {
    const requester = new Requester()
    requester.codec.begin(requester, method)
    for (const piece of pieces) feed(requester.codec, piece)
    if (closes) requester.log.push(requester.codec.finish() ? 'finished' : 'cut')
    return requester.log
  }
}

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
const OK_LOG = ['200 [content-length: 2] 2', 'body ok', 'end']

/** [what, method, bytes, log] */
const ROWS: readonly (readonly [string, string, string, readonly string[]])[] = [
  ['by length', 'GET', OK, OK_LOG],
  ['a zero length', 'GET', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', ['200 [content-length: 0] no body', 'end']],
  [
    'chunked',
    'GET',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    ['200 [transfer-encoding: chunked] -1', 'body ok', 'end'],
  ],
  [
    'trailers',
    'GET',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n',
    ['200 [transfer-encoding: chunked] -1', 'end [a: b]'],
  ],
  ['an interim response', 'GET', `HTTP/1.1 100 Continue\r\n\r\n${OK}`, ['interim 100 []', ...OK_LOG]],
  [
    'several interim responses',
    'GET',
    `HTTP/1.1 103 x\r\na: b\r\n\r\nHTTP/1.1 102 x\r\n\r\n${OK}`,
    ['interim 103 [a: b]', 'interim 102 []', ...OK_LOG],
  ],
  ['HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n', ['200 [content-length: 2] no body', 'end']],
  [
    'HEAD, chunked',
    'HEAD',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n',
    ['200 [transfer-encoding: chunked] no body', 'end'],
  ],
  ['204', 'GET', 'HTTP/1.1 204 x\r\n\r\n', ['204 [] no body', 'end']],
  ['304 with a length', 'GET', 'HTTP/1.1 304 x\r\ncontent-length: 2\r\n\r\n', ['304 [content-length: 2] no body', 'end']],
  [
    'HTTP/1.0 is not reused',
    'GET',
    'HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok',
    ['200 [content-length: 2] 2', 'body ok', 'end, spent'],
  ],
  ['101', 'GET', 'HTTP/1.1 101 x\r\nupgrade: y\r\n\r\n\0HTTP/1.1', ['101 [upgrade: y] no body', 'tunnel \0HTTP/1.1']],
  ['2xx to CONNECT', 'CONNECT', 'HTTP/1.1 200 OK\r\n\r\nabc', ['200 [] no body', 'tunnel abc']],
  ['4xx to CONNECT', 'CONNECT', 'HTTP/1.1 403 x\r\ncontent-length: 2\r\n\r\nno', ['403 [content-length: 2] 2', 'body no', 'end']],
]

t.test('answers, in any pieces', async (t) => {
  for (const [what, method, bytes, expected] of ROWS) sameInAnyPieces(t, what, bytes, observe(method), expected)
})

/** What ends a connection. Each is one piece or more of a response that is not to be believed. */
const BROKEN: readonly (readonly [string, string, string, readonly string[]])[] = [
  [
    'length and coding',
    'GET',
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    [`error ${L.LENGTH_AND_CODING}`],
  ],
  ['two lengths', 'GET', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok', [`error ${L.BAD_LENGTH}`]],
  ['an unknown coding', 'GET', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok', [`error ${L.UNKNOWN_CODING}`]],
  [
    'a broken chunk',
    'GET',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx',
    ['200 [transfer-encoding: chunked] -1', `error ${BAD_CHUNK}`],
  ],
  ['obs-fold', 'GET', 'HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n', [`error ${P.OBS_FOLD}`]],
  ['bare LF', 'GET', 'HTTP/1.1 200 OK\n\n', [`error ${P.BARE_LINE_END}`]],
  ['a body where none may be', 'GET', 'HTTP/1.1 204 x\r\ncontent-length: 2\r\n\r\nok', [`error ${L.BODY_NOT_ALLOWED}`]],
  ['a chunked 204', 'GET', 'HTTP/1.1 204 x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', [`error ${L.BODY_NOT_ALLOWED}`]],
  [
    'an interim response with a length',
    'GET',
    `HTTP/1.1 100 x\r\ncontent-length: 2\r\n\r\nok${OK}`,
    [`error ${L.BODY_NOT_ALLOWED}`],
  ],
  ['an interim response with a body', 'GET', `HTTP/1.1 100 x\r\n\r\nok${OK}`, ['interim 100 []', `error ${P.BAD_VERSION}`]],
  ['not HTTP', 'GET', 'SSH-2.0-x\r\n', [`error ${P.BAD_VERSION}`]],
  ['too many fields', 'GET', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(11)}\r\n`, [`error ${P.TOO_MANY_FIELDS}`]],
  ['too many bytes', 'GET', `HTTP/1.1 200 OK\r\na: ${'b'.repeat(200)}\r\n\r\n`, [`error ${P.TOO_LARGE}`]],
]

t.test('broken answers, in any pieces', async (t) => {
  for (const [what, method, bytes, expected] of BROKEN) sameInAnyPieces(t, what, bytes, observe(method), expected)
  const requester = new Requester()
  requester.codec.begin(requester, 'GET')
  feed(requester.codec, `HTTP/1.1 200 OK\n\n`)
  t.equal(requester.codec.keepAlive, false)
  feed(requester.codec, OK)
  t.equal(requester.log.length, 1, 'nothing is read behind it')
})

t.test('response-queue poisoning: bytes behind an answer are never the next answer', async (t) => {
  const answers: readonly (readonly [string, string, string])[] = [
    ['by length', 'GET', OK],
    ['with a zero length', 'GET', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['chunked', 'GET', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['with 204', 'GET', 'HTTP/1.1 204 x\r\n\r\n'],
    ['with 304', 'GET', 'HTTP/1.1 304 x\r\n\r\n'],
    ['to HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n'],
  ]
  for (const [what, method, bytes] of answers) {
    for (const more of ['HTTP/1.1 200 OK\r\nx-poison: 1\r\ncontent-length: 2\r\n\r\nno', 'x', '\r\n']) {
      const requester = new Requester(true)
      requester.codec.begin(requester, method)
      feed(requester.codec, bytes + more)
      t.notMatch(requester.log.join('\n'), 'x-poison', `${what}: not read`)
      t.equal(
        requester.log.at(-1),
        requester.log.find((l) => l.startsWith('end')),
        `${what}: nothing after the end`,
      )
      t.match(
        requester.log.at(-1),
        /spent$/,
        `${what}, then ${JSON.stringify(more.slice(0, 8))}: the connection is not used again`,
      )
    }
  }
})

t.test('bytes on an idle connection', async (t) => {
  const requester = new Requester()
  feed(requester.codec, OK)
  t.same(requester.log, [`error ${UNSOLICITED}`], 'before any request')
  const later = new Requester()
  later.codec.begin(later, 'GET')
  feed(later.codec, OK)
  feed(later.codec, 'x')
  t.same(later.log, [...OK_LOG, `error ${UNSOLICITED}`], 'after one')
})

t.test('the end of the connection', async (t) => {
  const close = (bytes: string, expected: readonly string[], what: string) =>
    sameInAnyPieces(t, what, bytes, observe('GET', true), expected)
  close('HTTP/1.1 200 OK\r\n\r\nabc', ['200 [] -1', 'body abc', 'end, spent', 'finished'], 'ends a body of no known length')
  close('HTTP/1.1 200 OK\r\n\r\n', ['200 [] -1', 'end, spent', 'finished'], 'an empty one too')
  close(
    'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc',
    ['200 [content-length: 9] 9', 'body abc', 'cut'],
    'cuts a body by length',
  )
  close(
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n',
    ['200 [transfer-encoding: chunked] -1', 'body abc', 'cut'],
    'cuts a chunked body',
  )
  close('HTTP/1.1 200 O', ['cut'], 'cuts a head')
  close('HTTP/1.1 100 x\r\n\r\n', ['interim 100 []', 'cut'], 'is no answer after an interim response')
})

t.test('what is sent', async (t) => {
  const { codec, connection } = new Requester()
  const body = Buffer.from('abc')
  codec.sendHeaders('POST', '/x', 'content-length: 3\r\n', false)
  codec.sendBody(body, 0, 3)
  codec.sendEnd('x: y\r\n')
  t.equal(connection.sent, 'POST /x HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc', 'by length: no place for trailers')
  connection.sent = ''
  codec.sendHeaders('POST', '/x', 'a: b\r\n', true)
  codec.sendBody(body, 0, 2)
  codec.sendBody(body, 2, 3)
  codec.sendEnd('x: y\r\n')
  t.equal(
    connection.sent,
    'POST /x HTTP/1.1\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx: y\r\n\r\n',
    'chunked',
  )
})

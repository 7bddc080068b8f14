import t from 'tap'
import { inspectHttp, NOT_HTTP, UNDECIDED } from '../../../lib/listener/http-inspector.ts'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

/** Bytes → what they are. */
const rows: readonly (readonly [bytes: string, expected: string])[] = [
  ['GET / HTTP/1.1\r\n', 'http/1.1'],
  ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'http/1.1'],
  ['GET / HTTP/1.1\n', 'http/1.1'],
  ['POST http://a.example/x?y=%20 HTTP/1.0\r\n', 'http/1.0'],
  ['OPTIONS * HTTP/1.1\r\n', 'http/1.1'],
  ['CONNECT a.example:443 HTTP/1.1\r\n', 'http/1.1'],
  ["M-SEARCH!#$%&'*+.^_`|~ /\xe9 HTTP/1.1\r\n", 'http/1.1'],
  [PREFACE, 'h2c'],
  [`${PREFACE}\x00\x00\x00\x04`, 'h2c'],
  ['PRI * HTTP/2.0\r\n\r\nXX', NOT_HTTP],
  ['PRI / HTTP/1.1\r\n', 'http/1.1'],
  ['GET / HTTP/2.0\r\n', NOT_HTTP],
  ['GET / HTTP/1.2\r\n', NOT_HTTP],
  ['GET / HTTP/1.1 \r\n', NOT_HTTP],
  ['GET /a b HTTP/1.1\r\n', NOT_HTTP],
  ['GET  / HTTP/1.1\r\n', NOT_HTTP],
  ['GET / http/1.1\r\n', NOT_HTTP],
  ['GET\t/ HTTP/1.1\r\n', NOT_HTTP],
  ['GET /\r\n', NOT_HTTP],
  ['\r\nGET / HTTP/1.1\r\n', NOT_HTTP],
  ['EHLO mail.example\r\n', NOT_HTTP],
  ['SSH-2.0-OpenSSH_9.6\r\n', NOT_HTTP],
  ['*1\r\n$4\r\nPING\r\n', NOT_HTTP],
  ['\x00\x00\x00\x08\x04\xd2\x16\x2f', NOT_HTTP],
  ['\x16\x03\x01', NOT_HTTP],
  ['', UNDECIDED],
  [`GET /${'a'.repeat(8000)}`, UNDECIDED],
  [`GET /${'a'.repeat(9000)}`, NOT_HTTP],
  ['A'.repeat(8191), UNDECIDED],
  ['A'.repeat(8192), NOT_HTTP],
]

t.test('first bytes', (t) => {
  for (const [text, expected] of rows) {
    // What is behind the length is of somebody else.
    const bytes = Buffer.concat([Buffer.from(text, 'latin1'), Buffer.from('\nHTTP')])
    t.equal(inspectHttp(bytes, text.length), expected, JSON.stringify(text.slice(0, 60)))
  }
  t.end()
})

t.test('what is HTTP in the end is not ruled out before it', (t) => {
  for (const [text, expected] of rows) {
    if (expected === NOT_HTTP || expected === UNDECIDED) continue
    const bytes = Buffer.from(text, 'latin1')
    for (let n = 0; n < text.indexOf('\n'); n++) t.equal(inspectHttp(bytes, n), UNDECIDED, `${n} of ${JSON.stringify(text)}`)
  }
  t.end()
})

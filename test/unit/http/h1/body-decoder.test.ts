// Where a body ends, and what is no body (RFC 9112 §6, §7). Every row also in pieces.
import t from 'tap'
import * as B from '../../../../lib/http/h1/body-decoder.ts'
import { HeaderMap } from '../../../../lib/http/header-map.ts'
import { sameInAnyPieces } from '../../../suite/splits.ts'
import { fieldsOf } from '../kit.ts'

/** [outcome, body, trailers, bytes behind the body]. */
function observe(framing: number, length = 0) {
  return (pieces: readonly string[]) => {
    const trailers = new HeaderMap()
    const decoder = new B.BodyDecoder(trailers)
    decoder.begin(framing, length)
    let body = ''
    const sink = {
      onBody(bytes: Buffer, start: number, end: number): void {
        if (end <= start) throw new Error('an empty view: encoded as a chunk it would end the message')
        body += bytes.toString('latin1', start, end)
      },
    }
    let outcome = B.NEED_MORE
    let rest = ''
    for (const piece of pieces) {
      if (outcome !== B.NEED_MORE) {
        rest += piece
        continue
      }
      const bytes = Buffer.from(`<${piece}>`, 'latin1')
      outcome = decoder.execute(bytes, 1, bytes.length - 1, sink)
      if (outcome >= 0) rest = bytes.toString('latin1', outcome, bytes.length - 1)
    }
    return outcome < 0 ? [outcome, body] : ['ended', body, fieldsOf(trailers), rest]
  }
}

const LONG = 'x'.repeat(300)

/** [what, bytes, body, trailers, rest] */
const GOOD: readonly (readonly [string, string, string, readonly string[], string])[] = [
  ['no chunk', '0\r\n\r\n', '', [], ''],
  ['one chunk', '3\r\nabc\r\n0\r\n\r\n', 'abc', [], ''],
  ['two chunks', '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n', 'abcde', [], ''],
  ['what follows is left alone', '1\r\na\r\n0\r\n\r\nGET /', 'a', [], 'GET /'],
  ['hexadecimal, both cases', `12C\r\n${LONG}\r\n12c\r\n${LONG}\r\n0\r\n\r\n`, LONG + LONG, [], ''],
  ['leading zeros', '0003\r\nabc\r\n0000\r\n\r\n', 'abc', [], ''],
  ['thirteen digits', '0000000000003\r\nabc\r\n0\r\n\r\n', 'abc', [], ''],
  ['CRLF in the data', '4\r\n\r\n\r\n\r\n0\r\n\r\n', '\r\n\r\n', [], ''],
  ['what looks like the last chunk in the data', '5\r\n0\r\n\r\n\r\n0\r\n\r\n', '0\r\n\r\n', [], ''],
  ['an extension', '3;a\r\nabc\r\n0;b=c\r\n\r\n', 'abc', [], ''],
  ['a quoted extension', '3;a="b c;d"\r\nabc\r\n0\r\n\r\n', 'abc', [], ''],
  ['a tab and obs-text in an extension', '3;a=\t\x80\r\nabc\r\n0\r\n\r\n', 'abc', [], ''],
  ['trailers', '0\r\na: b\r\nC:d\r\n\r\nrest', '', ['a: b', 'C: d'], 'rest'],
]

t.test('chunked', async (t) => {
  for (const [what, bytes, body, trailers, rest] of GOOD)
    sameInAnyPieces(t, what, bytes, observe(B.CHUNKED), ['ended', body, trailers, rest])
})

/** [what, bytes, code, body before it] */
const BAD: readonly (readonly [string, string, number, string])[] = [
  ['an empty size', '\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['only an extension', ';a\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['plus', '+3\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['minus', '-1\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['0x', '0x3\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['a blank before the size', ' 3\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['a blank behind the size', '3 \r\nabc\r\n', B.BAD_CHUNK, ''],
  ['a tab behind the size', '3\t\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['no hexadecimal digit', 'g\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['an underscore', '1_0\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['fourteen digits', '00000000000003\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['2^64 and 3', '10000000000000003\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['bare LF behind the size', '3\nabc\r\n', B.BAD_CHUNK, ''],
  ['bare CR behind the size', '3\rabc\r\n', B.BAD_CHUNK, ''],
  ['bare LF in an extension', '3;a\nabc\r\n', B.BAD_CHUNK, ''],
  ['bare LF in a quoted extension', '3;a="\n"\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['bare CR in an extension', '3;a\rb\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['NUL in an extension', '3;a\0\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['DEL in an extension', '3;\x7f\r\nabc\r\n', B.BAD_CHUNK, ''],
  ['data longer than the size', '2\r\nabc\r\n0\r\n\r\n', B.BAD_CHUNK, 'ab'],
  ['data shorter than the size', '4\r\nabc\r\n0\r\n\r\n', B.BAD_CHUNK, 'abc\r'],
  ['bare LF behind the data', '3\r\nabc\n0\r\n\r\n', B.BAD_CHUNK, 'abc'],
  ['bare CR behind the data', '3\r\nabc\r0\r\n\r\n', B.BAD_CHUNK, 'abc'],
  ['nothing behind the data', '3\r\nabc0\r\n\r\n', B.BAD_CHUNK, 'abc'],
  ['bare LF behind the last size', '0\n\r\n', B.BAD_CHUNK, ''],
  ['bare LF for the empty line', '0\r\n\n', B.BAD_TRAILERS, ''],
  ['bare CR for the empty line', '0\r\n\rx', B.BAD_TRAILERS, ''],
  ['a folded trailer', '0\r\na: b\r\n c\r\n\r\n', B.BAD_TRAILERS, ''],
  ['a trailer that begins with a blank', '0\r\n a: b\r\n\r\n', B.BAD_TRAILERS, ''],
  ['a trailer without a colon', '0\r\nabc\r\n\r\n', B.BAD_TRAILERS, ''],
  ['a request where trailers belong', '0\r\nGET / HTTP/1.1\r\n\r\n', B.BAD_TRAILERS, ''],
  ['NUL in a trailer', '0\r\na: \0\r\n\r\n', B.BAD_TRAILERS, ''],
  ['a blank before the colon of a trailer', '0\r\na : b\r\n\r\n', B.BAD_TRAILERS, ''],
  ['bare LF behind a trailer', '0\r\na: b\n\r\n', B.BAD_TRAILERS, ''],
]

t.test('what is not chunked', async (t) => {
  for (const [what, bytes, code, body] of BAD) sameInAnyPieces(t, what, bytes, observe(B.CHUNKED), [code, body])
})

t.test('floods', async (t) => {
  const one = observe(B.CHUNKED)
  t.same(one([`1;${'a'.repeat(16384)}\r\nx\r\n0\r\n\r\n`]), ['ended', 'x', [], ''], 'extensions up to 16 KiB')
  t.same(one([`1;${'a'.repeat(16385)}\r\nx\r\n0\r\n\r\n`]), [B.BAD_CHUNK, ''], 'one byte more')
  const many = one([`${`1;${'a'.repeat(99)}\r\nx\r\n`.repeat(200)}0\r\n\r\n`])
  t.equal(many[0], B.BAD_CHUNK, 'the limit is that of all extensions of a message')
  t.same(one([`0\r\n${'a: b\r\n'.repeat(100)}\r\n`])[0], 'ended', '100 trailers')
  t.same(one([`0\r\n${'a: b\r\n'.repeat(101)}\r\n`]), [B.BAD_TRAILERS, ''], '101 trailers')
  t.same(one([`0\r\na: ${'b'.repeat(16384)}\r\n\r\n`]), [B.BAD_TRAILERS, ''], 'trailers beyond 16 KiB')
  t.same(one(['0\r\na: ', ...Array.from({ length: 20 }, () => 'b'.repeat(1000))])[0], B.BAD_TRAILERS, 'trailers without an end')
})

t.test('by length', async (t) => {
  sameInAnyPieces(t, 'all of it', 'abc', observe(B.BY_LENGTH, 3), ['ended', 'abc', [], ''])
  sameInAnyPieces(t, 'what follows is left alone', 'abcGET /', observe(B.BY_LENGTH, 3), ['ended', 'abc', [], 'GET /'])
  sameInAnyPieces(t, 'less than announced', 'ab', observe(B.BY_LENGTH, 3), [B.NEED_MORE, 'ab'])
})

t.test('until the connection closes', async (t) => {
  sameInAnyPieces(t, 'everything', 'abc\r\n\r\n0\r\n\r\n', observe(B.UNTIL_CLOSE), [B.NEED_MORE, 'abc\r\n\r\n0\r\n\r\n'])
})

t.test('a decoder begins anew after a message of any kind', async (t) => {
  const decoder = new B.BodyDecoder(new HeaderMap())
  const sink = { onBody: () => {} }
  const run = (framing: number, length: number, text: string) => {
    decoder.begin(framing, length)
    return decoder.execute(Buffer.from(text), 0, text.length, sink)
  }
  t.equal(run(B.CHUNKED, 0, '3\r\na'), B.NEED_MORE, 'left in the middle of a chunk')
  t.equal(run(B.CHUNKED, 0, '0\r\n\r\n'), 5)
  t.equal(run(B.CHUNKED, 0, '0\r\na: b'), B.NEED_MORE, 'left in the middle of trailers')
  t.equal(run(B.CHUNKED, 0, '0\r\n\r\n'), 5)
  t.equal(decoder.trailers.count, 0)
  t.equal(run(B.CHUNKED, 0, '12'), B.NEED_MORE, 'left in the middle of a size')
  t.equal(run(B.CHUNKED, 0, '1\r\nx\r\n0\r\n\r\n'), 11)
  t.equal(run(B.BY_LENGTH, 2, 'ab'), 2)
})

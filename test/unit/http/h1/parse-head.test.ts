// RFC 9112 §2 to §5, read strictly. Every row also in pieces.
import t from 'tap'
import * as P from '../../../../lib/http/h1/parse-head.ts'
import { HeaderMap } from '../../../../lib/http/header-map.ts'
import { sameInAnyPieces } from '../../../suite/splits.ts'

type Outcome = readonly unknown[] | number

/** What is seen of a head: start line, fields as [name, value], rest behind it; or the code of a refusal. */
function observe(response: boolean, maxFields = 100, maxBytes = 1000) {
  return (pieces: readonly string[]): Outcome => {
    const all = Buffer.from(pieces.join(''), 'latin1')
    const line = new P.StartLine()
    const map = new HeaderMap()
    const parse = response ? P.parseResponseHead : P.parseRequestHead
    let end = 0
    let at = P.INCOMPLETE
    for (const piece of pieces) {
      end += piece.length
      // What has not come yet must not be looked at.
      const room = Buffer.alloc(end + 1, 0xff)
      all.copy(room, 0, 0, end)
      room[end] = 0
      at = parse(room, 0, end, line, map, maxFields, maxBytes)
      if (at !== P.INCOMPLETE) break
    }
    if (at < 0) return at
    const text = all.toString('latin1')
    map.block = text.slice(0, at)
    const fields: unknown[] = []
    for (let i = 0; i < map.count; i++) fields.push([map.nameAt(i), map.valueAt(i)])
    const start = response
      ? [line.minor, line.status, text.slice(line.reasonStart, line.reasonEnd)]
      : [text.slice(0, line.methodEnd), text.slice(line.targetStart, line.targetEnd), line.minor]
    return [...start, fields, at]
  }
}

const REQUEST_LINES: readonly (readonly [string, string, readonly unknown[] | number])[] = [
  ['origin form', 'GET / HTTP/1.1', ['GET', '/', 1]],
  ['a query', 'GET /a?b=c&d HTTP/1.1', ['GET', '/a?b=c&d', 1]],
  ['absolute form', 'GET http://a/b HTTP/1.1', ['GET', 'http://a/b', 1]],
  ['authority form', 'CONNECT a:443 HTTP/1.1', ['CONNECT', 'a:443', 1]],
  ['asterisk form', 'OPTIONS * HTTP/1.1', ['OPTIONS', '*', 1]],
  ['HTTP/1.0', 'GET / HTTP/1.0', ['GET', '/', 0]],
  ['every token byte in the method', "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1", ["!#$%&'*+-.^_`|~09azAZ", '/', 1]],
  ['visible bytes that a URI must encode', 'GET /"<>\\^`{|} HTTP/1.1', ['GET', '/"<>\\^`{|}', 1]],
  ['HTTP/0.9', 'GET /', P.BAD_START_LINE],
  ['an empty line before it', '\r\nGET / HTTP/1.1', P.BAD_START_LINE],
  ['no method', ' / HTTP/1.1', P.BAD_START_LINE],
  ['a delimiter in the method', 'GE(T / HTTP/1.1', P.BAD_START_LINE],
  ['a control byte in the method', 'G\x01T / HTTP/1.1', P.BAD_START_LINE],
  ['a TLS hello', '\x16\x03\x01\x02\x00', P.BAD_START_LINE],
  ['a tab behind the method', 'GET\t/ HTTP/1.1', P.BAD_START_LINE],
  ['two blanks before the target', 'GET  / HTTP/1.1', P.BAD_TARGET],
  ['a tab behind the target', 'GET /\tHTTP/1.1', P.BAD_TARGET],
  ['a byte outside ASCII in the target', 'GET /\xe9 HTTP/1.1', P.BAD_TARGET],
  ['NUL in the target', 'GET /\0 HTTP/1.1', P.BAD_TARGET],
  ['DEL in the target', 'GET /\x7f HTTP/1.1', P.BAD_TARGET],
  ['a blank in the target', 'GET /a b HTTP/1.1', P.BAD_VERSION],
  ['two blanks before the version', 'GET /  HTTP/1.1', P.BAD_VERSION],
  ['a lower-case version', 'GET / http/1.1', P.BAD_VERSION],
  ['HTTP/1.2', 'GET / HTTP/1.2', P.BAD_VERSION],
  ['HTTP/1.10', 'GET / HTTP/1.10', P.BAD_VERSION],
  ['HTTP/01.1', 'GET / HTTP/01.1', P.BAD_VERSION],
  ['HTTP/1,1', 'GET / HTTP/1,1', P.BAD_VERSION],
  ['another protocol', 'GET / RTSP/1.0', P.BAD_VERSION],
  ['a blank behind the version', 'GET / HTTP/1.1 ', P.BAD_VERSION],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0', P.UNSUPPORTED_VERSION],
  ['HTTP/0.9 by name', 'GET / HTTP/0.9', P.UNSUPPORTED_VERSION],
  ['HTTP/3.0', 'GET / HTTP/3.0', P.UNSUPPORTED_VERSION],
  ['bare LF', 'GET / HTTP/1.1\nHost: a', P.BARE_LINE_END],
  ['bare CR', 'GET / HTTP/1.1\rHost: a', P.BARE_LINE_END],
]

t.test('request lines', async (t) => {
  for (const [what, line, expected] of REQUEST_LINES) {
    const bytes = `${line}\r\nhost: a\r\n\r\n`
    const outcome = typeof expected === 'number' ? expected : [...expected, [['host', 'a']], bytes.length]
    sameInAnyPieces(t, what, bytes, observe(false), outcome)
  }
})

const STATUS_LINES: readonly (readonly [string, string, readonly unknown[] | number])[] = [
  ['a reason', 'HTTP/1.1 200 OK', [1, 200, 'OK']],
  ['a reason of several words', 'HTTP/1.1 404 Not  Found', [1, 404, 'Not  Found']],
  ['a reason outside ASCII', 'HTTP/1.1 200 \xe9', [1, 200, '\xe9']],
  ['an empty reason', 'HTTP/1.1 200 ', [1, 200, '']],
  ['an empty reason without its blank', 'HTTP/1.1 200', [1, 200, '']],
  ['HTTP/1.0', 'HTTP/1.0 200 OK', [0, 200, 'OK']],
  ['an unregistered status', 'HTTP/1.1 999 x', [1, 999, 'x']],
  ['four digits', 'HTTP/1.1 2000 OK', P.BAD_STATUS],
  ['a letter behind the digits', 'HTTP/1.1 200OK', P.BAD_STATUS],
  ['a tab behind the digits', 'HTTP/1.1 200\tOK', P.BAD_STATUS],
  ['two digits', 'HTTP/1.1 20 OK', P.BAD_STATUS],
  ['below 100', 'HTTP/1.1 099 x', P.BAD_STATUS],
  ['a sign', 'HTTP/1.1 +20 x', P.BAD_STATUS],
  ['two blanks', 'HTTP/1.1  200 OK', P.BAD_STATUS],
  ['a tab', 'HTTP/1.1\t200 OK', P.BAD_STATUS],
  ['a control byte in the reason', 'HTTP/1.1 200 O\x00K', P.BAD_STATUS],
  ['HTTP/2', 'HTTP/2.0 200 OK', P.UNSUPPORTED_VERSION],
  ['HTTP/2 without a minor', 'HTTP/2 200 OK', P.BAD_VERSION],
  ['HTTP/1.2', 'HTTP/1.2 200 OK', P.BAD_VERSION],
  ['no version', '200 OK', P.BAD_VERSION],
  ['an empty line first', '\r\nHTTP/1.1 200 OK', P.BAD_VERSION],
  ['bare LF', 'HTTP/1.1 200 OK\nA: b', P.BARE_LINE_END],
  ['bare CR', 'HTTP/1.1 200 OK\rA: b', P.BARE_LINE_END],
]

t.test('status lines', async (t) => {
  for (const [what, line, expected] of STATUS_LINES) {
    const bytes = `${line}\r\na: b\r\n\r\n`
    const outcome = typeof expected === 'number' ? expected : [...expected, [['a', 'b']], bytes.length]
    sameInAnyPieces(t, what, bytes, observe(true), outcome)
  }
})

/** Field lines between a good request line and the empty line. */
const FIELDS: readonly (readonly [string, string, readonly (readonly [string, string])[] | number])[] = [
  ['none', '', []],
  [
    'spelling and order are kept',
    'HoSt: a\r\nX-B: 1\r\nx-b: 2\r\n',
    [
      ['HoSt', 'a'],
      ['X-B', '1'],
      ['x-b', '2'],
    ],
  ],
  ['blanks around the value are not part of it', 'a: \t b \t\r\n', [['a', 'b']]],
  ['no blank before the value', 'a:b\r\n', [['a', 'b']]],
  [
    'an empty value',
    'a:\r\nb: \r\n',
    [
      ['a', ''],
      ['b', ''],
    ],
  ],
  ['a colon in the value', 'a: b:c\r\n', [['a', 'b:c']]],
  ['tabs and blanks in the value', 'a: b\t c\r\n', [['a', 'b\t c']]],
  ['obs-text in the value', 'a: \x80\xff\r\n', [['a', '\x80\xff']]],
  ['every token byte in the name', "!#$%&'*+-.^_`|~09azAZ: b\r\n", [["!#$%&'*+-.^_`|~09azAZ", 'b']]],
  ['a blank before the colon', 'a : b\r\n', P.BAD_FIELD_NAME],
  ['a tab before the colon', 'a\t: b\r\n', P.BAD_FIELD_NAME],
  ['a blank in the name', 'a b: c\r\n', P.BAD_FIELD_NAME],
  ['an empty name', ': b\r\n', P.BAD_FIELD_NAME],
  ['no colon', 'abc\r\n', P.BAD_FIELD_NAME],
  ['a byte outside ASCII in the name', '\xe9: b\r\n', P.BAD_FIELD_NAME],
  ['NUL in the name', 'a\0: b\r\n', P.BAD_FIELD_NAME],
  ['a delimiter in the name', 'a(b): c\r\n', P.BAD_FIELD_NAME],
  ['a quoted name', '"a": b\r\n', P.BAD_FIELD_NAME],
  ['obs-fold with a blank', 'a: b\r\n c\r\n', P.OBS_FOLD],
  ['obs-fold with a tab', 'a: b\r\n\tc\r\n', P.OBS_FOLD],
  ['a first line that is folded', ' a: b\r\n', P.OBS_FOLD],
  ['NUL in a value', 'a: b\0c\r\n', P.BAD_FIELD_VALUE],
  ['a control byte in a value', 'a: b\x01c\r\n', P.BAD_FIELD_VALUE],
  ['a vertical tab in a value', 'a: b\x0bc\r\n', P.BAD_FIELD_VALUE],
  ['DEL in a value', 'a: b\x7fc\r\n', P.BAD_FIELD_VALUE],
  ['bare LF at the end of a line', 'a: b\nc: d\r\n', P.BARE_LINE_END],
  ['bare LF for the empty line', 'a: b\r\n\n', P.BARE_LINE_END],
  ['bare CR in a value', 'a: b\rc: d\r\n', P.BARE_LINE_END],
  ['CR CR LF', 'a: b\r\r\n', P.BARE_LINE_END],
  ['bare CR for the empty line', 'a: b\r\n\rx', P.BARE_LINE_END],
]

t.test('field lines', async (t) => {
  for (const [what, lines, expected] of FIELDS) {
    const bytes = `GET / HTTP/1.1\r\n${lines}\r\n`
    const outcome = typeof expected === 'number' ? expected : ['GET', '/', 1, expected, bytes.length]
    sameInAnyPieces(t, what, bytes, observe(false), outcome)
  }
})

t.test('every byte value, in each place, is either refused or kept', async (t) => {
  const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]/
  for (let b = 0; b < 256; b++) {
    const c = String.fromCharCode(b)
    const inName = observe(false)([`GET / HTTP/1.1\r\nx${c}y: v\r\n\r\n`])
    // A colon ends the name.
    t.equal(Array.isArray(inName), token.test(c) || c === ':', `byte ${b} in a name`)
    const inValue = observe(false)([`GET / HTTP/1.1\r\na: x${c}y\r\n\r\n`])
    t.equal(Array.isArray(inValue), b === 9 || (b >= 0x20 && b !== 0x7f), `byte ${b} in a value`)
    const inTarget = observe(false)([`GET /x${c}y HTTP/1.1\r\n\r\n`])
    t.equal(Array.isArray(inTarget), b > 0x20 && b < 0x7f, `byte ${b} in a target`)
  }
})

t.test('limits', async (t) => {
  const head = (fields: number) => `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(fields)}\r\n`
  sameInAnyPieces(t, 'as many fields as allowed', head(3), (p) => Array.isArray(observe(false, 3)(p)), true)
  sameInAnyPieces(t, 'one more', head(4), observe(false, 3), P.TOO_MANY_FIELDS)
  const { length } = head(3)
  sameInAnyPieces(t, 'as many bytes as allowed', head(3), (p) => Array.isArray(observe(false, 100, length)(p)), true)
  sameInAnyPieces(t, 'one byte more', head(3), observe(false, 100, length - 1), P.TOO_LARGE)
  sameInAnyPieces(t, 'a long target', `GET /${'a'.repeat(40)} HTTP/1.1\r\n\r\n`, observe(false, 100, 20), P.TOO_LARGE)
  sameInAnyPieces(t, 'a long name', `GET / HTTP/1.1\r\n${'a'.repeat(40)}: b\r\n\r\n`, observe(false, 100, 30), P.TOO_LARGE)
  sameInAnyPieces(t, 'a long reason', `HTTP/1.1 200 ${'a'.repeat(40)}\r\n\r\n`, observe(true, 100, 20), P.TOO_LARGE)
  t.equal(observe(false, 100, 20)([`GET /${'a'.repeat(40)}`]), P.TOO_LARGE, 'an endless target is not waited for')
  t.equal(observe(false, 100, 20)([`GET / HTTP/1.1\r\n${'a'.repeat(40)}`]), P.TOO_LARGE, 'nor an endless name')
  t.equal(observe(false, 100, 20)([`GET / HTTP/1.1\r\na: ${'a'.repeat(40)}`]), P.TOO_LARGE, 'nor an endless value')
})

t.test('each outcome has a sentence', async (t) => {
  for (let code = P.BAD_START_LINE; code >= P.BAD_STATUS; code--) t.match(P.HEAD_ERRORS[code], /\w+ \w+/, String(code))
})

// How long a message is: RFC 9112 §6.3 without its tolerances.
import t from 'tap'
import { BY_LENGTH, CHUNKED, NO_BODY, UNTIL_CLOSE } from '../../../../lib/http/h1/body-decoder.ts'
import * as L from '../../../../lib/http/h1/framing.ts'
import { mapOf } from '../kit.ts'

const CL = (v: string) => `Content-Length: ${v}\r\n`
const TE = (v: string) => `Transfer-Encoding: ${v}\r\n`

/** [what, fields, framing or code, length] for POST over HTTP/1.1. */
const REQUESTS: readonly (readonly [string, string, number, number?])[] = [
  ['neither', '', NO_BODY],
  ['a length', CL('5'), BY_LENGTH, 5],
  ['zero', CL('0'), NO_BODY],
  ['leading zeros', CL('007'), BY_LENGTH, 7],
  ['2^53-1', CL('9007199254740991'), BY_LENGTH, 9007199254740991],
  ['2^53', CL('9007199254740992'), L.BAD_LENGTH],
  ['2^64', CL('18446744073709551616'), L.BAD_LENGTH],
  ['2^64+5', CL('18446744073709551621'), L.BAD_LENGTH],
  ['empty', CL(''), L.BAD_LENGTH],
  ['plus', CL('+5'), L.BAD_LENGTH],
  ['minus', CL('-5'), L.BAD_LENGTH],
  ['hexadecimal', CL('0x5'), L.BAD_LENGTH],
  ['exponent', CL('5e1'), L.BAD_LENGTH],
  ['fraction', CL('5.0'), L.BAD_LENGTH],
  ['digits apart', CL('5 5'), L.BAD_LENGTH],
  ['underscore', CL('5_0'), L.BAD_LENGTH],
  ['quoted', CL('"5"'), L.BAD_LENGTH],
  ['a digit outside ASCII', CL('\xb2'), L.BAD_LENGTH],
  ['a list', CL('5, 5'), L.BAD_LENGTH],
  ['a list that differs', CL('5, 6'), L.BAD_LENGTH],
  ['an empty element', CL('5,'), L.BAD_LENGTH],
  ['twice, equal', CL('5') + CL('5'), L.BAD_LENGTH],
  ['twice, different', CL('5') + CL('6'), L.BAD_LENGTH],
  ['twice, one zero', CL('0') + CL('6'), L.BAD_LENGTH],
  ['chunked', TE('chunked'), CHUNKED],
  ['chunked in capitals', TE('CHUNKED'), CHUNKED],
  ['chunked, blanks around', TE(' \tchunked\t '), CHUNKED],
  ['both', CL('5') + TE('chunked'), L.LENGTH_AND_CODING],
  ['both, the other way round', TE('chunked') + CL('5'), L.LENGTH_AND_CODING],
  ['both, length zero', CL('0') + TE('chunked'), L.LENGTH_AND_CODING],
  ['both, unknown coding', CL('5') + TE('x'), L.LENGTH_AND_CODING],
  ['both, bad length', CL('x') + TE('chunked'), L.LENGTH_AND_CODING],
  ['chunked twice', TE('chunked') + TE('chunked'), L.UNKNOWN_CODING],
  ['chunked and identity', TE('chunked') + TE('identity'), L.UNKNOWN_CODING],
  ['gzip, chunked', TE('gzip, chunked'), L.UNKNOWN_CODING],
  ['chunked, gzip', TE('chunked, gzip'), L.UNKNOWN_CODING],
  ['chunked, chunked', TE('chunked, chunked'), L.UNKNOWN_CODING],
  ['identity', TE('identity'), L.UNKNOWN_CODING],
  ['empty coding', TE(''), L.UNKNOWN_CODING],
  ['xchunked', TE('xchunked'), L.UNKNOWN_CODING],
  ['chunkedx', TE('chunkedx'), L.UNKNOWN_CODING],
  ['a parameter', TE('chunked;q=1'), L.UNKNOWN_CODING],
  ['a comma behind', TE('chunked,'), L.UNKNOWN_CODING],
  ['a comma before', TE(',chunked'), L.UNKNOWN_CODING],
  ['quoted coding', TE('"chunked"'), L.UNKNOWN_CODING],
  ['single quotes', TE("'chunked'"), L.UNKNOWN_CODING],
  ['K for the Kelvin sign', TE('chun\xe2\x84\xaaed'), L.UNKNOWN_CODING],
  ['a blank inside', TE('chunk ed'), L.UNKNOWN_CODING],
]

t.test('requests', async (t) => {
  for (const [what, fields, outcome, length] of REQUESTS) {
    const framing = new L.Framing()
    t.equal(framing.ofRequest(mapOf(fields), 1, 'POST'), outcome, what)
    if (length !== undefined) t.equal(framing.length, length, `${what}: length`)
  }
  const framing = new L.Framing()
  t.equal(framing.ofRequest(mapOf(TE('chunked')), 0, 'POST'), L.CODING_IN_1_0, 'HTTP/1.0 knows no codings')
  t.equal(framing.ofRequest(mapOf(CL('5')), 0, 'POST'), BY_LENGTH, 'but lengths')
  t.equal(framing.ofRequest(mapOf(CL('5')), 1, 'GET'), BY_LENGTH, 'a GET may have a body')
  t.equal(framing.ofRequest(mapOf(CL('5')), 1, 'CONNECT'), L.BODY_NOT_ALLOWED, 'a CONNECT may not')
  t.equal(framing.ofRequest(mapOf(CL('0')), 1, 'CONNECT'), NO_BODY, 'a CONNECT that says so')
  t.equal(framing.ofRequest(mapOf(TE('chunked')), 1, 'CONNECT'), L.BODY_NOT_ALLOWED, 'a chunked CONNECT')
})

/** [what, status, to HEAD, fields, framing or code] over HTTP/1.1. */
const RESPONSES: readonly (readonly [string, number, boolean, string, number])[] = [
  ['neither', 200, false, '', UNTIL_CLOSE],
  ['a length', 200, false, CL('5'), BY_LENGTH],
  ['zero', 200, false, CL('0'), NO_BODY],
  ['chunked', 200, false, TE('chunked'), CHUNKED],
  ['both', 200, false, CL('5') + TE('chunked'), L.LENGTH_AND_CODING],
  ['two lengths', 200, false, CL('5') + CL('5'), L.BAD_LENGTH],
  ['a sign', 200, false, CL('+5'), L.BAD_LENGTH],
  ['an unknown coding', 200, false, TE('gzip'), L.UNKNOWN_CODING],
  ['gzip, chunked', 200, false, TE('gzip, chunked'), L.UNKNOWN_CODING],
  ['HEAD', 200, true, '', NO_BODY],
  ['HEAD with a length', 200, true, CL('5'), NO_BODY],
  ['HEAD, chunked', 200, true, TE('chunked'), NO_BODY],
  ['HEAD with both', 200, true, CL('5') + TE('chunked'), L.LENGTH_AND_CODING],
  ['HEAD with two lengths', 200, true, CL('5') + CL('6'), L.BAD_LENGTH],
  ['304 with a length', 304, false, CL('5'), NO_BODY],
  ['304 with a list', 304, false, CL('5, 6'), L.BAD_LENGTH],
  ['204', 204, false, '', NO_BODY],
  ['204 with zero', 204, false, CL('0'), NO_BODY],
  ['204 with a length', 204, false, CL('5'), L.BODY_NOT_ALLOWED],
  ['204 chunked', 204, false, TE('chunked'), L.BODY_NOT_ALLOWED],
  ['100 with a length', 100, false, CL('5'), L.BODY_NOT_ALLOWED],
  ['103 chunked', 103, false, TE('chunked'), L.BODY_NOT_ALLOWED],
  ['101 with a length', 101, false, CL('5'), L.BODY_NOT_ALLOWED],
  ['205', 205, false, CL('0'), NO_BODY],
]

t.test('responses', async (t) => {
  for (const [what, status, toHead, fields, outcome] of RESPONSES) {
    t.equal(new L.Framing().ofResponse(mapOf(fields), 1, status, toHead), outcome, what)
  }
  t.equal(new L.Framing().ofResponse(mapOf(TE('chunked')), 0, 200, false), L.CODING_IN_1_0, 'chunked in HTTP/1.0')
  const map = mapOf(CL('0'))
  new L.Framing().ofResponse(map, 1, 204, false)
  t.equal(map.serialise(), '', 'the zero of a 204 is not passed on (RFC 9110 §8.6)')
})

// What a client is told whose bytes are not HTTP/1 as we take it (Envoy connection manager replies).
import { BAD_CHUNK, BAD_TRAILERS } from '../../http/h1/body-decoder.ts'
import * as L from '../../http/h1/framing.ts'
import * as P from '../../http/h1/parse-head.ts'
import * as R from '../http/reasons.ts'

/** The answer for a code of parse-head, framing or body-decoder. */
export function refusalOf(code: number): R.Reason {
  switch (code) {
    case P.TOO_LARGE:
      return R.HEADERS_TOO_LARGE
    case P.TOO_MANY_FIELDS:
      return R.TOO_MANY_HEADERS
    case P.UNSUPPORTED_VERSION:
      return R.UNKNOWN_VERSION
    case L.LENGTH_AND_CODING:
      return R.LENGTH_AND_CHUNKED
    case L.UNKNOWN_CODING:
      return R.BAD_TRANSFER_ENCODING
    default:
      return R.MALFORMED
  }
}

const SENTENCES: Readonly<Record<number, string>> = {
  ...P.HEAD_ERRORS,
  [L.BAD_LENGTH]: 'content-length is not one number of digits, or stands there twice',
  [L.LENGTH_AND_CODING]: 'content-length and transfer-encoding stand together',
  [L.UNKNOWN_CODING]: 'transfer-encoding is not `chunked` alone',
  [L.CODING_IN_1_0]: 'an HTTP/1.0 message has a transfer-encoding',
  [L.BODY_NOT_ALLOWED]: 'a CONNECT has a body',
  [BAD_CHUNK]: 'a chunk of the body is malformed',
  [BAD_TRAILERS]: 'the trailer section is malformed',
}

/** Why, in a sentence; for the log. */
export function refusalText(code: number): string {
  return SENTENCES[code] ?? `code ${code}`
}

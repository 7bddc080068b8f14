// Hot lane: how long a message is (RFC 9112 §6.3). Two lengths, or a length that can be read in two ways, are refused: they are what
// request smuggling is made of.
import type { HeaderMap } from '../header-map.ts'
import { H_CONTENT_LENGTH, H_TRANSFER_ENCODING } from '../known-headers.ts'
import { BY_LENGTH, CHUNKED, NO_BODY, UNTIL_CLOSE } from './body-decoder.ts'

// Outcomes below zero of requestFraming and responseFraming; a non-negative outcome is a framing of body-decoder.ts.
export const BAD_LENGTH = -20
export const LENGTH_AND_CODING = -21
export const UNKNOWN_CODING = -22
export const CODING_IN_1_0 = -23
export const BODY_NOT_ALLOWED = -24

/** The length found by the last call that returned BY_LENGTH; a field beside the outcome, so that nothing is allocated for two numbers. */
export class Framing {
  length: number

  constructor() {
    this.length = 0
  }

  /** NO_BODY, BY_LENGTH, CHUNKED or an error. */
  ofRequest(map: HeaderMap, minor: number, method: string): number {
    const coding = map.firstKnown(H_TRANSFER_ENCODING)
    const length = map.firstKnown(H_CONTENT_LENGTH)
    if (coding < 0 && length < 0) return NO_BODY
    if (coding >= 0) {
      if (length >= 0) return LENGTH_AND_CODING
      if (minor === 0) return CODING_IN_1_0
      if (!isChunkedAlone(map, coding)) return UNKNOWN_CODING
      return method === 'CONNECT' ? BODY_NOT_ALLOWED : CHUNKED
    }
    const n = oneLength(map, length)
    if (n < 0) return BAD_LENGTH
    if (n > 0 && method === 'CONNECT') return BODY_NOT_ALLOWED
    this.length = n
    return n === 0 ? NO_BODY : BY_LENGTH
  }

  /** NO_BODY, BY_LENGTH, CHUNKED, UNTIL_CLOSE or an error. `toHead`: the request was a HEAD. */
  ofResponse(map: HeaderMap, minor: number, status: number, toHead: boolean): number {
    const coding = map.firstKnown(H_TRANSFER_ENCODING)
    const length = map.firstKnown(H_CONTENT_LENGTH)
    if (coding >= 0 && length >= 0) return LENGTH_AND_CODING
    if (status < 200 || status === 204) return this.ofBodyless(map, coding, length)
    if (toHead || status === 304) {
      // What they announce belongs to another response and is passed on; it must be readable in one way all the same.
      return length >= 0 && oneLength(map, length) < 0 ? BAD_LENGTH : NO_BODY
    }
    if (coding >= 0) {
      if (minor === 0) return CODING_IN_1_0
      return isChunkedAlone(map, coding) ? CHUNKED : UNKNOWN_CODING
    }
    if (length < 0) return UNTIL_CLOSE
    const n = oneLength(map, length)
    if (n < 0) return BAD_LENGTH
    this.length = n
    return n === 0 ? NO_BODY : BY_LENGTH
  }

  /** 1xx and 204 have neither a body nor fields that announce one (RFC 9110 §8.6, RFC 9112 §6.1); a zero does no harm and is taken out. */
  private ofBodyless(map: HeaderMap, coding: number, length: number): number {
    if (coding >= 0) return BODY_NOT_ALLOWED
    if (length >= 0) {
      const n = oneLength(map, length)
      if (n !== 0) return n < 0 ? BAD_LENGTH : BODY_NOT_ALLOWED
      map.removeKnown(H_CONTENT_LENGTH)
    }
    return NO_BODY
  }
}

function isChunkedAlone(map: HeaderMap, i: number): boolean {
  if (map.nextKnown(H_TRANSFER_ENCODING, i) >= 0) return false
  const value = map.valueAt(i)
  return value === 'chunked' || value.toLowerCase() === 'chunked'
}

/** Digits only, one line only, at most 2^53−1; -1 otherwise. Equal repeats are refused too, as Envoy does (Envoy connection manager replies). */
function oneLength(map: HeaderMap, i: number): number {
  if (map.nextKnown(H_CONTENT_LENGTH, i) >= 0) return -1
  const text = map.valueAt(i)
  if (text.length === 0 || text.length > 16) return -1
  let n = 0
  for (let k = 0; k < text.length; k++) {
    const digit = text.charCodeAt(k) - 0x30
    if (digit < 0 || digit > 9) return -1
    n = n * 10 + digit
  }
  return n > Number.MAX_SAFE_INTEGER ? -1 : n
}

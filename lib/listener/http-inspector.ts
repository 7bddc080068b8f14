// Hot lane: which HTTP plaintext is, if any, by its first bytes (envoy http_inspector).
import { latin1Slice } from '../base/latin1.ts'

/** Not known yet. */
export const UNDECIDED = ''
/** It is no HTTP. */
export const NOT_HTTP = 'none'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
/** A request line that is longer is none. */
const MAX_LINE = 8192
const REQUEST_LINE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ \r\n]+ HTTP\/1\.([01])\r?\n/
/** As far as a line has come that may become one. */
const BEGINNING =
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: (?:[^ \r\n]+(?: (?:H(?:T(?:T(?:P(?:\/(?:1(?:\.(?:[01]\r?)?)?)?)?)?)?)?)?)?)?)?$/

/** `h2c`, `http/1.1`, `http/1.0`, `NOT_HTTP`, or `UNDECIDED` while more bytes can tell. */
export function inspectHttp(bytes: Buffer, length: number): string {
  const text = latin1Slice(bytes, 0, Math.min(length, MAX_LINE))
  if (text.startsWith(PREFACE)) return 'h2c'
  if (PREFACE.startsWith(text)) return UNDECIDED
  const line = REQUEST_LINE.exec(text)
  if (line !== null) return line[1] === '1' ? 'http/1.1' : 'http/1.0'
  return text.length < MAX_LINE && BEGINNING.test(text) ? UNDECIDED : NOT_HTTP
}

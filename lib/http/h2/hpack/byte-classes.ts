// What a byte may not be part of. The decoder ORs the classes of all bytes of a string while it copies them; one test at the end says
// whether the string may be what it wants to be (RFC 9113 §8.2.1, §8.3).

export const NOT_NAME = 1
export const NOT_VALUE = 2
export const NOT_PATH = 4
export const NOT_AUTHORITY = 8
export const NOT_TOKEN = 16
export const NOT_SCHEME = 32
export const NOT_DIGIT = 64

const LOWER = 'abcdefghijklmnopqrstuvwxyz'
const UPPER = LOWER.toUpperCase()
const DIGITS = '0123456789'
const TOKEN = `!#$%&'*+-.^_\`|~${DIGITS}${LOWER}${UPPER}`

/** Classes of each byte, as bits. */
export const CLASS: Uint8Array = new Uint8Array(256)

for (let byte = 0; byte < 256; byte++) {
  const c = String.fromCharCode(byte)
  const visible = byte > 0x20 && byte < 0x7f
  // HT, SP, VCHAR and obs-text (RFC 9110 §5.5): stricter than HTTP/2 itself, so that what is forwarded over HTTP/1 stays what it is.
  const inValue = byte === 9 || (byte >= 0x20 && byte !== 0x7f)
  CLASS[byte] =
    (TOKEN.includes(c) && !UPPER.includes(c) ? 0 : NOT_NAME) |
    (inValue ? 0 : NOT_VALUE) |
    (visible && c !== '#' ? 0 : NOT_PATH) |
    // No userinfo (RFC 9113 §8.3.1), and nothing by which the authority would end.
    (visible && !'@/?#\\"<>^`{|}'.includes(c) ? 0 : NOT_AUTHORITY) |
    (TOKEN.includes(c) ? 0 : NOT_TOKEN) |
    (`${LOWER}${UPPER}${DIGITS}+-.`.includes(c) ? 0 : NOT_SCHEME) |
    (DIGITS.includes(c) ? 0 : NOT_DIGIT)
}

// Hot lane: one loop over the bytes of a message head, which checks every byte and notes offsets. RFC 9112 read strictly: what could
// be understood in two ways is refused, whatever other proxies make of it (HTTP/1 request smuggling).
import type { HeaderMap } from '../header-map.ts'
import { idOfBytes } from '../known-headers.ts'

// Outcomes of parseFields and parseRequestHead below zero. A non-negative outcome is the position behind the head.
/** More bytes are needed. */
export const INCOMPLETE = -1
export const BAD_START_LINE = -2
export const BAD_METHOD = -3
export const BAD_TARGET = -4
export const BAD_VERSION = -5
export const UNSUPPORTED_VERSION = -6
export const BAD_FIELD_NAME = -7
export const BAD_FIELD_VALUE = -8
export const OBS_FOLD = -9
export const BARE_LINE_END = -10
export const TOO_MANY_FIELDS = -11
export const TOO_LARGE = -12
export const BAD_STATUS = -13

/** A sentence for each outcome, for logs and `explain`. */
export const HEAD_ERRORS: Readonly<Record<number, string>> = {
  [BAD_START_LINE]: 'the start line is not `METHOD SP target SP HTTP/1.x CRLF`',
  [BAD_METHOD]: 'the method is not one that is registered (methods are case-sensitive)',
  [BAD_TARGET]:
    'the request target holds a blank, a control character or a byte outside ASCII, or has a form that its method does not allow',
  [BAD_VERSION]: 'the version is neither HTTP/1.1 nor HTTP/1.0',
  [UNSUPPORTED_VERSION]: 'the major version is not 1',
  [BAD_FIELD_NAME]: 'a field name is empty or not a token, or blanks stand before the colon',
  [BAD_FIELD_VALUE]: 'a field value holds a control character',
  [OBS_FOLD]: 'a field value is folded over two lines',
  [BARE_LINE_END]: 'a line ends with CR or LF alone',
  [TOO_MANY_FIELDS]: 'there are more header lines than limits.maxHeaders',
  [TOO_LARGE]: 'the header section is larger than limits.maxHeaderBytes',
  [BAD_STATUS]: 'the status line is not `HTTP/1.x SP 3DIGIT SP reason CRLF`',
}

// Byte classes. An index beyond the table's 256 entries cannot occur: the tables are indexed with bytes.
const TOKEN = new Uint8Array(256)
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") TOKEN[c.charCodeAt(0)] = 1
/** HT, SP, VCHAR and obs-text (RFC 9110 §5.5). */
const FIELD_BYTE = new Uint8Array(256).fill(1)
for (let c = 0; c < 0x20; c++) FIELD_BYTE[c] = 0
FIELD_BYTE[0x09] = 1
FIELD_BYTE[0x7f] = 0
/** VCHAR without anything that needs a closer look; `"<>\^`{|}` pass here and are normalised later (Envoy header sanitising). */
const TARGET_BYTE = new Uint8Array(256)
for (let c = 0x21; c < 0x7f; c++) TARGET_BYTE[c] = 1

export function isTokenByte(byte: number): boolean {
  return TOKEN[byte] === 1
}

const CR = 13
const LF = 10
const SP = 32
const HT = 9
const COLON = 58

/** Methods with a registration or long use; Envoy's codec refuses all others, and so do we (Istio HTTPMatchRequest). */
const METHODS = new Set(
  (
    'GET POST PUT DELETE HEAD OPTIONS PATCH CONNECT TRACE ACL BIND CHECKOUT COPY LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL ' +
    'MOVE NOTIFY PROPFIND PROPPATCH PURGE REBIND REPORT SEARCH SOURCE SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE QUERY'
  ).split(' '),
)

/** Start line of a request or response, filled by the parser and reused. */
export class StartLine {
  // Offsets into the head's text.
  methodEnd: number
  targetStart: number
  targetEnd: number
  /** 0 or 1. */
  minor: number
  /** Responses only. */
  status: number
  reasonStart: number
  reasonEnd: number
  /** Where parsing of fields goes on when more bytes have come; 0: start line not read yet. */
  resumeAt: number

  constructor() {
    this.methodEnd = 0
    this.targetStart = 0
    this.targetEnd = 0
    this.minor = 1
    this.status = 0
    this.reasonStart = 0
    this.reasonEnd = 0
    this.resumeAt = 0
  }
}

/**
 * Reads `HTTP/1.x` at `p`. The caller has made sure that bytes[end] is a sentinel 0.
 * Returns the position behind it, INCOMPLETE or an error.
 */
function parseVersion(b: Uint8Array, p: number, end: number, line: StartLine): number {
  // 'HTTP/' as bytes; a prefix that differs is an error even before the rest has come.
  for (let i = 0; i < 5; i++) {
    if (p + i >= end) return INCOMPLETE
    if (b[p + i] !== HTTP_SLASH[i]) return BAD_VERSION
  }
  if (p + 8 > end) return INCOMPLETE
  const major = b[p + 5] as number
  const minor = b[p + 7] as number
  if (major < 0x30 || major > 0x39 || b[p + 6] !== 0x2e || minor < 0x30 || minor > 0x39) return BAD_VERSION
  if (major !== 0x31) return UNSUPPORTED_VERSION
  if (minor > 0x31) return BAD_VERSION
  line.minor = minor - 0x30
  return p + 8
}

const HTTP_SLASH = [0x48, 0x54, 0x54, 0x50, 0x2f]

/**
 * Parses a request head in `b[start, end)`; `b[end]` must exist and be 0. Offsets in `map` and `line` are relative to `start`.
 * Returns the position behind the empty line (the head is complete and `map.block` still to be set by the caller), INCOMPLETE (call again with
 * the same start and more bytes: finished lines are not read twice) or an error.
 */
export function parseRequestHead(
  b: Uint8Array,
  start: number,
  end: number,
  line: StartLine,
  map: HeaderMap,
  maxFields: number,
  maxBytes: number,
): number {
  if (line.resumeAt === 0) {
    const at = parseRequestLine(b, start, end, line)
    if (at < 0) return at === INCOMPLETE && end - start > maxBytes ? TOO_LARGE : at
    line.resumeAt = at - start
  }
  return parseFields(b, start, end, line, map, maxFields, maxBytes)
}

function parseRequestLine(b: Uint8Array, start: number, end: number, line: StartLine): number {
  let p = start
  while (TOKEN[b[p] as number] === 1) p++
  if (p >= end) return INCOMPLETE
  if (b[p] !== SP || p === start) return BAD_START_LINE
  line.methodEnd = p - start
  p++
  const target = p
  while (TARGET_BYTE[b[p] as number] === 1) p++
  if (p >= end) return INCOMPLETE
  if (b[p] !== SP) return b[p] === CR || b[p] === LF ? BAD_START_LINE : BAD_TARGET
  if (p === target) return BAD_TARGET
  line.targetStart = target - start
  line.targetEnd = p - start
  const at = parseVersion(b, p + 1, end, line)
  if (at < 0) return at
  if (at >= end) return INCOMPLETE
  if (b[at] !== CR) return b[at] === LF ? BARE_LINE_END : BAD_VERSION
  if (at + 1 >= end) return INCOMPLETE
  if (b[at + 1] !== LF) return BARE_LINE_END
  return at + 2
}

/** Is the method in the text of the head one that we know? */
export function isKnownMethod(method: string): boolean {
  return method === 'GET' || method === 'POST' || METHODS.has(method)
}

/** As parseRequestHead, for a response. */
export function parseResponseHead(
  b: Uint8Array,
  start: number,
  end: number,
  line: StartLine,
  map: HeaderMap,
  maxFields: number,
  maxBytes: number,
): number {
  if (line.resumeAt === 0) {
    const at = parseStatusLine(b, start, end, line)
    if (at < 0) return at === INCOMPLETE && end - start > maxBytes ? TOO_LARGE : at
    line.resumeAt = at - start
  }
  return parseFields(b, start, end, line, map, maxFields, maxBytes)
}

function parseStatusLine(b: Uint8Array, start: number, end: number, line: StartLine): number {
  let p = parseVersion(b, start, end, line)
  if (p < 0) return p
  if (p + 4 > end) return INCOMPLETE
  if (b[p] !== SP) return BAD_STATUS
  let status = 0
  for (let i = 1; i <= 3; i++) {
    const digit = (b[p + i] as number) - 0x30
    if (digit < 0 || digit > 9) return BAD_STATUS
    status = status * 10 + digit
  }
  if (status < 100) return BAD_STATUS
  p += 4
  if (p >= end) return INCOMPLETE
  // The blank before an empty reason is often left out (RFC 9112 §4 asks for it); nothing can be misread without it. A fourth digit could.
  if (b[p] === SP) p++
  else if (b[p] !== CR && b[p] !== LF) return BAD_STATUS
  const reason = p
  while (FIELD_BYTE[b[p] as number] === 1) p++
  if (p >= end) return INCOMPLETE
  if (b[p] !== CR) return b[p] === LF ? BARE_LINE_END : BAD_STATUS
  if (p + 1 >= end) return INCOMPLETE
  if (b[p + 1] !== LF) return BARE_LINE_END
  line.status = status
  line.reasonStart = reason - start
  line.reasonEnd = p - start
  return p + 2
}

/** Field lines up to and including the empty line. Also used for trailers, with `line.resumeAt` at their first byte. */
export function parseFields(
  b: Uint8Array,
  start: number,
  end: number,
  line: StartLine,
  map: HeaderMap,
  maxFields: number,
  maxBytes: number,
): number {
  for (;;) {
    const lineStart = start + line.resumeAt
    let p = lineStart
    let c = b[p] as number
    if (c === CR) {
      if (p + 1 >= end) return INCOMPLETE
      if (b[p + 1] !== LF) return BARE_LINE_END
      return p + 2 - start > maxBytes ? TOO_LARGE : p + 2
    }
    if (c === SP || c === HT) return OBS_FOLD
    while (TOKEN[c] === 1) c = b[++p] as number
    if (p >= end) return end - start > maxBytes ? TOO_LARGE : INCOMPLETE
    if (c !== COLON || p === lineStart) return c === LF && p === lineStart ? BARE_LINE_END : BAD_FIELD_NAME
    const nameEnd = p
    c = b[++p] as number
    while (c === SP || c === HT) c = b[++p] as number
    const valueStart = p
    while (FIELD_BYTE[b[p] as number] === 1) p++
    if (p >= end) return end - start > maxBytes ? TOO_LARGE : INCOMPLETE
    if (b[p] !== CR) return b[p] === LF ? BARE_LINE_END : BAD_FIELD_VALUE
    if (p + 1 >= end) return INCOMPLETE
    if (b[p + 1] !== LF) return BARE_LINE_END
    let valueEnd = p
    while (valueEnd > valueStart && (b[valueEnd - 1] === SP || b[valueEnd - 1] === HT)) valueEnd--
    const next = p + 2
    if (map.count >= maxFields) return TOO_MANY_FIELDS
    if (next - start > maxBytes) return TOO_LARGE
    map.push(
      lineStart - start,
      nameEnd - start,
      valueStart - start,
      valueEnd - start,
      next - start,
      idOfBytes(b, lineStart, nameEnd),
    )
    line.resumeAt = next - start
  }
}

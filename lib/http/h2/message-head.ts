// Hot lane: what a header block says beside its fields, and what makes a block malformed.

// What a block may be.
export const REQUEST = 0
export const RESPONSE = 1
export const TRAILERS = 2
/** Read for the sake of the decoder's state only. */
export const DISCARDED = 3

// Faults: the message is malformed (RFC 9113 §8.1.1) or larger than what is taken. 0: none.
export const BAD_NAME = 1
export const BAD_VALUE = 2
export const BAD_PATH = 3
export const BAD_AUTHORITY = 4
export const BAD_METHOD = 5
export const BAD_SCHEME = 6
export const BAD_STATUS = 7
export const BAD_PROTOCOL = 8
export const BAD_PSEUDO = 9
export const PSEUDO_ORDER = 10
export const PSEUDO_TWICE = 11
export const PSEUDO_MISSING = 12
export const HTTP1_FIELD = 13
export const BAD_TE = 14
export const BAD_LENGTH = 15
export const HOST_MISMATCH = 16
export const TOO_LARGE = 17
export const TOO_MANY = 18
export const LENGTH_MISMATCH = 19
export const UNEXPECTED_HEADERS = 20
export const BODY_NOT_ALLOWED = 21
/** Not of a head: what was to be sent on the stream did not move in time. */
export const STALLED = 22
/** Nor is this: a frame where it may not be, beyond its window, or with a number that it may not have. */
export const MISPLACED = 23

/** A sentence for each fault, for logs. */
export const FAULTS: Readonly<Record<number, string>> = {
  [BAD_NAME]: 'a field name is empty, has upper-case letters or is no token',
  [BAD_VALUE]: 'a field value holds a control character, or begins or ends with a blank',
  [BAD_PATH]: ':path is empty, does not begin with a slash, or holds a blank, a `#` or a byte outside ASCII',
  [BAD_AUTHORITY]: ':authority or host holds what no authority has',
  [BAD_METHOD]: ':method is no token',
  [BAD_SCHEME]: ':scheme is no scheme',
  [BAD_STATUS]: ':status is not three digits from 100, or is 101',
  [BAD_PROTOCOL]: ':protocol is no token, was not offered, or stands without CONNECT',
  [BAD_PSEUDO]: 'a pseudo-header is unknown or has no place in this message',
  [PSEUDO_ORDER]: 'a pseudo-header stands behind a field',
  [PSEUDO_TWICE]: 'a pseudo-header stands twice',
  [PSEUDO_MISSING]: 'a pseudo-header is missing, or one is there that CONNECT does not have',
  [HTTP1_FIELD]: 'a field belongs to a connection of HTTP/1',
  [BAD_TE]: 'te is not `trailers`',
  [BAD_LENGTH]: 'content-length is not one number',
  [HOST_MISMATCH]: 'host and :authority name different hosts',
  [TOO_LARGE]: 'the header section is larger than limits.maxHeaderBytes',
  [TOO_MANY]: 'there are more header fields than limits.maxHeaders',
  [LENGTH_MISMATCH]: 'content-length is not the length of the body',
  [UNEXPECTED_HEADERS]: 'a header block came where none may come, or without the end that it has to have',
  [BODY_NOT_ALLOWED]: 'a body came where none may come',
  [MISPLACED]: 'a frame stands where it may not, or says what it may not',
  [STALLED]: 'the peer took nothing of what was to be sent to it',
}

/** Pseudo-headers and what else is known of a message; filled by the decoder and read before the next block. */
export class MessageHead {
  method: string
  scheme: string
  authority: string
  /** Empty for CONNECT. */
  path: string
  /** Of an extended CONNECT (RFC 8441); empty without. */
  protocol: string
  status: number
  /** -1: not said. */
  contentLength: number
  /** Names that came as never indexed (RFC 7541 §7.1.3), as `,a,b,`; empty for none. They are to be passed on so. */
  neverIndexed: string

  constructor() {
    this.method = ''
    this.scheme = ''
    this.authority = ''
    this.path = ''
    this.protocol = ''
    this.status = 0
    this.contentLength = -1
    this.neverIndexed = ''
  }

  clear(): void {
    this.method = ''
    this.scheme = ''
    this.authority = ''
    this.path = ''
    this.protocol = ''
    this.status = 0
    this.contentLength = -1
    this.neverIndexed = ''
  }
}

/** Is the request that was decoded complete and consistent (RFC 9113 §8.3.1, §8.5, RFC 8441 §4)? A fault, or 0. `seen`: bits of field kinds. */
export function requestFault(head: MessageHead, hasScheme: boolean, hasPath: boolean, extendedConnect: boolean): number {
  if (head.method === '') return PSEUDO_MISSING
  if (head.protocol !== '') {
    if (head.method !== 'CONNECT' || !extendedConnect) return BAD_PROTOCOL
  } else if (head.method === 'CONNECT') {
    return hasScheme || hasPath || head.authority === '' ? PSEUDO_MISSING : 0
  }
  if (!hasScheme || !hasPath) return PSEUDO_MISSING
  if (head.scheme === '') return BAD_SCHEME
  if (head.path.charCodeAt(0) === 0x2f) return 0
  return head.path === '*' && head.method === 'OPTIONS' ? 0 : BAD_PATH
}

// Hot lane: what the rules of HTTP/2 make of a field by its name (RFC 9113 §8.2, §8.3). Decided once for each name, not once for each field.
import * as H from '../../known-headers.ts'

export const PLAIN = 0
// Pseudo-headers.
export const P_METHOD = 1
export const P_SCHEME = 2
export const P_AUTHORITY = 3
export const P_PATH = 4
export const P_STATUS = 5
export const P_PROTOCOL = 6
/** The last kind that is a pseudo-header. */
export const LAST_PSEUDO = 6
/** A name that begins with a colon and is none of those. */
export const UNKNOWN_PSEUDO = 7
/** Belongs to a connection of HTTP/1: its presence makes a message malformed (RFC 9113 §8.2.2). */
export const CONNECTION_SPECIFIC = 8
export const TE = 9
export const LENGTH = 10
export const COOKIE = 11
export const HOST = 12

/** Kinds of the names that have an id; 0 for all others. */
const KIND_OF_ID = new Uint8Array(H.H_COUNT)
for (const id of [H.H_CONNECTION, H.H_KEEP_ALIVE, H.H_PROXY_CONNECTION, H.H_TRANSFER_ENCODING, H.H_UPGRADE])
  KIND_OF_ID[id] = CONNECTION_SPECIFIC
KIND_OF_ID[H.H_TE] = TE
KIND_OF_ID[H.H_CONTENT_LENGTH] = LENGTH
KIND_OF_ID[H.H_HOST] = HOST

const PSEUDO: readonly string[] = ['', ':method', ':scheme', ':authority', ':path', ':status', ':protocol']

/** Kind of a regular field: its id and the bytes of its name, `b[start, end)`, which is not empty. */
export function kindOfRegular(id: number, b: Uint8Array, start: number, end: number): number {
  if (id !== H.H_OTHER) return KIND_OF_ID[id] as number
  return end - start === 6 && b[start] === 0x63 && sameText(b, start, end, 'cookie') ? COOKIE : PLAIN
}

/** Kind of a name that begins with a colon. */
export function kindOfPseudo(b: Uint8Array, start: number, end: number): number {
  for (let kind = 1; kind <= LAST_PSEUDO; kind++) if (sameText(b, start, end, PSEUDO[kind] as string)) return kind
  return UNKNOWN_PSEUDO
}

export function sameText(b: Uint8Array, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false
  for (let i = 0; i < text.length; i++) if (b[start + i] !== text.charCodeAt(i)) return false
  return true
}

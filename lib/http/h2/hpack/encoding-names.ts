// Hot lane: what the encoder has to know of a field by its name: its place in the static table, and whether it may be sent and indexed. Asked only of lines
// that are not in the table.
import { STATIC_COUNT, STATIC_NAMES, staticNameIndex } from './static-table.ts'

/** What is done with a field of this name. */
export const SEND = 0
/** Never in a dynamic table, here or further on: it could be guessed from the length of what is sent (RFC 7541 §7.1). */
export const NEVER_INDEX = 1
/** Belongs to HTTP/1 and is left out (RFC 9113 §8.2.2). */
export const DROP = 2
/** Left out of requests, whose :authority says it. */
export const DROP_IN_REQUESTS = 3
/** Left out unless it says `trailers`. */
export const TRAILERS_ONLY = 4

const POLICIES: readonly (readonly [number, readonly string[]])[] = [
  [NEVER_INDEX, ['authorization', 'proxy-authorization', 'cookie', 'set-cookie']],
  [DROP, ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'http2-settings']],
  [DROP_IN_REQUESTS, ['host']],
  [TRAILERS_ONLY, ['te']],
]

export interface EncodingName {
  readonly text: string
  /** Index of the name in the static table; 0: none. */
  readonly index: number
  readonly policy: number
}

/** One step of the hash of a name; it begins with 0. */
function hashed(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0
}

const byHash = new Map<number, EncodingName>()
for (let i = 1; i <= STATIC_COUNT; i++) put(STATIC_NAMES[i] as string, SEND)
for (const [policy, names] of POLICIES) for (const name of names) put(name, policy)

function put(text: string, policy: number): void {
  let hash = 0
  for (let i = 0; i < text.length; i++) hash = hashed(hash, text.charCodeAt(i))
  const other = byHash.get(hash)
  if (other !== undefined && other.text !== text) throw new Error(`${text} and ${other.text} have one hash`)
  byHash.set(hash, { text, index: staticNameIndex(text), policy })
}

/** Any name that is not in the tables. */
const UNKNOWN: EncodingName = { text: '', index: 0, policy: SEND }

/** The name in `b[start, end)`, which is in lower case afterwards. */
export function encodingName(b: Uint8Array, start: number, end: number): EncodingName {
  let hash = 0
  for (let i = start; i < end; i++) {
    let byte = b[i] as number
    if (byte >= 0x41 && byte <= 0x5a) {
      byte |= 0x20
      b[i] = byte
    }
    hash = hashed(hash, byte)
  }
  const name = byHash.get(hash)
  if (name === undefined || name.text.length !== end - start) return UNKNOWN
  for (let i = start; i < end; i++) if (b[i] !== name.text.charCodeAt(i - start)) return UNKNOWN
  return name
}

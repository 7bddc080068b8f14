// Hot lane: what the encoder has to know of a field name, found by the name as it is spelt. Names repeat, so each is looked at once.
import { staticNameIndex } from './static-table.ts'

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
const policyOf = new Map<string, number>(POLICIES.flatMap(([policy, names]) => names.map((name) => [name, policy] as const)))

export interface EncodingName {
  readonly lower: string
  /** Index of the name in the static table; 0: none. */
  readonly index: number
  readonly policy: number
}

/** Names come from peers: no more than these are kept. */
const MOST = 1000
const names = new Map<string, EncodingName>()

export function encodingName(spelt: string): EncodingName {
  const known = names.get(spelt)
  if (known !== undefined) return known
  const lower = spelt.toLowerCase()
  const name = { lower, index: staticNameIndex(lower), policy: policyOf.get(lower) ?? SEND }
  if (names.size >= MOST) names.clear()
  names.set(spelt, name)
  return name
}

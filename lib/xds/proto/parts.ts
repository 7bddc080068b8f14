// The elements of one repeated field of a message as they stand in its bytes, so that those that are what they were need neither decoding nor translation. Nothing
// is kept for it but the bytes themselves: where elements begin is found again when it is asked for.

export interface Places {
  readonly from: Uint8Array
  /** Begin and length of each element, in their order. */
  readonly places: ArrayLike<number>
}

export interface Parts extends Places {
  /** The message without them. */
  readonly rest: Uint8Array
}

const VARINT = 0
const FIXED64 = 1
const LENGTH_DELIMITED = 2
const FIXED32 = 5
const MAX_VARINT_BYTES = 10

/** null: it is no message; whoever decodes it hears why. */
export function partsOf(from: Uint8Array, field: number): Parts | null {
  const places: number[] = []
  const reader = new TagReader(from)
  const rest: Uint8Array[] = []
  let restFrom = 0
  while (reader.at < from.length) {
    const start = reader.at
    const tag = reader.varint()
    if (tag >>> 3 === field && (tag & 7) === LENGTH_DELIMITED) {
      const length = reader.varint()
      if (start > restFrom) rest.push(from.subarray(restFrom, start))
      places.push(reader.at, length)
      reader.at += length
      restFrom = reader.at
    } else reader.skip(tag)
    if (reader.failed || reader.at > from.length) return null
  }
  if (restFrom < from.length) rest.push(from.subarray(restFrom))
  return { from, places, rest: rest.length === 1 ? (rest[0] as Uint8Array) : Buffer.concat(rest) }
}

class TagReader {
  at: number
  failed: boolean
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.at = 0
    this.failed = false
    this.#bytes = bytes
  }

  /** Of 32 bits; what is larger is no tag and no length. */
  varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.#bytes[this.at++]
      if (byte === undefined) break
      value += (byte & 127) * scale
      if (byte < 128) {
        if (value >= 2 ** 32) this.failed = true
        return value
      }
      scale *= 128
    }
    this.failed = true
    return 0
  }

  skip(tag: number): void {
    if (tag >>> 3 === 0) this.failed = true
    else if ((tag & 7) === VARINT) this.#skipVarint()
    else if ((tag & 7) === FIXED64) this.at += 8
    else if ((tag & 7) === LENGTH_DELIMITED) {
      const length = this.varint()
      this.at += length
    } else if ((tag & 7) === FIXED32) this.at += 4
    else this.failed = true
  }

  #skipVarint(): void {
    for (let i = 0; i < MAX_VARINT_BYTES; i++) if ((this.#bytes[this.at++] ?? 0) < 128) return
    this.failed = true
  }
}

export function partAt({ from, places }: Places, index: number): Uint8Array {
  const begin = places[2 * index] as number
  return from.subarray(begin, begin + (places[2 * index + 1] as number))
}

/** How far elements of a list may be moved by others that came or went, in one place, to be found again. */
const LOOK_AHEAD = 16

/**
 * For each element of `after` the index of one of `before` that has the same bytes, or -1. Both in order: an element that was moved past others counts as
 * another one. What both begin and end with is skipped at the speed of memory.
 */
export function samePlaces(before: Places, after: Places): Int32Array {
  const same = new Int32Array(after.places.length / 2).fill(-1)
  const counts = { before: before.places.length / 2, after: same.length }
  const head = headOf(before, after)
  for (let i = 0; i < head; i++) same[i] = i
  const tail = tailOf(before, after, Math.min(counts.before, counts.after) - head)
  for (let i = 1; i <= tail; i++) same[counts.after - i] = counts.before - i
  const ends = { before: counts.before - tail, after: counts.after - tail }
  let i = head
  let j = head
  while (i < ends.after && j < ends.before) {
    const [skipBefore, skipAfter] = nextSame(before, j, ends.before, after, i, ends.after)
    j += skipBefore
    i += skipAfter
    if (i < ends.after && j < ends.before && areEqual(before, j, after, i)) same[i] = j
    i++
    j++
  }
  return same
}

/** How many elements of either are to be passed over until two are the same; none where that is not near. */
function nextSame(before: Places, j: number, endBefore: number, after: Places, i: number, endAfter: number): [number, number] {
  if (areEqual(before, j, after, i)) return [0, 0]
  for (let ahead = 1; ahead <= LOOK_AHEAD; ahead++) {
    // Another one in its place, and the next is the same: nothing came or went.
    if (i + ahead < endAfter && j + ahead < endBefore && areEqual(before, j + ahead, after, i + ahead)) return [0, 0]
    if (j + ahead < endBefore && areEqual(before, j + ahead, after, i)) return [ahead, 0]
    if (i + ahead < endAfter && areEqual(before, j, after, i + ahead)) return [0, ahead]
  }
  return [0, 0]
}

function areEqual(before: Places, j: number, after: Places, i: number): boolean {
  const length = before.places[2 * j + 1] as number
  if (length !== after.places[2 * i + 1]) return false
  return Buffer.compare(partAt(before, j), partAt(after, i)) === 0
}

/** Bytes that are compared at once. */
const STRIDE = 4096

/** Elements at the begin that are the same, with all that stands before them. */
function headOf(before: Places, after: Places): number {
  const [a, b] = [before.from, after.from]
  const shorter = Math.min(a.length, b.length)
  let at = 0
  while (at < shorter && Buffer.compare(a.subarray(at, at + STRIDE), b.subarray(at, at + STRIDE)) === 0) at += STRIDE
  while (at < shorter && a[at] === b[at]) at++
  let count = 0
  while (isWithin(before.places, after.places, count, Math.min(at, shorter))) count++
  return count
}

function isWithin(a: ArrayLike<number>, b: ArrayLike<number>, i: number, limit: number): boolean {
  const [begin, length] = [a[2 * i], a[2 * i + 1]]
  return begin !== undefined && length !== undefined && begin === b[2 * i] && length === b[2 * i + 1] && begin + length <= limit
}

/** The same at the end; at most `limit`. */
function tailOf(before: Places, after: Places, limit: number): number {
  const [a, b] = [before.from, after.from]
  const shorter = Math.min(a.length, b.length)
  let same = 0
  for (;;) {
    const next = Math.min(same + STRIDE, shorter)
    if (next === same) break
    if (Buffer.compare(a.subarray(a.length - next, a.length - same), b.subarray(b.length - next, b.length - same)) !== 0) break
    same = next
  }
  while (same < shorter && a[a.length - 1 - same] === b[b.length - 1 - same]) same++
  let count = 0
  while (count < limit) {
    const i = before.places.length / 2 - 1 - count
    const j = after.places.length / 2 - 1 - count
    const [begin, length] = [before.places[2 * i] as number, before.places[2 * i + 1] as number]
    // In the same distance from the end, and all of it among the same bytes.
    if (length !== after.places[2 * j + 1] || a.length - begin !== b.length - (after.places[2 * j] as number)) break
    if (a.length - begin > same) break
    count++
  }
  return count
}

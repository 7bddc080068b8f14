// Plain data as bytes, many values in one arena: what is equal is written once, whatever it belongs to, and each value can be read without the others
// (packed-reader.ts). For what is kept for long and rarely looked at; a cluster of twenty endpoints takes a quarter of what `v8.serialize` makes of it.
//
// A node is a head, a varint whose low three bits are its tag, and what follows it:
//
//   INT       n ≥ 0           REF       offset of the node that stands here
//   CONSTANT  null, true …    DOUBLE    8 bytes, little endian
//   LATIN1    length, bytes   UTF16     length, two bytes for each code unit
//   ARRAY     length, nodes   OBJECT    offset of its shape, a node for each of its fields; a shape is an ARRAY of their names
//
// Strings, arrays and objects stand by themselves, and those that hold them have REFs: only so are equal ones equal bytes. The head of an array or object
// that holds no other has LEAF set: a reader keeps those, since they are what is repeated.

export const INT = 0
export const REF = 1
export const CONSTANT = 2
export const DOUBLE = 3
export const LATIN1 = 4
export const UTF16 = 5
export const ARRAY = 6
export const OBJECT = 7
export const TAG_BITS = 3
/** In heads of ARRAY and OBJECT, behind the tag. */
export const LEAF = 1

export const CONSTANTS: readonly unknown[] = [null, true, false, undefined]

/** Longer ones are not compared with others. */
const MAX_COMPARED = 512
/** Numbers above are written as doubles, so that heads stay exact with bit operations. */
const MAX_INT = 2 ** 24

/** Bytes of one node, before it is known whether they have been written already. */
class Body {
  bytes: Uint8Array
  length: number
  /** It holds an array or object. */
  holds: boolean

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
    this.length = 0
    this.holds = false
  }

  reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
  }

  varint(value: number): void {
    this.reserve(8)
    while (value > 127) {
      this.bytes[this.length++] = (value % 128) | 128
      value = Math.floor(value / 128)
    }
    this.bytes[this.length++] = value
  }
}

/** A power of two. */
const MIN_KNOWN = 64

const NOTHING = new Uint8Array(0)
const numbers = new DataView(new ArrayBuffer(8))

export class Packer {
  private bytes: Uint8Array
  private length: number
  /** Of nodes that others may be equal to the offset plus one, then a hash of the bytes, which says where to look; who finds the place taken takes the next. */
  private known: Int32Array
  private knownCount: number
  private readonly texts: Map<string, number>
  /** By their first name. */
  private readonly shapes: Map<string, readonly { readonly names: readonly string[]; readonly at: number }[]>
  /** Leaves by the object itself, a quick way to `known`: makers keep one for many. */
  private readonly seen: Map<object, number>
  /** One for each depth of nesting, used again and again. */
  private readonly bodies: Body[]

  constructor() {
    this.bytes = new Uint8Array(4096)
    this.length = 0
    this.known = new Int32Array(2 * MIN_KNOWN)
    this.knownCount = 0
    this.texts = new Map()
    this.shapes = new Map()
    this.seen = new Map()
    this.bodies = []
  }

  get size(): number {
    return this.length
  }

  /** Where the value is: what `PackedReader.read` takes. Plain data only; anything else is a bug and throws. */
  put(value: object): number {
    return this.container(value, 0)
  }

  /** All that was put, as memory that threads share. */
  finish(): SharedArrayBuffer {
    const shared = new SharedArrayBuffer(this.length)
    new Uint8Array(shared).set(this.bytes.subarray(0, this.length))
    return shared
  }

  private container(value: object, depth: number): number {
    const before = this.seen.get(value)
    if (before !== undefined) return before
    const body = this.bodyAt(depth)
    const shape = Array.isArray(value) ? -1 : this.shapeOf(value)
    const items: readonly unknown[] = Array.isArray(value) ? value : Object.values(value)
    const start = body.length
    body.holds = false
    if (shape < 0) body.varint(items.length)
    else body.varint(shape)
    for (const item of items) this.field(body, item, depth)
    const leaf = !body.holds
    const tag = (shape < 0 ? ARRAY : OBJECT) | ((leaf ? LEAF : 0) << TAG_BITS)
    const at = this.node(tag, body, start)
    body.length = start
    if (leaf) this.seen.set(value, at)
    return at
  }

  private bodyAt(depth: number): Body {
    let body = this.bodies[depth]
    if (body === undefined) {
      body = new Body(256)
      this.bodies[depth] = body
    }
    return body
  }

  private field(body: Body, value: unknown, depth: number): void {
    switch (typeof value) {
      case 'string':
        body.varint(head(REF, this.text(value)))
        return
      case 'number':
        number(body, value)
        return
      case 'object':
      case 'boolean':
      case 'undefined': {
        const constant = CONSTANTS.indexOf(value)
        if (constant >= 0) {
          body.varint(head(CONSTANT, constant))
          return
        }
        body.holds = true
        body.varint(head(REF, this.container(value as object, depth + 1)))
        return
      }
      default:
        throw new Error(`a ${typeof value} cannot be packed`)
    }
  }

  private shapeOf(value: object): number {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) throw new Error('only plain objects can be packed')
    const names = Object.keys(value)
    const first = names[0] ?? ''
    const alike = this.shapes.get(first) ?? []
    const known = alike.find((shape) => sameNames(shape.names, names))
    if (known !== undefined) return known.at
    const body = new Body(64)
    body.varint(names.length)
    for (const name of names) body.varint(head(REF, this.text(name)))
    const at = this.append(ARRAY | (LEAF << TAG_BITS), body.bytes.subarray(0, body.length))
    this.shapes.set(first, [...alike, { names, at }])
    return at
  }

  private text(value: string): number {
    const known = this.texts.get(value)
    if (known !== undefined) return known
    const encoded = latin1Of(value)
    const size = this.bodyAt(0)
    const start = size.length
    size.varint(value.length)
    const head = size.bytes.subarray(start, size.length)
    const at = encoded === null ? this.append(UTF16, head, Buffer.from(value, 'utf16le')) : this.append(LATIN1, head, encoded)
    size.length = start
    this.texts.set(value, at)
    return at
  }

  private node(tag: number, body: Body, start: number): number {
    const length = body.length - start
    if (length > MAX_COMPARED) return this.append(tag, body.bytes.subarray(start, body.length))
    const hash = hashOf(tag, body.bytes, start, body.length)
    const place = this.placeOf(hash, tag, body.bytes, start, length)
    const before = this.known[place] as number
    if (before !== 0) return before - 1
    const at = this.append(tag, body.bytes.subarray(start, body.length))
    this.known[place] = at + 1
    this.known[place + 1] = hash
    this.knownCount++
    if (this.knownCount * 4 > this.known.length) this.growKnown()
    return at
  }

  /** In `known`: of a node that is equal, or where it belongs. */
  private placeOf(hash: number, tag: number, bytes: Uint8Array, start: number, length: number): number {
    const { known } = this
    const mask = known.length / 2 - 1
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const before = known[2 * i] as number
      if (before === 0) return 2 * i
      if (known[2 * i + 1] === hash && this.bytes[before - 1] === tag && this.isAt(before, bytes, start, length)) return 2 * i
    }
  }

  private isAt(at: number, bytes: Uint8Array, start: number, length: number): boolean {
    if (at + length > this.length) return false
    const own = this.bytes
    for (let i = 0; i < length; i++) if (own[at + i] !== bytes[start + i]) return false
    return true
  }

  private growKnown(): void {
    const before = this.known
    const known = new Int32Array(2 * before.length)
    const mask = known.length / 2 - 1
    for (let at = 0; at < before.length; at += 2) {
      if (before[at] === 0) continue
      let i = (before[at + 1] as number) & mask
      while (known[2 * i] !== 0) i = (i + 1) & mask
      known[2 * i] = before[at] as number
      known[2 * i + 1] = before[at + 1] as number
    }
    this.known = known
  }

  private append(tag: number, body: Uint8Array, more: Uint8Array = NOTHING): number {
    const at = this.length
    const end = at + 1 + body.length
    if (end + more.length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.bytes.length * 2, end + more.length))
      grown.set(this.bytes.subarray(0, at))
      this.bytes = grown
    }
    this.bytes[at] = tag
    this.bytes.set(body, at + 1)
    this.bytes.set(more, end)
    this.length = end + more.length
    return at
  }
}

/** FNV-1a, and its upper bits brought down. */
function hashOf(tag: number, bytes: Uint8Array, start: number, end: number): number {
  let hash = Math.imul(0x811c9dc5 ^ tag, 0x01000193)
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193)
  return hash ^ (hash >>> 15)
}

/** Of short texts; a call into Node costs more. */
const scratch = new Uint8Array(64)

/** null: it has other characters. Not to be kept. */
function latin1Of(value: string): Uint8Array<ArrayBuffer> | null {
  if (value.length > scratch.length) {
    const bytes = Buffer.from(value, 'latin1')
    return bytes.toString('latin1') === value ? bytes : null
  }
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code > 255) return null
    scratch[i] = code
  }
  return scratch.subarray(0, value.length)
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

function head(tag: number, value: number): number {
  return value * (1 << TAG_BITS) + tag
}

function number(body: Body, value: number): void {
  if (Number.isInteger(value) && value >= 0 && value < MAX_INT && !Object.is(value, -0)) {
    body.varint(head(INT, value))
    return
  }
  body.varint(DOUBLE)
  body.reserve(8)
  numbers.setFloat64(0, value, true)
  for (let i = 0; i < 8; i++) body.bytes[body.length++] = numbers.getUint8(i)
}

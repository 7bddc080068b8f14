// Reads what packer.ts wrote. Equal leaves (a locality, a workload, an origin) are one object, whoever asks for them: they must not be changed.
import { ARRAY, CONSTANT, CONSTANTS, DOUBLE, INT, LATIN1, LEAF, OBJECT, REF, TAG_BITS, UTF16 } from './packer.ts'

const TAG = (1 << TAG_BITS) - 1

interface Shape {
  readonly names: readonly string[]
  /** Copied for each object, so that all of a shape are of one hidden class. */
  readonly template: Readonly<Record<string, unknown>>
}

/** By their names: arenas are many, shapes are few. */
const known = new Map<string, Shape>()
const MAX_KNOWN = 500

function shapeOf(names: readonly string[]): Shape {
  const key = names.join()
  const before = known.get(key)
  if (before !== undefined && before.names.length === names.length && before.names.every((name, i) => name === names[i]))
    return before
  // From JSON.parse, since an object that is made field by field would become a dictionary.
  const template = JSON.parse(`{${names.map((name) => `${JSON.stringify(name)}:null`).join()}}`) as Shape['template']
  const shape = { names, template }
  if (known.size < MAX_KNOWN) known.set(key, shape)
  return shape
}

export class PackedReader {
  private readonly bytes: Uint8Array
  private readonly buffer: Buffer
  private readonly leaves: Map<number, object>
  private readonly shapes: Map<number, Shape>
  /** Of what is being read. */
  private at: number

  constructor(arena: SharedArrayBuffer) {
    this.bytes = new Uint8Array(arena)
    this.buffer = Buffer.from(arena)
    this.leaves = new Map()
    this.shapes = new Map()
    this.at = 0
  }

  /** Bytes of the arena. */
  get size(): number {
    return this.bytes.length
  }

  /** `at`: as `Packer.put` returned it. */
  read(at: number): unknown {
    const kind = this.bytes[at] as number
    const isLeaf = kind >> TAG_BITS === LEAF
    const known = isLeaf ? this.leaves.get(at) : undefined
    if (known !== undefined) return known
    const before = this.at
    this.at = at + 1
    const value = this.body(kind & TAG)
    this.at = before
    if (isLeaf) this.leaves.set(at, value as object)
    return value
  }

  private body(tag: number): unknown {
    const size = this.varint()
    switch (tag) {
      case LATIN1:
        return this.buffer.toString('latin1', this.at, this.at + size)
      case UTF16:
        return this.buffer.toString('utf16le', this.at, this.at + 2 * size)
      case ARRAY: {
        const items = new Array<unknown>(size)
        for (let i = 0; i < size; i++) items[i] = this.field()
        return items
      }
      case OBJECT:
        return this.object(this.shapeAt(size))
      default:
        throw new Error(`no node begins with ${tag}`)
    }
  }

  private object({ names, template }: Shape): object {
    const object: Record<string, unknown> = { ...template }
    for (let i = 0; i < names.length; i++) object[names[i] as string] = this.field()
    return object
  }

  private field(): unknown {
    const head = this.varint()
    const value = Math.floor(head / (1 << TAG_BITS))
    switch (head & TAG) {
      case INT:
        return value
      case REF:
        return this.read(value)
      case CONSTANT:
        return CONSTANTS[value]
      case DOUBLE:
        this.at += 8
        return this.buffer.readDoubleLE(this.at - 8)
      default:
        throw new Error(`no field begins with ${head & TAG}`)
    }
  }

  private shapeAt(at: number): Shape {
    let shape = this.shapes.get(at)
    if (shape === undefined) {
      shape = shapeOf(this.read(at) as readonly string[])
      this.shapes.set(at, shape)
    }
    return shape
  }

  private varint(): number {
    let value = 0
    let scale = 1
    for (;;) {
      const byte = this.bytes[this.at++]
      if (byte === undefined) throw new Error('read past the end of an arena')
      value += (byte & 127) * scale
      if (byte < 128) return value
      scale *= 128
    }
  }
}

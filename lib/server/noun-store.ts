// The nouns of the configuration as the workers get them: packed in memory that all threads share, so that what no request needs costs each worker a few
// bytes. Each push fills an arena; an arena of which little is still in use is emptied into the next one.
import { PackedReader } from '../base/packed-reader.ts'
import { Packer } from '../base/packer.ts'

/** Where a noun is. */
export interface Packed {
  readonly arena: number
  readonly at: number
  readonly size: number
}

export interface Arena {
  readonly id: number
  readonly bytes: SharedArrayBuffer
}

interface Held {
  readonly arena: Arena
  /** Of its bytes, about those that are in use: what nouns share is the first one's. */
  used: number
  /** Nouns in it that are in use. */
  nouns: number
}

/** More arenas than this: small ones are put together. */
const MAX_ARENAS = 32
const SMALL_BYTES = 1 << 20
/** So many of the smallest are, and each further one that is no larger than those before it together: what was put together is so again only among its like. */
const TOGETHER = 16

export class NounStore {
  readonly #arenas: Map<number, Held>
  #lastId: number
  #packer: Packer | null
  /** Of the arena that is being filled, as Held has them. */
  #used: number
  #nouns: number

  constructor() {
    this.#arenas = new Map()
    this.#lastId = 0
    this.#packer = null
    this.#used = 0
    this.#nouns = 0
  }

  /** All there are. */
  get arenas(): readonly Arena[] {
    return [...this.#arenas.values()].map((held) => held.arena)
  }

  get bytes(): number {
    return this.arenas.reduce((sum, { bytes }) => sum + bytes.byteLength, 0)
  }

  /** Id of the arena that is being filled, or was last. */
  get filling(): number {
    return this.#lastId
  }

  /** Into the arena that is being filled. */
  put(noun: object): Packed {
    this.#packer ??= this.#begin()
    const before = this.#packer.size
    const at = this.#packer.put(noun)
    const size = this.#packer.size - before
    this.#used += size
    this.#nouns++
    return { arena: this.#lastId, at, size }
  }

  #begin(): Packer {
    this.#lastId++
    this.#used = 0
    this.#nouns = 0
    return new Packer()
  }

  /** Of an arena that was filled, into the one that is being filled. */
  move(packed: Packed): Packed {
    const { arena } = this.#arenas.get(packed.arena) as Held
    const moved = this.put(new PackedReader(arena.bytes).read(packed.at) as object)
    this.drop(packed)
    return moved
  }

  /** Nothing of it is needed any more. */
  clear(): void {
    this.#arenas.clear()
    this.#packer = null
  }

  /** It is needed no more. */
  drop({ arena, size }: Packed): void {
    const held = this.#arenas.get(arena)
    if (held === undefined) {
      this.#used -= size
      this.#nouns--
    } else {
      held.used -= size
      held.nouns--
    }
  }

  /** Arenas whose nouns should be put anew. To be asked before `finish`. */
  sparse(): ReadonlySet<number> {
    const sparse = new Set<number>()
    for (const { arena, used } of this.#arenas.values()) if (used * 2 < arena.bytes.byteLength) sparse.add(arena.id)
    if (this.#arenas.size < MAX_ARENAS) return sparse
    const small = [...this.#arenas.values()].filter((held) => held.used < SMALL_BYTES).sort((a, b) => a.used - b.used)
    let sum = 0
    for (const [i, { arena, used }] of small.entries()) {
      if (i >= TOGETHER && used > sum) break
      sparse.add(arena.id)
      sum += used
    }
    return sparse
  }

  /** The arena that was filled, and those that are empty now. */
  finish(): { readonly added: Arena | null; readonly dropped: readonly number[] } {
    const dropped = [...this.#arenas.values()].filter(({ nouns }) => nouns === 0).map(({ arena }) => arena.id)
    for (const id of dropped) this.#arenas.delete(id)
    const packer = this.#packer
    if (packer === null) return { added: null, dropped }
    const added = { id: this.#lastId, bytes: packer.finish() }
    this.#arenas.set(added.id, { arena: added, used: this.#used, nouns: this.#nouns })
    this.#packer = null
    return { added, dropped }
  }
}

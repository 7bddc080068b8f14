// The nouns of the configuration as the workers get them: packed in memory that all threads share, so that what no request needs costs each worker a few
// bytes. Each push fills an arena; an arena of which little is still in use is emptied into the next one.
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

/** More arenas than this: the small ones are put together. */
const MAX_ARENAS = 32
const SMALL_BYTES = 1 << 20

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
    const all = [...this.#arenas.values()]
    const many = all.length >= MAX_ARENAS
    return new Set(
      all
        .filter(({ arena, used }) => used * 2 < arena.bytes.byteLength || (many && used < SMALL_BYTES))
        .map(({ arena }) => arena.id),
    )
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

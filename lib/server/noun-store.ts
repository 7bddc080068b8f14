// The nouns of the configuration as the workers get them: packed in memory that all threads share, so that what no request needs costs each worker a few
// bytes. Each push fills an arena; an arena of which little is still in use is emptied into the next one.
import { PackedReader } from '../base/packed-reader.ts'
import { Packer } from '../base/packer.ts'

/** Where a noun is. Whoever has it can read it, also when nobody else needs it any more. */
export interface Packed {
  readonly arena: HeldArena
  readonly at: number
  readonly size: number
}

export interface Arena {
  readonly id: number
  readonly bytes: SharedArrayBuffer
}

class HeldArena {
  readonly id: number
  /** null: it is being filled. */
  bytes: SharedArrayBuffer | null
  /** Of its bytes, about those that are in use: what nouns share is the first one's. */
  used: number
  /** Nouns in it that are in use. */
  nouns: number

  constructor(id: number) {
    this.id = id
    this.bytes = null
    this.used = 0
    this.nouns = 0
  }
}

/** Of an arena that was filled. Made anew by each call. */
export function readNoun({ arena, at }: Packed): unknown {
  return new PackedReader(arena.bytes as SharedArrayBuffer).read(at)
}

/** More arenas than this: small ones are put together. */
const MAX_ARENAS = 32
const SMALL_BYTES = 1 << 20
/** So many of the smallest are, and each further one that is no larger than those before it together: what was put together is so again only among its like. */
const TOGETHER = 16

export class NounStore {
  /** Those that were filled, by id. */
  readonly #arenas: Map<number, HeldArena>
  #lastId: number
  /** null: nothing was put since `finish`. */
  #filling: { readonly arena: HeldArena; readonly packer: Packer } | null

  constructor() {
    this.#arenas = new Map()
    this.#lastId = 0
    this.#filling = null
  }

  /** All there are. */
  get arenas(): readonly Arena[] {
    return Array.from(this.#arenas.values(), told)
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
    this.#filling ??= { arena: new HeldArena(++this.#lastId), packer: new Packer() }
    const { arena, packer } = this.#filling
    const before = packer.size
    const at = packer.put(noun)
    const size = packer.size - before
    arena.used += size
    arena.nouns++
    return { arena, at, size }
  }

  /** Of an arena that was filled, into the one that is being filled. */
  move(packed: Packed): Packed {
    const moved = this.put(readNoun(packed) as object)
    this.drop(packed)
    return moved
  }

  /** Nothing of it is needed any more. */
  clear(): void {
    this.#arenas.clear()
    this.#filling = null
  }

  /** It is needed no more. */
  drop({ arena, size }: Packed): void {
    arena.used -= size
    arena.nouns--
  }

  /** Ids of arenas whose nouns should be put anew. To be asked before `finish`. */
  sparse(): ReadonlySet<number> {
    const arenas = [...this.#arenas.values()]
    const sparse = new Set<number>()
    for (const arena of arenas) if (arena.used * 2 < told(arena).bytes.byteLength) sparse.add(arena.id)
    if (arenas.length < MAX_ARENAS) return sparse
    const small = arenas.filter(({ used }) => used < SMALL_BYTES).sort((a, b) => a.used - b.used)
    let sum = 0
    for (const [i, { id, used }] of small.entries()) {
      if (i >= TOGETHER && used > sum) break
      sparse.add(id)
      sum += used
    }
    return sparse
  }

  /** The arena that was filled, and ids of those that are empty now. */
  finish(): { readonly added: Arena | null; readonly dropped: readonly number[] } {
    const filled = this.#filling
    if (filled !== null) filled.arena.bytes = filled.packer.finish()
    const dropped = [...this.#arenas.values()].filter(({ nouns }) => nouns === 0).map(({ id }) => id)
    for (const id of dropped) this.#arenas.delete(id)
    if (filled === null) return { added: null, dropped }
    this.#arenas.set(filled.arena.id, filled.arena)
    this.#filling = null
    return { added: told(filled.arena), dropped }
  }
}

/** Of one that was filled. */
function told({ id, bytes }: HeldArena): Arena {
  return { id, bytes: bytes as SharedArrayBuffer }
}

// Whose nouns are in an arena, so that emptying a small one needs no look at all that there is. Of large ones it is not remembered: they are emptied once a
// large part of the configuration has changed.

export interface Owners {
  readonly clusters: ReadonlySet<string>
  /** Names of virtual hosts, by table. */
  readonly hosts: ReadonlyMap<string, ReadonlySet<string>>
}

interface Noun {
  /** Of a virtual host; null: it is a cluster. */
  readonly table: string | null
  readonly name: string
}

const MAX_NOUNS = 256

export class ArenaOwners {
  /** Null: too many. */
  readonly #byArena: Map<number, Noun[] | null>

  constructor() {
    this.#byArena = new Map()
  }

  /** @param table null: a cluster */
  note(arena: number, table: string | null, name: string): void {
    const nouns = this.#byArena.get(arena)
    if (nouns === null) return
    if (nouns === undefined) this.#byArena.set(arena, [{ table, name }])
    else if (nouns.length < MAX_NOUNS) nouns.push({ table, name })
    else this.#byArena.set(arena, null)
  }

  /** All who had nouns there; null: it may be anybody. */
  of(arenas: Iterable<number>): Owners | null {
    const clusters = new Set<string>()
    const hosts = new Map<string, Set<string>>()
    for (const arena of arenas) {
      const nouns = this.#byArena.get(arena)
      if (nouns === null || nouns === undefined) return null
      for (const { table, name } of nouns) {
        if (table === null) clusters.add(name)
        else hosts.set(table, (hosts.get(table) ?? new Set<string>()).add(name))
      }
    }
    return { clusters, hosts }
  }

  forget(arenas: Iterable<number>): void {
    for (const arena of arenas) this.#byArena.delete(arena)
  }

  clear(): void {
    this.#byArena.clear()
  }
}

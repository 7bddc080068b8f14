// Hot lane in `candidates`: runs for each request to a virtual host with many routes. It narrows the routes down to those
// whose path condition can hold; their whole predicates are still evaluated, in their order, by who asks.
import { beginsWith, type CompiledPath } from './conditions.ts'

/** Fewer routes than this are faster tried one by one (bench/micro/route/match.ts). */
const MIN_ROUTES = 12
/** Bound on the numbers held, so that a table of patterns and prefixes cannot grow quadratically. */
const MAX_ENTRIES = 1_000_000

/**
 * Literal prefixes of all routes in code unit order. Everything between a prefix of a path and the path itself begins with
 * that prefix, so the greatest entry not above the path either is its longest prefix or descends from it.
 */
export class PathIndex {
  readonly #prefixes: readonly string[]
  /** By prefix: the index of its longest proper prefix in the list; -1 without one. */
  readonly #parents: Int32Array
  /** By prefix: routes that can match a path with this as its longest prefix, ascending. */
  readonly #routes: readonly Int32Array[]
  /** Routes that can match any path. */
  readonly #everywhere: Int32Array
  /** By exact path: as `#routes`, with the routes that ask for exactly this path. */
  readonly #exact: ReadonlyMap<string, Int32Array>

  private constructor(
    prefixes: readonly string[],
    parents: Int32Array,
    routes: readonly Int32Array[],
    everywhere: Int32Array,
    exact: ReadonlyMap<string, Int32Array>,
  ) {
    this.#prefixes = prefixes
    this.#parents = parents
    this.#routes = routes
    this.#everywhere = everywhere
    this.#exact = exact
  }

  /** Indices of the routes to try, ascending. */
  candidates(path: string): Int32Array {
    const exact = this.#exact.get(path)
    if (exact !== undefined) return exact
    const at = this.#longestPrefix(path)
    return at < 0 ? this.#everywhere : (this.#routes[at] as Int32Array)
  }

  #longestPrefix(path: string): number {
    const prefixes = this.#prefixes
    let low = 0
    let high = prefixes.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((prefixes[middle] as string) <= path) low = middle + 1
      else high = middle
    }
    let at = low - 1
    while (at >= 0 && !beginsWith(path, prefixes[at] as string)) at = this.#parents[at] as number
    return at
  }

  /** null when trying all routes is as good. */
  static build(paths: readonly (CompiledPath | null)[]): PathIndex | null {
    if (paths.length < MIN_ROUTES) return null
    const everywhere: number[] = []
    const byPrefix = new Map<string, number[]>()
    const byExact = new Map<string, number[]>()
    paths.forEach((path, route) => {
      const literal = path === null ? null : path.literalPrefix()
      if (path === null || literal === null) everywhere.push(route)
      else append(path.isExact() ? byExact : byPrefix, literal, route)
    })
    if ((byPrefix.size + byExact.size) * everywhere.length > MAX_ENTRIES) return null

    const prefixes = [...byPrefix.keys()].sort(byCodeUnits)
    const parents = parentsOf(prefixes)
    const routes: Int32Array[] = []
    let entries = 0
    // A parent sorts before its children, so its list is there when they need it.
    prefixes.forEach((prefix, i) => {
      const parent = parents[i] as number
      const inherited = parent < 0 ? everywhere : (routes[parent] as Int32Array)
      const own = byPrefix.get(prefix) as number[]
      routes.push(ascending(inherited, own))
      entries += inherited.length + own.length
    })
    if (entries > MAX_ENTRIES) return null
    const prefixOnly = new PathIndex(prefixes, parents, routes, Int32Array.from(everywhere), new Map())
    const exact = new Map<string, Int32Array>()
    for (const [path, own] of byExact) exact.set(path, ascending(prefixOnly.candidates(path), own))
    return new PathIndex(prefixes, parents, routes, Int32Array.from(everywhere), exact)
  }
}

function append(map: Map<string, number[]>, key: string, route: number): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [route])
  else list.push(route)
}

function ascending(a: ArrayLike<number>, b: ArrayLike<number>): Int32Array {
  return Int32Array.from([...Array.from(a), ...Array.from(b)]).sort()
}

/** The order of `<` on strings, which `longestPrefix` relies on. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function parentsOf(prefixes: readonly string[]): Int32Array {
  const parents = new Int32Array(prefixes.length)
  const open: number[] = []
  prefixes.forEach((prefix, i) => {
    while (open.length > 0 && !prefix.startsWith(prefixes[open[open.length - 1] as number] as string)) open.pop()
    parents[i] = open.length === 0 ? -1 : (open[open.length - 1] as number)
    open.push(i)
  })
  return parents
}

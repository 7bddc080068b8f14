// Hot lane in `find`: runs for each request. Virtual host look-up as Envoy does it (RouteConfiguration.virtual_hosts.domains):
// exact name, then the longest `*.suffix`, then the longest `prefix.*`, then `*`.

import { lowerCase } from './authority.ts'

export const BY_EXACT = 0
export const BY_SUFFIX = 1
export const BY_PREFIX = 2
export const BY_STAR = 3

export interface DomainMatch<T> {
  readonly value: T
  /** BY_…. */
  readonly how: number
}

/** Made when its domain is first asked for: most domains of a large table never are. */
class Match<T> implements DomainMatch<T> {
  readonly value: T
  readonly how: number

  constructor(value: T, how: number) {
    this.value = value
    this.how = how
  }
}

export class DomainIndex<T extends number | string | object> {
  readonly #exact: Map<string, T | Match<T>>
  /** By what follows the star: `.foo.com`. */
  readonly #suffixes: Map<string, T | Match<T>>
  /** By what precedes it: `foo.`. */
  readonly #prefixes: Map<string, T | Match<T>>
  /** Lengths that occur, longest first. */
  readonly #suffixLengths: readonly number[]
  readonly #prefixLengths: readonly number[]
  readonly #star: Match<T> | null

  /** Domains in lower case. The first owner of a domain keeps it. */
  constructor(entries: Iterable<readonly [domain: string, value: T]>) {
    this.#exact = new Map()
    this.#suffixes = new Map()
    this.#prefixes = new Map()
    let star: Match<T> | null = null
    for (const [domain, value] of entries) {
      if (domain === '*') star ??= new Match(value, BY_STAR)
      else if (domain.startsWith('*')) keepFirst(this.#suffixes, domain.substring(1), value)
      else if (domain.endsWith('*')) keepFirst(this.#prefixes, domain.substring(0, domain.length - 1), value)
      else keepFirst(this.#exact, bracketed(domain), value)
    }
    this.#suffixLengths = lengthsOf(this.#suffixes)
    this.#prefixLengths = lengthsOf(this.#prefixes)
    this.#star = star
  }

  /** `written` is a host without port, in any case. */
  find(written: string): DomainMatch<T> | null {
    // Keys are in lower case: a hit needs no look at the case of what was written.
    const asWritten = matchIn(this.#exact, written, BY_EXACT)
    if (asWritten !== null) return asWritten
    const host = lowerCase(written)
    const exact = host === written ? null : matchIn(this.#exact, host, BY_EXACT)
    if (exact !== null) return exact
    // A star stands for at least one character: neither `foo.com` nor `.foo.com` is `*.foo.com`.
    const suffixLengths = this.#suffixLengths
    for (let i = 0; i < suffixLengths.length; i++) {
      const length = suffixLengths[i] as number
      if (length >= host.length) continue
      const found = matchIn(this.#suffixes, host.substring(host.length - length), BY_SUFFIX)
      if (found !== null) return found
    }
    const prefixLengths = this.#prefixLengths
    for (let i = 0; i < prefixLengths.length; i++) {
      const length = prefixLengths[i] as number
      if (length >= host.length) continue
      const found = matchIn(this.#prefixes, host.substring(0, length), BY_PREFIX)
      if (found !== null) return found
    }
    return this.#star
  }
}

function matchIn<T>(map: Map<string, T | Match<T>>, key: string, how: number): Match<T> | null {
  const found = map.get(key)
  if (found === undefined) return null
  if (found instanceof Match) return found
  const match = new Match(found, how)
  map.set(key, match)
  return match
}

function keepFirst<V>(map: Map<string, V>, key: string, value: V): void {
  if (!map.has(key)) map.set(key, value)
}

/** An authority has IPv6 addresses in brackets; a domain may come without. */
function bracketed(domain: string): string {
  return domain.indexOf(':') !== domain.lastIndexOf(':') && !domain.startsWith('[') ? `[${domain}]` : domain
}

function lengthsOf(map: ReadonlyMap<string, unknown>): readonly number[] {
  return [...new Set([...map.keys()].map((k) => k.length))].sort((a, b) => b - a)
}

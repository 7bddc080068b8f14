// Hot lane in `find`: runs for each request. Virtual host look-up as Envoy does it (RouteConfiguration.virtual_hosts.domains):
// exact name, then the longest `*.suffix`, then the longest `prefix.*`, then `*`.

import { lowerCase } from './authority.ts'

export const BY_EXACT = 0
export const BY_SUFFIX = 1
export const BY_PREFIX = 2
export const BY_STAR = 3

export interface DomainMatch<T> {
  readonly value: T
  /** As configured. */
  readonly domain: string
  /** BY_…. */
  readonly how: number
}

export class DomainIndex<T> {
  readonly #exact: Map<string, DomainMatch<T>>
  /** By what follows the star: `.foo.com`. */
  readonly #suffixes: Map<string, DomainMatch<T>>
  /** By what precedes it: `foo.`. */
  readonly #prefixes: Map<string, DomainMatch<T>>
  /** Lengths that occur, longest first. */
  readonly #suffixLengths: readonly number[]
  readonly #prefixLengths: readonly number[]
  readonly #star: DomainMatch<T> | null

  /** Domains in lower case. The first owner of a domain keeps it. */
  constructor(entries: Iterable<readonly [domain: string, value: T]>) {
    this.#exact = new Map()
    this.#suffixes = new Map()
    this.#prefixes = new Map()
    let star: DomainMatch<T> | null = null
    for (const [domain, value] of entries) {
      if (domain === '*') star ??= { value, domain, how: BY_STAR }
      else if (domain.startsWith('*')) keepFirst(this.#suffixes, domain.substring(1), { value, domain, how: BY_SUFFIX })
      else if (domain.endsWith('*')) {
        keepFirst(this.#prefixes, domain.substring(0, domain.length - 1), { value, domain, how: BY_PREFIX })
      } else keepFirst(this.#exact, bracketed(domain), { value, domain, how: BY_EXACT })
    }
    this.#suffixLengths = lengthsOf(this.#suffixes)
    this.#prefixLengths = lengthsOf(this.#prefixes)
    this.#star = star
  }

  /** `written` is a host without port, in any case. */
  find(written: string): DomainMatch<T> | null {
    // Keys are in lower case: a hit needs no look at the case of what was written.
    const asWritten = this.#exact.get(written)
    if (asWritten !== undefined) return asWritten
    const host = lowerCase(written)
    const exact = host === written ? undefined : this.#exact.get(host)
    if (exact !== undefined) return exact
    // A star stands for at least one character: neither `foo.com` nor `.foo.com` is `*.foo.com`.
    const suffixLengths = this.#suffixLengths
    for (let i = 0; i < suffixLengths.length; i++) {
      const length = suffixLengths[i] as number
      if (length >= host.length) continue
      const found = this.#suffixes.get(host.substring(host.length - length))
      if (found !== undefined) return found
    }
    const prefixLengths = this.#prefixLengths
    for (let i = 0; i < prefixLengths.length; i++) {
      const length = prefixLengths[i] as number
      if (length >= host.length) continue
      const found = this.#prefixes.get(host.substring(0, length))
      if (found !== undefined) return found
    }
    return this.#star
  }
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

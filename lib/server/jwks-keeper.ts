// Keys of those who issue tokens, fetched where configuration says. Runs on the main thread: each address is asked once, however many chains use its keys, and
// workers get the keys with their configuration. What was fetched last stays in use while it cannot be fetched again.

import type { JwksSource, JwtAuthentication, JwtProvider } from '../state/jwt.ts'
import type { FilterChain, Listener } from '../state/listener.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { fetchJwks, NotYet } from './jwks-fetch.ts'

export interface JwksKeeperOptions {
  /** What was injected last is not up to date any more. */
  readonly onChange: () => void
  readonly log: { info(message: string): void; warning(message: string): void }
  /** Rejects with a NotYet where nobody could be asked. Default: `fetchJwks`. */
  readonly fetch?: (source: JwksSource) => Promise<string>
  /** Calls back once; returns how to cancel. Default: an unref'd setTimeout. */
  readonly schedule?: (callback: () => void, delayMs: number) => () => void
  /** 0 ≤ n < 1. Default: Math.random. */
  readonly draw?: () => number
  /** Milliseconds. Default: Date.now. */
  readonly now?: () => number
}

/** PILOT_JWT_PUB_KEY_REFRESH_INTERVAL and its fellows of Istio: what is not had at all is asked for sooner. */
const RETRY_MS = { known: { first: 60_000, last: 3_600_000 }, unknown: { first: 1000, last: 60_000 } }
const MIN_REFRESH_MS = 1000
/** Keys that were not refreshed for so long are forgotten: their issuer may have withdrawn them. */
const MAX_AGE_MS = 7 * 86_400_000

interface Address {
  readonly source: JwksSource
  /** Empty: never fetched, or too long ago. */
  jwks: string
  fetchedMs: number
  /** Consecutive. */
  failures: number
  /** Of these the log tells. */
  told: boolean
  /** The fetch that is under way; null: none is. */
  fetching: Promise<void> | null
  /** When the last fetch began, and whether somebody was asked by it. */
  begunMs: number
  asked: boolean
  cancel: () => void
  dropped: boolean
}

export class JwksKeeper {
  readonly #options: JwksKeeperOptions
  readonly #addresses: Map<string, Address>
  /** Which keys a listener needs; computed once for each. */
  readonly #needs: WeakMap<Listener, readonly JwksSource[]>
  /** With the keys that are known. */
  #listeners: WeakMap<Listener, Listener>
  #filters: WeakMap<JwtAuthentication, JwtAuthentication>
  #injected: { readonly from: Snapshot; readonly snapshot: Snapshot } | null

  constructor(options: JwksKeeperOptions) {
    this.#options = options
    this.#addresses = new Map()
    this.#needs = new WeakMap()
    this.#listeners = new WeakMap()
    this.#filters = new WeakMap()
    this.#injected = null
  }

  /** Of a new snapshot: keys that are new are fetched now, those that nobody needs are forgotten. */
  update(listeners: readonly Listener[]): void {
    const wanted = new Map(listeners.flatMap((l) => this.#needsOf(l)).map((source) => [keyOf(source), source]))
    for (const [key, address] of this.#addresses) {
      if (wanted.has(key)) continue
      drop(address)
      this.#addresses.delete(key)
    }
    for (const [key, source] of wanted) if (!this.#addresses.has(key)) this.#add(key, source)
  }

  /** The snapshot with the keys that are known. A listener without such is the same object as before. */
  inject(snapshot: Snapshot): Snapshot {
    if (this.#injected?.from === snapshot) return this.#injected.snapshot
    if (!snapshot.listeners.some((l) => this.#needsOf(l).length > 0)) return snapshot
    const injected = { ...snapshot, listeners: snapshot.listeners.map((l) => this.#withKeys(l)) }
    this.#injected = { from: snapshot, snapshot: injected }
    return injected
  }

  /** A cluster, or the certificates that it is spoken to with, may be there now, or be others: what could not be fetched through one is tried again. */
  retry(): void {
    const { now = Date.now } = this.#options
    for (const address of this.#addresses.values()) {
      if (address.source.through === null || address.jwks !== '' || address.fetching !== null) continue
      address.cancel()
      const waitMs = address.asked ? Math.max(0, address.begunMs + MIN_REFRESH_MS - now()) : 0
      if (waitMs === 0) this.#begin(address)
      else address.cancel = this.#schedule(() => this.#begin(address), waitMs)
    }
  }

  /** Until each address without keys that is being asked has answered, or not, but no longer than `limitMs`. */
  async settled(limitMs: number): Promise<void> {
    const waited = [...this.#addresses.values()].flatMap(({ jwks, fetching }) =>
      jwks === '' && fetching !== null ? [fetching] : [],
    )
    if (waited.length === 0) return
    let cancel = () => {}
    const limit = new Promise<void>((resolve) => {
      cancel = this.#schedule(resolve, limitMs)
    })
    await Promise.race([limit, Promise.all(waited)])
    cancel()
  }

  stop(): void {
    for (const address of this.#addresses.values()) drop(address)
    this.#addresses.clear()
  }

  #needsOf(listener: Listener): readonly JwksSource[] {
    const known = this.#needs.get(listener)
    if (known !== undefined) return known
    const needs = chainsOf(listener).flatMap(({ network }) =>
      network.kind === 'http' && network.jwt !== null
        ? network.jwt.providers.map((p) => p.keys).filter(({ uri }) => uri !== '')
        : [],
    )
    this.#needs.set(listener, needs)
    return needs
  }

  #withKeys(listener: Listener): Listener {
    if (this.#needsOf(listener).length === 0) return listener
    const known = this.#listeners.get(listener)
    if (known !== undefined) return known
    const chain = (c: FilterChain): FilterChain => {
      const { network } = c
      if (network.kind !== 'http' || network.jwt === null) return c
      return { ...c, network: { ...network, jwt: this.#filterWithKeys(network.jwt) } }
    }
    const { filterChains, defaultFilterChain } = listener
    const made: Listener = {
      ...listener,
      filterChains: filterChains.map(chain),
      defaultFilterChain: defaultFilterChain === null ? null : chain(defaultFilterChain),
    }
    this.#listeners.set(listener, made)
    return made
  }

  #filterWithKeys(filter: JwtAuthentication): JwtAuthentication {
    const known = this.#filters.get(filter)
    if (known !== undefined) return known
    const provider = (p: JwtProvider): JwtProvider => {
      const jwks = this.#addresses.get(keyOf(p.keys))?.jwks ?? ''
      return p.keys.uri === '' ? p : { ...p, keys: { ...p.keys, jwks } }
    }
    const made = { ...filter, providers: filter.providers.map(provider) }
    this.#filters.set(filter, made)
    return made
  }

  #add(key: string, source: JwksSource): void {
    const address: Address = {
      source,
      jwks: '',
      fetchedMs: 0,
      failures: 0,
      told: false,
      fetching: null,
      begunMs: 0,
      asked: false,
      cancel: () => {},
      dropped: false,
    }
    this.#addresses.set(key, address)
    this.#begin(address)
  }

  #begin(address: Address): void {
    const { now = Date.now } = this.#options
    address.begunMs = now()
    address.asked = true
    address.fetching = this.#fetch(address).finally(() => {
      address.fetching = null
    })
  }

  async #fetch(address: Address): Promise<void> {
    const { fetch = fetchJwks, log, now = Date.now } = this.#options
    const { source } = address
    try {
      const jwks = await fetch(source)
      if (address.dropped) return
      if (address.told) log.info(`the keys at ${shown(source)} could be fetched again`)
      address.failures = 0
      address.told = false
      address.fetchedMs = now()
      this.#use(address, jwks)
    } catch (error) {
      if (address.dropped) return
      address.asked = !(error instanceof NotYet)
      // What it waits for may just be coming: that is told when it has not come a second later.
      address.failures++
      if (!address.told && (address.asked || address.failures > 1)) {
        address.told = true
        log.warning(failureText(address, error as Error))
      }
      if (address.jwks !== '' && now() - address.fetchedMs > MAX_AGE_MS) this.#use(address, '')
    }
    address.cancel = this.#schedule(() => this.#begin(address), this.#delayOf(address))
  }

  #use(address: Address, jwks: string): void {
    if (address.jwks === jwks) return
    address.jwks = jwks
    this.#listeners = new WeakMap()
    this.#filters = new WeakMap()
    this.#injected = null
    this.#options.onChange()
  }

  /** Proxies that began together shall not ask together. */
  #delayOf({ source, jwks, failures }: Address): number {
    const { draw = Math.random } = this.#options
    const { first, last } = jwks === '' ? RETRY_MS.unknown : RETRY_MS.known
    const againMs = source.through?.againMs ?? 0
    if (failures > 0 && againMs > 0) return Math.max(againMs, MIN_REFRESH_MS)
    const delay =
      failures === 0 ? Math.max(source.refreshMs, MIN_REFRESH_MS) : Math.min(last, first * 2 ** Math.min(failures - 1, 16))
    return delay * (0.9 + 0.2 * draw())
  }

  #schedule(callback: () => void, delayMs: number): () => void {
    return (this.#options.schedule ?? unrefTimeout)(callback, delayMs)
  }
}

function chainsOf({ filterChains, defaultFilterChain }: Listener): readonly FilterChain[] {
  return defaultFilterChain === null ? filterChains : [...filterChains, defaultFilterChain]
}

function keyOf({ uri, discovery, through }: JwksSource): string {
  return `${discovery} ${through?.cluster ?? ''} ${uri}`
}

function failureText({ source, jwks }: Address, { message }: Error): string {
  const kept = jwks === '' ? 'tokens that need them are refused' : 'those that were fetched last stay in use'
  return `the keys at ${shown(source)} cannot be fetched: ${message}; ${kept}`
}

/** Without what may be a secret in it. */
function shown({ uri, through }: JwksSource): string {
  const { origin, pathname } = URL.canParse(uri) ? new URL(uri) : { origin: 'an address that is none', pathname: '' }
  return `${origin}${pathname}${through === null ? '' : ` (through ${through.cluster})`}`
}

function drop(address: Address): void {
  address.dropped = true
  address.cancel()
}

function unrefTimeout(callback: () => void, delayMs: number): () => void {
  const timer = setTimeout(callback, delayMs)
  timer.unref()
  return () => clearTimeout(timer)
}

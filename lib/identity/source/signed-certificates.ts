// Certificates from a CA: makes keys, asks, renews in time, and tries again.
//
// States of an entry: waiting for its turn (`queued`), being fetched (`abort` set), or sleeping until `renewalAtMs` (`cancel` set).

import { checkCertificate } from './certificate-check.ts'
import type { CertificateKeeper, IdentityStatus, ManagerFace } from './certificate-manager.ts'
import { type SigningSource, SourceError } from './certificate-source.ts'
import { generateKey, privateKeyPem } from './private-key.ts'
import { renewalAtMs, retryDelayMs } from './rotation.ts'
import { signingRequest } from './signing-request.ts'

/** As ztunnel. */
const MOST_AT_ONCE = 8
/** One try, connecting included. */
const TRY_MS = 30_000
/** Clocks jump and machines sleep: it is looked again at least this often. Node's timers end at 24.8 days. */
const LONGEST_SLEEP_MS = 600_000

interface Entry {
  readonly identity: string
  queued: boolean
  abort: AbortController | null
  cancel: (() => void) | null
  /** Epoch milliseconds. */
  renewalAtMs: number
  /** Of the certificate in use; 0: there is none. */
  notAfterMs: number
  failures: number
  lastError: string
  toldExpired: boolean
  dropped: boolean
}

export class SignedCertificates implements CertificateKeeper {
  readonly #manager: ManagerFace
  readonly #source: SigningSource
  readonly #entries: Map<string, Entry>
  /** The next is first. */
  readonly #queue: Entry[]
  #fetching: number
  #closed: boolean

  constructor(manager: ManagerFace, source: SigningSource) {
    this.#manager = manager
    this.#source = source
    this.#entries = new Map()
    this.#queue = []
    this.#fetching = 0
    this.#closed = false
  }

  /** It fetches what is wanted from then on. */
  start(): void {}

  want(identity: string, urgent: boolean): void {
    const known = this.#entries.get(identity)
    if (known !== undefined) {
      if (urgent && known.queued) this.#enqueue(known, true)
      return
    }
    const entry: Entry = {
      identity,
      queued: false,
      abort: null,
      cancel: null,
      renewalAtMs: 0,
      notAfterMs: 0,
      failures: 0,
      lastError: '',
      toldExpired: false,
      dropped: false,
    }
    this.#entries.set(identity, entry)
    this.#enqueue(entry, urgent)
  }

  drop(identity: string): void {
    const entry = this.#entries.get(identity)
    if (entry === undefined) return
    this.#entries.delete(identity)
    entry.dropped = true
    entry.cancel?.()
    entry.abort?.abort()
    if (entry.queued) this.#queue.splice(this.#queue.indexOf(entry), 1)
  }

  status(): readonly Omit<IdentityStatus, 'source' | 'state' | 'notBeforeMs' | 'notAfterMs'>[] {
    return [...this.#entries.values()].map(({ identity, renewalAtMs, failures, lastError }) => ({
      identity,
      renewalAtMs,
      failures,
      lastError,
    }))
  }

  close(): void {
    this.#closed = true
    for (const identity of [...this.#entries.keys()]) this.drop(identity)
  }

  #enqueue(entry: Entry, first: boolean): void {
    if (entry.queued) this.#queue.splice(this.#queue.indexOf(entry), 1)
    entry.queued = true
    if (first) this.#queue.unshift(entry)
    else this.#queue.push(entry)
    this.#next()
  }

  #next(): void {
    while (!this.#closed && this.#fetching < MOST_AT_ONCE) {
      const entry = this.#queue.shift()
      if (entry === undefined) return
      entry.queued = false
      this.#fetching++
      void this.#fetch(entry).finally(() => {
        this.#fetching--
        this.#next()
      })
    }
  }

  /** Never rejects. */
  async #fetch(entry: Entry): Promise<void> {
    const abort = new AbortController()
    entry.abort = abort
    const cancel = this.#manager.schedule(
      () => abort.abort(new SourceError('unavailable', `${this.#source.name} has not answered within ${TRY_MS / 1000}s`)),
      TRY_MS,
    )
    try {
      await this.#obtain(entry, abort.signal)
    } catch (error) {
      if (!entry.dropped) this.#failed(entry, error)
    } finally {
      cancel()
      entry.abort = null
    }
  }

  async #obtain(entry: Entry, signal: AbortSignal): Promise<void> {
    const { keyKind, ttlMs, now, random, rotation, trustDomain, log } = this.#manager.options
    const { identity } = entry
    const key = await generateKey(keyKind)
    const csrPem = await signingRequest(identity, key)
    signal.throwIfAborted()
    const answer = await orAborted(this.#source.sign({ identity, csrPem, ttlMs }, signal), signal)
    const nowMs = now()
    const checked = checkCertificate({ ...answer, key, expectedIdentity: identity, trustDomain, nowMs })
    if (!checked.ok) throw new SourceError('invalid', `${this.#source.name} gave what cannot be used: ${checked.error}`)
    const { certificate } = checked
    entry.notAfterMs = certificate.notAfterMs
    entry.renewalAtMs = renewalAtMs(nowMs, certificate.notAfterMs, rotation, random())
    if (entry.failures > 0) log.info(`${identity}: ${this.#source.name} has given a certificate after ${entry.failures} failures`)
    entry.failures = 0
    entry.lastError = ''
    entry.toldExpired = false
    this.#sleep(entry)
    this.#manager.publish(
      [{ ...certificate, privateKeyPem: privateKeyPem(key) }],
      [],
      [{ trustDomain, rootsPem: answer.rootsPem }],
    )
  }

  #failed(entry: Entry, error: unknown): void {
    const { log, now, random } = this.#manager.options
    const nowMs = now()
    const message = error instanceof Error ? error.message : String(error)
    const delayMs = retryDelayMs(++entry.failures, entry.notAfterMs, nowMs, random())
    entry.renewalAtMs = nowMs + delayMs
    const expired = entry.notAfterMs > 0 && entry.notAfterMs <= nowMs
    // While it goes on, only what is new is worth a line.
    if (message !== entry.lastError || expired !== entry.toldExpired)
      log.warning(`no certificate for ${entry.identity}: ${message}; ${this.#outlook(entry, nowMs)}`)
    entry.lastError = message
    entry.toldExpired = expired
    this.#sleep(entry)
  }

  #outlook(entry: Entry, nowMs: number): string {
    const next = `next try in ${((entry.renewalAtMs - nowMs) / 1000).toFixed(1)}s`
    if (entry.notAfterMs === 0) return `${next}; there is none to use meanwhile`
    const end = new Date(entry.notAfterMs).toISOString()
    return entry.notAfterMs > nowMs
      ? `${next}; the present one is valid until ${end}`
      : `${next}; the present one expired at ${end}`
  }

  #sleep(entry: Entry): void {
    const leftMs = entry.renewalAtMs - this.#manager.options.now()
    entry.cancel = this.#manager.schedule(
      () => {
        entry.cancel = null
        if (this.#manager.options.now() < entry.renewalAtMs) this.#sleep(entry)
        else this.#enqueue(entry, false)
      },
      Math.min(LONGEST_SLEEP_MS, Math.max(0, Math.ceil(leftMs))),
    )
  }
}

/** A source that does not heed the signal must not keep its place. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

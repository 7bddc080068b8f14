// Hot lane: addresses of host names, which the main thread looks up: a worker asks once for all of its connections that wait, and remembers the answer.
import type { Io } from '../transport/io.ts'

export interface LookupOwner {
  /** null: the look-up failed. In a later turn. */
  onAddresses(hostname: string, addresses: readonly string[] | null): void
}

interface Entry {
  addresses: readonly string[] | null
  /** Monotonic ms; 0: the answer has not come. */
  validUntilMs: number
  waiting: LookupOwner[]
}

/** Names that are remembered; who asks for more than that gets fresh answers. */
const MAX_ENTRIES = 4096

export class Lookups {
  private readonly io: Io
  private readonly ask: (hostname: string) => void
  private readonly entries: Map<string, Entry>

  /** `ask`: of the main thread, which answers with `answered`. */
  constructor(io: Io, ask: (hostname: string) => void) {
    this.io = io
    this.ask = ask
    this.entries = new Map()
  }

  find(hostname: string, owner: LookupOwner): void {
    const entry = this.entries.get(hostname)
    if (entry === undefined || (entry.validUntilMs > 0 && entry.validUntilMs <= this.io.clock.monotonicMs)) {
      if (this.entries.size >= MAX_ENTRIES) this.forgetAnswered()
      this.entries.set(hostname, { addresses: null, validUntilMs: 0, waiting: [owner] })
      this.ask(hostname)
    } else if (entry.validUntilMs === 0) entry.waiting.push(owner)
    else setImmediate(() => this.io.run('lookup', () => owner.onAddresses(hostname, entry.addresses)))
  }

  answered(hostname: string, addresses: readonly string[] | null, ttlMs: number): void {
    const entry = this.entries.get(hostname)
    if (entry === undefined) return
    entry.addresses = addresses
    entry.validUntilMs = this.io.clock.monotonicMs + Math.max(1, ttlMs)
    for (const owner of entry.waiting.splice(0)) this.io.run('lookup', () => owner.onAddresses(hostname, addresses))
  }

  private forgetAnswered(): void {
    for (const [name, { validUntilMs }] of this.entries) if (validUntilMs > 0) this.entries.delete(name)
  }
}

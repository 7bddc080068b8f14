// Hot lane: `pick` runs for each request. RING_HASH (envoy.extensions.load_balancing_policies.ring_hash.v3): every host has entries on a ring
// of 64-bit numbers, and a hash goes to the next one. Entry for entry Envoy's ring, so that a mesh in which some proxies are Envoys and some
// are not sends a session to the same endpoint from everywhere.
import { XxHash64 } from '../../base/xx-hash64.ts'
import { HashInput, hashShares } from './hash-shares.ts'
import type { Host } from './host.ts'
import { type Balancer, EMPTY_PICKER, type PickContext, type Picker } from './picker.ts'

const TWO_32 = 0x1_0000_0000

/** Entries in ascending order. */
class RingPicker implements Picker {
  readonly #hosts: readonly Host[]
  readonly #high: Uint32Array
  readonly #low: Uint32Array
  /** Index into `#hosts`. */
  readonly #owner: Uint32Array
  /** As many as entries, each for as large a part of the numbers: the first entry that is in this part or behind it. */
  readonly #parts: Uint32Array

  constructor(hosts: readonly Host[], high: Uint32Array, low: Uint32Array, owner: Uint32Array, parts: Uint32Array) {
    this.#hosts = hosts
    this.#high = high
    this.#low = low
    this.#owner = owner
    this.#parts = parts
  }

  pick(ctx: PickContext): Host | null {
    const high = ctx.hashed ? ctx.hashHigh : ctx.draw
    const low = ctx.hashed ? ctx.hashLow : ctx.draw2
    const n = this.#owner.length
    // Entries are spread evenly, so the part that the hash falls into leaves about one to look at.
    let at = this.#parts[Math.floor((high * n) / TWO_32)] as number
    while (at < n && isBelow(this.#high[at] as number, this.#low[at] as number, high, low)) at++
    if (at === n) at = 0
    // As though the entries found before were not there (Envoy). A request without a hash brings other draws instead.
    if (ctx.hashed && ctx.again > 0) at = (at + ctx.again) % n
    return this.#hosts[this.#owner[at] as number] as Host
  }
}

function isBelow(aHigh: number, aLow: number, bHigh: number, bLow: number): boolean {
  return aHigh < bHigh || (aHigh === bHigh && aLow < bLow)
}

export class RingHash implements Balancer {
  readonly #minimum: number
  readonly #maximum: number
  readonly #input: HashInput
  #picker: Picker

  /** Entries of the ring; the maximum wins where they conflict. */
  constructor(minimumRingSize: number, maximumRingSize: number) {
    this.#minimum = minimumRingSize
    this.#maximum = maximumRingSize
    this.#input = new HashInput()
    this.#picker = EMPTY_PICKER
  }

  update(hosts: readonly Host[], _nowMs: number, weights: readonly number[] | null = null): Picker {
    if (!this.#input.same(hosts, weights)) this.#picker = this.#build(hosts, weights)
    return this.#picker
  }

  #build(hosts: readonly Host[], weights: readonly number[] | null): Picker {
    if (hosts.length === 0) return EMPTY_PICKER
    const counts = this.#counts(hosts, weights)
    const n = counts.reduce((a, b) => a + b, 0)
    const high = new Uint32Array(n)
    const low = new Uint32Array(n)
    const owner = new Uint32Array(n)
    const hash = new XxHash64()
    let at = 0
    for (let i = 0; i < hosts.length; i++) {
      const key = `${(hosts[i] as Host).address}_`
      for (let k = 0; k < (counts[i] as number); k++) {
        hash.hash(key + k)
        high[at] = hash.high
        low[at] = hash.low
        owner[at++] = i
      }
    }
    return sorted(hosts, high, low, owner)
  }

  /** Entries for each host. Running sums decide, so that the least host gets a whole number and fractions of others are not lost (Envoy). */
  #counts(hosts: readonly Host[], weights: readonly number[] | null): Uint32Array {
    const { shares, min } = hashShares(hosts, weights)
    const scale = Math.min(Math.ceil(min * this.#minimum) / min, this.#maximum)
    const counts = new Uint32Array(hosts.length)
    let current = 0
    let target = 0
    for (let i = 0; i < hosts.length; i++) {
      target += scale * (shares[i] as number)
      for (; current < target; current++) counts[i]!++
    }
    return counts
  }
}

/** Sorts by parts: hashes are spread evenly, so a part has about one, and few have to change places inside of it. */
function sorted(hosts: readonly Host[], high: Uint32Array, low: Uint32Array, owner: Uint32Array): Picker {
  const n = owner.length
  const parts = new Uint32Array(n)
  const partOf = (i: number): number => Math.floor(((high[i] as number) * n) / TWO_32)
  for (let i = 0; i < n; i++) parts[partOf(i)]!++
  for (let p = 0, sum = 0; p < n; p++) {
    const count = parts[p] as number
    parts[p] = sum
    sum += count
  }
  const next = parts.slice()
  const toHigh = new Uint32Array(n)
  const toLow = new Uint32Array(n)
  const toOwner = new Uint32Array(n)
  for (let i = 0; i < n; i++) {
    const part = partOf(i)
    let at = next[part]!++
    const h = high[i] as number
    const l = low[i] as number
    for (; at > (parts[part] as number) && isBelow(h, l, toHigh[at - 1] as number, toLow[at - 1] as number); at--) {
      toHigh[at] = toHigh[at - 1] as number
      toLow[at] = toLow[at - 1] as number
      toOwner[at] = toOwner[at - 1] as number
    }
    toHigh[at] = h
    toLow[at] = l
    toOwner[at] = owner[i] as number
  }
  return new RingPicker(hosts, toHigh, toLow, toOwner, parts)
}

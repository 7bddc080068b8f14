// Hot lane: `pick` runs for each request. MAGLEV (envoy.extensions.load_balancing_policies.maglev.v3; Eisenbud et al., "Maglev", 2016, §3.4): a
// table of prime size, filled by the hosts in turn, each in an order of its own. Slot for slot Envoy's table.
import { XxHash64 } from '../../base/xx-hash64.ts'
import { HashInput, hashShares } from './hash-shares.ts'
import type { Host } from './host.ts'
import { type Balancer, EMPTY_PICKER, type PickContext, type Picker } from './picker.ts'

class TablePicker implements Picker {
  readonly #hosts: readonly Host[]
  /** Index into `#hosts`. */
  readonly #table: Int32Array

  constructor(hosts: readonly Host[], table: Int32Array) {
    this.#hosts = hosts
    this.#table = table
  }

  pick(ctx: PickContext): Host | null {
    let high = ctx.hashed ? ctx.hashHigh : ctx.draw
    let low = ctx.hashed ? ctx.hashLow : ctx.draw2
    // The complement of the count changes nearly all bits (Envoy). A request without a hash brings other draws instead.
    if (ctx.hashed && ctx.again > 0) {
      high = ~high >>> 0
      low = (low ^ -ctx.again) >>> 0
    }
    return this.#hosts[this.#table[remainder(high, low, this.#table.length)] as number] as Host
  }
}

/** Of a 64-bit number by one below 2²⁶, in steps that a double holds exactly. */
function remainder(high: number, low: number, by: number): number {
  const upper = ((high % by) * 0x10000 + (low >>> 16)) % by
  return (upper * 0x10000 + (low & 0xffff)) % by
}

export class Maglev implements Balancer {
  readonly #size: number
  readonly #input: HashInput
  #picker: Picker

  /** A prime. */
  constructor(tableSize: number) {
    this.#size = tableSize
    this.#input = new HashInput()
    this.#picker = EMPTY_PICKER
  }

  update(hosts: readonly Host[], _nowMs: number, weights: readonly number[] | null = null): Picker {
    if (!this.#input.same(hosts, weights)) this.#picker = this.#build(hosts, weights)
    return this.#picker
  }

  #build(hosts: readonly Host[], weights: readonly number[] | null): Picker {
    if (hosts.length === 0) return EMPTY_PICKER
    const size = this.#size
    const { shares, max } = hashShares(hosts, weights)
    // The order in which hosts take turns must not depend on the order in which they are listed.
    const order = hosts.map((_, i) => i).sort((a, b) => ((hosts[a] as Host).address < (hosts[b] as Host).address ? -1 : 1))
    const hash = new XxHash64()
    const slot = new Uint32Array(hosts.length)
    const skip = new Uint32Array(hosts.length)
    for (let i = 0; i < hosts.length; i++) {
      const key = (hosts[i] as Host).address
      hash.hash(key)
      slot[i] = remainder(hash.high, hash.low, size)
      hash.hash(key, 0, 1)
      skip[i] = remainder(hash.high, hash.low, size - 1) + 1
    }
    const table = new Int32Array(size).fill(-1)
    /** How much of the heaviest host's turns this one has used; it sits out until its share has caught up. */
    const used = new Float64Array(hosts.length)
    let filled = 0
    for (let turn = 1; filled < size; turn++) {
      for (let k = 0; k < order.length && filled < size; k++) {
        const i = order[k] as number
        if (turn * (shares[i] as number) < (used[i] as number)) continue
        used[i]! += max
        let at = slot[i] as number
        while (table[at] !== -1) at = after(at, skip[i] as number, size)
        table[at] = i
        slot[i] = after(at, skip[i] as number, size)
        filled++
      }
    }
    return new TablePicker(hosts, table)
  }
}

function after(slot: number, skip: number, size: number): number {
  const next = slot + skip
  return next >= size ? next - size : next
}

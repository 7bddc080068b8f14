import type { Host } from './host.ts'

/**
 * What a pick may look at. The caller owns one and fills it anew; chance, time and hashes come in as numbers, so that a pick can be
 * repeated and explained.
 */
export class PickContext {
  /** Uniform in 0 … 2³²−1. */
  draw: number
  /** Another one, independent of the first. */
  draw2: number
  /** Hosts of earlier attempts of this request; null on the first. */
  tried: readonly Host[] | null
  /** Priorities that a retry is to avoid, a bit each; 0: none. A pick that finds nothing else sets it to 0. */
  avoidPriorities: number
  /** `ip:port` that the client dialled; empty when it is not known. Only PASSTHROUGH asks. */
  originalDst: string
  /** `ip:port` of the client; empty when it is not known. Only PASSTHROUGH asks, for clusters that are dialled as their client. */
  clientAddress: string
  /** Whether the request has a hash; without one, consistent-hash balancers draw. */
  hashed: boolean
  /** The 64 bits of its hash. */
  hashHigh: number
  hashLow: number
  /** How often this attempt picked before: a consistent hash would find the same host again. */
  again: number
  /** Monotonic ms. */
  nowMs: number

  constructor() {
    this.draw = 0
    this.draw2 = 0
    this.tried = null
    this.avoidPriorities = 0
    this.originalDst = ''
    this.clientAddress = ''
    this.hashed = false
    this.hashHigh = 0
    this.hashLow = 0
    this.again = 0
    this.nowMs = 0
  }
}

/**
 * Published by a balancer's `update`: choosing from it is synchronous and allocates nothing. A picker only ever returns
 * hosts that it was made of; null means that there is none.
 */
export interface Picker {
  pick(ctx: PickContext): Host | null
}

/** One policy over one group of hosts. `update` does all the work and publishes a picker; it is called for each change of hosts, weights or health. */
export interface Balancer {
  /**
   * Each of `hosts` may be picked: which of them are well, and whether that matters, layers.ts has said. `nowMs`: monotonic. `weights`: parts
   * of one in the order of `hosts`, of which only consistent hashes are told; null or left out: the hosts' own weights.
   */
  update(hosts: readonly Host[], nowMs: number, weights?: readonly number[] | null): Picker
}

/** What there is to pick from when there is nothing. */
export const EMPTY_PICKER: Picker = { pick: () => null }

/** `draw` scaled to 0 … n−1 without the bias of a remainder. */
export function drawIndex(draw: number, n: number): number {
  return Math.floor((draw * n) / 0x1_0000_0000)
}

/** Whether weights play no part. */
export function equalWeights(hosts: readonly Host[]): boolean {
  const first = hosts[0]
  return first === undefined || hosts.every((h) => h.weight === first.weight)
}

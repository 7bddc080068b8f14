// Hot lane: `pick` runs for each request to a cluster with several priorities or weighted localities.
import { EdfSchedule, FixedTurns } from './edf-schedule.ts'
import type { Host } from './host.ts'
import type { PickContext, Picker } from './picker.ts'
import { loadsWithout } from './priority-load.ts'

/** 2³² mod 100. */
const HIGH_REMAINDER = 96

/** A draw of one in a hundred chooses the priority (Envoy choosePriority). */
export class PriorityPicker implements Picker {
  readonly #levels: readonly Picker[]
  /** By priority: where its percents end. The last is 100. */
  readonly #ends: Uint8Array
  readonly #health: readonly number[]
  /** The request's hash takes the place of the draw, so that it stays where it is; retries then go where the hash says (Envoy). */
  readonly #byHash: boolean
  /** Ends by what retries avoid, made when the first one asks. */
  readonly #without: Map<number, Uint8Array>

  constructor(levels: readonly Picker[], loads: readonly number[], health: readonly number[], byHash: boolean) {
    this.#levels = levels
    this.#ends = endsOf(loads)
    this.#health = health
    this.#byHash = byHash
    this.#without = new Map()
  }

  pick(ctx: PickContext): Host | null {
    const byHash = this.#byHash
    const ends = ctx.avoidPriorities === 0 || byHash ? this.#ends : this.#endsWithout(ctx)
    const value = byHash && ctx.hashed ? ((ctx.hashHigh % 100) * HIGH_REMAINDER + (ctx.hashLow % 100)) % 100 : ctx.draw % 100
    let priority = 0
    while ((ends[priority] as number) <= value) priority++
    return (this.#levels[priority] as Picker).pick(ctx)
  }

  /** When nothing else is left, nothing is avoided any more, and `ctx` says so (Envoy previous_priorities). */
  #endsWithout(ctx: PickContext): Uint8Array {
    const avoided = ctx.avoidPriorities
    const known = this.#without.get(avoided)
    if (known !== undefined) return known
    const loads = loadsWithout(this.#health, avoided)
    if (loads !== null) {
      const ends = endsOf(loads)
      this.#without.set(avoided, ends)
      return ends
    }
    ctx.avoidPriorities = 0
    return this.#ends
  }
}

/** Localities take turns in proportion to their weights; then it is for the policy to choose in the locality. */
export class LocalityPicker implements Picker {
  readonly #localities: readonly Picker[]
  readonly #schedule: EdfSchedule

  /** `weights` are above 0. */
  constructor(localities: readonly Picker[], weights: readonly number[], nowMs: number) {
    this.#localities = localities
    this.#schedule = new EdfSchedule(weights.length, new FixedTurns(weights), nowMs)
  }

  pick(ctx: PickContext): Host | null {
    return (this.#localities[this.#schedule.next(ctx.draw, ctx.nowMs)] as Picker).pick(ctx)
  }
}

function endsOf(loads: readonly number[]): Uint8Array {
  const ends = new Uint8Array(loads.length)
  let end = 0
  for (let i = 0; i < loads.length; i++) {
    end += loads[i] as number
    ends[i] = end
  }
  return ends
}

// Hot lane: `pick` and `after` run for each request to a cluster whose weights differ. Hosts that take turns in proportion to their weights.
import type { SlowStart } from '../../state/cluster.ts'
import { EdfSchedule, type Turns } from './edf-schedule.ts'
import type { Host } from './host.ts'
import type { PickContext, Picker } from './picker.ts'
import { warmth } from './slow-start.ts'

class HostTurns implements Turns {
  readonly #hosts: readonly Host[]
  /** A host's share falls with the requests that it has in flight: weight / (active + 1) (active_request_bias 1). */
  readonly #byActive: boolean
  /** null: no host is warming. */
  readonly #slowStart: SlowStart | null

  constructor(hosts: readonly Host[], byActive: boolean, slowStart: SlowStart | null) {
    this.#hosts = hosts
    this.#byActive = byActive
    this.#slowStart = slowStart
  }

  after(index: number, nowMs: number): number {
    const host = this.#hosts[index] as Host
    const turn = (this.#byActive ? host.active + 1 : 1) / host.weight
    const slowStart = this.#slowStart
    return slowStart === null ? turn : turn / warmth(slowStart, nowMs - host.availableSinceMs)
  }
}

export class ScheduledPicker implements Picker {
  readonly #hosts: readonly Host[]
  readonly #schedule: EdfSchedule

  /** `slowStart` null: no host is warming. */
  constructor(hosts: readonly Host[], byActive: boolean, slowStart: SlowStart | null, nowMs: number) {
    this.#hosts = hosts
    this.#schedule = new EdfSchedule(hosts.length, new HostTurns(hosts, byActive, slowStart), nowMs)
  }

  pick(ctx: PickContext): Host | null {
    return this.#hosts[this.#schedule.next(ctx.draw, ctx.nowMs)] as Host
  }
}

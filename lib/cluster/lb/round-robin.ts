// Hot lane: `pick` runs for each request. ROUND_ROBIN (Envoy: equal weights rotate, unequal ones keep a schedule).
import { EdfSchedule } from './edf-schedule.ts'
import type { Host } from './host.ts'
import { availableOf, type Balancer, drawIndex, EMPTY_PICKER, equalWeights, type PickContext, type Picker } from './picker.ts'

/** Each host in turn, per worker, starting anywhere. */
class RotatingPicker implements Picker {
  readonly #hosts: readonly Host[]
  /** -1 until the first draw says where to start. */
  #next: number

  constructor(hosts: readonly Host[]) {
    this.#hosts = hosts
    this.#next = -1
  }

  pick(ctx: PickContext): Host | null {
    const hosts = this.#hosts
    let at = this.#next
    if (at < 0) at = drawIndex(ctx.draw, hosts.length)
    this.#next = at + 1 === hosts.length ? 0 : at + 1
    return hosts[at] as Host
  }
}

/** Turns in proportion to weights. */
export class ScheduledPicker implements Picker {
  readonly #schedule: EdfSchedule

  constructor(schedule: EdfSchedule) {
    this.#schedule = schedule
  }

  pick(ctx: PickContext): Host | null {
    return this.#schedule.next(ctx.draw)
  }
}

export class RoundRobin implements Balancer {
  update(hosts: readonly Host[]): Picker {
    const usable = availableOf(hosts)
    if (usable.length === 0) return EMPTY_PICKER
    return equalWeights(usable) ? new RotatingPicker(usable) : new ScheduledPicker(new EdfSchedule(usable, false))
  }
}

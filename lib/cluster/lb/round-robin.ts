// Hot lane: `pick` runs for each request. ROUND_ROBIN (Envoy: equal weights rotate, unequal ones keep a schedule).
import type { SlowStart } from '../../state/cluster.ts'
import type { Host } from './host.ts'
import { ScheduledPicker } from './host-schedule.ts'
import { type Balancer, drawIndex, EMPTY_PICKER, equalWeights, type PickContext, type Picker } from './picker.ts'
import { warmAtMs } from './slow-start.ts'

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

export class RoundRobin implements Balancer {
  readonly #slowStart: SlowStart | null

  constructor(slowStart: SlowStart | null) {
    this.#slowStart = slowStart
  }

  update(hosts: readonly Host[], nowMs: number): Picker {
    if (hosts.length === 0) return EMPTY_PICKER
    const warming = warmAtMs(this.#slowStart, hosts, nowMs) === 0 ? null : this.#slowStart
    if (hosts.length === 1 || (warming === null && equalWeights(hosts))) return new RotatingPicker(hosts)
    return new ScheduledPicker(hosts, false, warming, nowMs)
  }
}

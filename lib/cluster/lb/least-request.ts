// Hot lane: `pick` runs for each request. LEAST_REQUEST, Istio's default: the better of two draws (envoy.extensions.
// load_balancing_policies.least_request.v3, choice_count 2), which does nearly as well as looking at all hosts.
import type { SlowStart } from '../../state/cluster.ts'
import type { Host } from './host.ts'
import { ScheduledPicker } from './host-schedule.ts'
import { type Balancer, drawIndex, EMPTY_PICKER, equalWeights, type PickContext, type Picker } from './picker.ts'
import { warmAtMs } from './slow-start.ts'

class TwoChoicesPicker implements Picker {
  readonly #hosts: readonly Host[]

  constructor(hosts: readonly Host[]) {
    this.#hosts = hosts
  }

  pick(ctx: PickContext): Host | null {
    const hosts = this.#hosts
    // With replacement: both draws may name the same host. A tie keeps the first drawn.
    const a = hosts[drawIndex(ctx.draw, hosts.length)] as Host
    const b = hosts[drawIndex(ctx.draw2, hosts.length)] as Host
    return b.active < a.active ? b : a
  }
}

export class LeastRequest implements Balancer {
  readonly #slowStart: SlowStart | null

  constructor(slowStart: SlowStart | null) {
    this.#slowStart = slowStart
  }

  update(hosts: readonly Host[], nowMs: number): Picker {
    if (hosts.length === 0) return EMPTY_PICKER
    const warming = warmAtMs(this.#slowStart, hosts, nowMs) === 0 ? null : this.#slowStart
    if (hosts.length === 1 || (warming === null && equalWeights(hosts))) return new TwoChoicesPicker(hosts)
    return new ScheduledPicker(hosts, true, warming, nowMs)
  }
}

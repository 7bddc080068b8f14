// Hot lane: `pick` runs for each request. LEAST_REQUEST, Istio's default: the better of two draws (envoy.extensions.
// load_balancing_policies.least_request.v3, choice_count 2), which does nearly as well as looking at all hosts.
import { EdfSchedule } from './edf-schedule.ts'
import type { Host } from './host.ts'
import { availableOf, type Balancer, drawIndex, EMPTY_PICKER, equalWeights, type PickContext, type Picker } from './picker.ts'
import { ScheduledPicker } from './round-robin.ts'

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
  update(hosts: readonly Host[]): Picker {
    const usable = availableOf(hosts)
    if (usable.length === 0) return EMPTY_PICKER
    // Unequal weights: a schedule whose shares are weight / (active + 1), recomputed on each pick (active_request_bias 1).
    return equalWeights(usable) ? new TwoChoicesPicker(usable) : new ScheduledPicker(new EdfSchedule(usable, true))
  }
}

// Hot lane: `pick` runs for each request. RANDOM: uniform, weights ignored.
import type { Host } from './host.ts'
import { type Balancer, drawIndex, EMPTY_PICKER, type PickContext, type Picker } from './picker.ts'

class RandomPicker implements Picker {
  readonly #hosts: readonly Host[]

  constructor(hosts: readonly Host[]) {
    this.#hosts = hosts
  }

  pick(ctx: PickContext): Host | null {
    return this.#hosts[drawIndex(ctx.draw, this.#hosts.length)] as Host
  }
}

export class Random implements Balancer {
  update(hosts: readonly Host[]): Picker {
    return hosts.length === 0 ? EMPTY_PICKER : new RandomPicker(hosts)
  }
}

// Hot lane: `pick` runs for each request. PASSTHROUGH (ORIGINAL_DST clusters): the address that the client dialled.
import type { Host } from './host.ts'
import type { Balancer, PickContext, Picker } from './picker.ts'

class OriginalDestinationPicker implements Picker {
  pick(ctx: PickContext): Host | null {
    return ctx.originalHost
  }
}

/** The cluster has no hosts of its own: who accepted the connection knows the address and brings the host. */
export class Passthrough implements Balancer {
  readonly #picker: Picker

  constructor() {
    this.#picker = new OriginalDestinationPicker()
  }

  update(_hosts: readonly Host[]): Picker {
    return this.#picker
  }
}

// Hot lane: `pick` runs for each request. PASSTHROUGH (ORIGINAL_DST clusters): the address that the client dialled.
import type { Host } from './host.ts'
import type { Balancer, PickContext, Picker } from './picker.ts'

/** The host for an address that configuration does not list, for a client (both `ip:port`); null: it cannot be had. */
export type DialledHosts = (address: string, client: string) => Host | null

/** For clusters of which nobody needs to be dialled: explanations of what has not happened. */
export const NO_DIALLED_HOSTS: DialledHosts = () => null

class OriginalDestinationPicker implements Picker {
  private readonly hostAt: DialledHosts

  constructor(hostAt: DialledHosts) {
    this.hostAt = hostAt
  }

  pick(ctx: PickContext): Host | null {
    return ctx.originalDst === '' ? null : this.hostAt(ctx.originalDst, ctx.clientAddress)
  }
}

/** The cluster has no hosts of its own: they are made when somebody is to be sent there. */
export class Passthrough implements Balancer {
  readonly #picker: Picker

  constructor(hostAt: DialledHosts) {
    this.#picker = new OriginalDestinationPicker(hostAt)
  }

  update(_hosts: readonly Host[]): Picker {
    return this.#picker
  }
}

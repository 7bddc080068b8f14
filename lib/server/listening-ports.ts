// Which port each bound listener has: held from before the workers listen until the listener is gone, so that nobody else gets it.
import { listenOptionsOf, type Reservation, reserve } from '../listener/bind.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { Listener } from '../state/listener.ts'
import type { Logger } from '../telemetry/logger.ts'
import { bindErrorText, StartError } from './start-error.ts'

interface Held {
  /** By address. */
  readonly reservations: Map<string, Reservation>
  readonly port: number
  /** As configuration has it. */
  readonly asked: number
}

/** What a control plane sends is refused alone; but without a listener that captures, the traffic of the pod would go nowhere. */
export const mayGoOnWithout =
  ({ role, xds }: BootstrapConfig) =>
  ({ capture }: Listener): boolean =>
    xds.address !== '' && (role === 'gateway' || role === 'sidecar') && capture === 'none'

export class ListeningPorts {
  readonly #log: Logger
  /** By listener name. */
  readonly #held: Map<string, Held>

  constructor(log: Logger) {
    this.#log = log
    this.#held = new Map()
  }

  /** What the workers are told: listeners that are not here stay unbound. */
  byName(): Record<string, number> {
    return Object.fromEntries([...this.#held].map(([name, { port }]) => [name, port]))
  }

  portOf({ name }: Listener): number | undefined {
    return this.#held.get(name)?.port
  }

  /** Those of the listeners that have one. */
  bound(listeners: readonly Listener[]): { readonly listener: Listener; readonly port: number }[] {
    return listeners.flatMap((listener) => {
      const port = this.portOf(listener)
      return port === undefined ? [] : [{ listener, port }]
    })
  }

  /**
   * Of the first configuration. Rejects with a StartError; one that `mayGoOnWithout` allows is logged instead when its port cannot be had, and tried again with
   * the next configuration: where a control plane feeds, all others would fail for it.
   */
  async reserveAll(listeners: readonly Listener[], mayGoOnWithout: (listener: Listener) => boolean): Promise<void> {
    for (const listener of listeners) {
      if (!listener.bind) continue
      try {
        await this.#reserve(listener)
      } catch (error) {
        const text = bindErrorText(listener, error as NodeJS.ErrnoException)
        if (!mayGoOnWithout(listener)) throw new StartError('bind', text, { cause: error })
        this.#log.error(text)
      }
    }
  }

  /** Of a later one: new listeners, and those that have moved. One whose port somebody has is logged, and tried again with the next configuration. */
  async follow(listeners: readonly Listener[]): Promise<void> {
    const wanted = new Map(listeners.filter((l) => l.bind).map((l) => [l.name, l]))
    for (const [name, held] of this.#held) {
      const listener = wanted.get(name)
      // Where an address stays, the workers listen on it: it is kept, and could not be had anew.
      if (listener === undefined || listener.port !== held.asked) this.#giveUp(name)
      else keepOnly(held, addressesOf(listener))
      if (held.reservations.size === 0) this.#giveUp(name)
    }
    for (const listener of wanted.values()) {
      const addresses = addressesOf(listener)
      const held = this.#held.get(listener.name)
      if (held !== undefined && addresses.every((address) => held.reservations.has(address))) continue
      try {
        await this.#reserve(listener)
        this.#log.info(`listener ${listener.name}: on ${addresses.join(' and ')}, port ${this.portOf(listener)}`)
      } catch (error) {
        this.#log.error(bindErrorText(listener, error as NodeJS.ErrnoException))
      }
    }
  }

  release(): void {
    for (const name of [...this.#held.keys()]) this.#giveUp(name)
  }

  async #reserve(listener: Listener): Promise<void> {
    const options = listenOptionsOf(listener)
    const held = this.#held.get(listener.name)
    const reservations = new Map<string, Reservation>(held?.reservations)
    let port = held?.port ?? listener.port
    try {
      for (const address of addressesOf(listener)) {
        if (reservations.has(address)) continue
        const reservation = await reserve(address, port, options)
        port = reservation.port
        reservations.set(address, reservation)
      }
    } catch (error) {
      // All or none: one address alone is not what was asked for.
      for (const reservation of reservations.values()) reservation.close()
      this.#held.delete(listener.name)
      throw error
    }
    this.#held.set(listener.name, { reservations, port, asked: listener.port })
  }

  #giveUp(name: string): void {
    for (const reservation of this.#held.get(name)?.reservations.values() ?? []) reservation.close()
    this.#held.delete(name)
  }
}

function addressesOf({ address, otherAddresses }: Listener): readonly string[] {
  return [address, ...otherAddresses]
}

function keepOnly({ reservations }: Held, addresses: readonly string[]): void {
  for (const [address, reservation] of reservations) {
    if (addresses.includes(address)) continue
    reservation.close()
    reservations.delete(address)
  }
}

// Which port each bound listener has: held from before the workers listen until the listener is gone, so that nobody else gets it.
import { listenOptionsOf, type Reservation, reserve } from '../listener/bind.ts'
import type { Listener } from '../state/listener.ts'
import type { Logger } from '../telemetry/logger.ts'
import { bindErrorText, StartError } from './start-error.ts'

interface Held {
  /** For each of its addresses. */
  readonly reservations: readonly Reservation[]
  readonly port: number
  /** Address and port as configuration has them. */
  readonly place: string
}

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

  /** Of the first configuration. Rejects with a StartError. */
  async reserveAll(listeners: readonly Listener[]): Promise<void> {
    for (const listener of listeners) {
      if (!listener.bind) continue
      try {
        await this.#reserve(listener)
      } catch (error) {
        throw new StartError('bind', bindErrorText(listener, error as NodeJS.ErrnoException), { cause: error })
      }
    }
  }

  /** Of a later one: new listeners, and those that have moved. One whose port somebody has is logged, and tried again with the next configuration. */
  async follow(listeners: readonly Listener[]): Promise<void> {
    const wanted = new Map(listeners.filter((l) => l.bind).map((l) => [l.name, l]))
    for (const [name, { place }] of this.#held) {
      const listener = wanted.get(name)
      if (listener === undefined || placeOf(listener) !== place) this.#giveUp(name)
    }
    for (const listener of wanted.values()) {
      if (this.#held.has(listener.name)) continue
      try {
        await this.#reserve(listener)
        const addresses = [listener.address, ...listener.otherAddresses].join(' and ')
        this.#log.info(`listener ${listener.name}: on ${addresses}, port ${this.portOf(listener)}`)
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
    const first = await reserve(listener.address, listener.port, options)
    const reservations = [first]
    try {
      for (const address of listener.otherAddresses) reservations.push(await reserve(address, first.port, options))
    } catch (error) {
      for (const reservation of reservations) reservation.close()
      throw error
    }
    this.#held.set(listener.name, { reservations, port: first.port, place: placeOf(listener) })
  }

  #giveUp(name: string): void {
    for (const reservation of this.#held.get(name)?.reservations ?? []) reservation.close()
    this.#held.delete(name)
  }
}

function placeOf({ address, otherAddresses, port }: Listener): string {
  return `${[address, ...otherAddresses].join()} ${port}`
}

// The ports of bound listeners: held by the main thread from before the workers start, so that all of them get the same ones.
import { listenOptionsOf, type Reservation, reserve } from '../listener/bind.ts'
import type { Listener } from '../state/listener.ts'
import { bindErrorText, StartError } from './start-error.ts'

export class ListeningPorts {
  /** What the listeners were given, by name. */
  readonly #ports: Map<string, number>
  readonly #reservations: Set<Reservation>

  constructor() {
    this.#ports = new Map()
    this.#reservations = new Set()
  }

  /** Rejects with a StartError. */
  async reserve(listeners: readonly Listener[]): Promise<void> {
    for (const listener of listeners) {
      if (!listener.bind) continue
      try {
        const reservation = await reserve(listener.address, listener.port, listenOptionsOf(listener))
        this.#reservations.add(reservation)
        this.#ports.set(listener.name, reservation.port)
      } catch (error) {
        throw new StartError('bind', bindErrorText(listener, error as NodeJS.ErrnoException), { cause: error })
      }
    }
  }

  /** What it was given, or asks for. */
  of({ name, port }: Listener): number {
    return this.#ports.get(name) ?? port
  }

  async release(): Promise<void> {
    const reservations = [...this.#reservations]
    this.#reservations.clear()
    await Promise.all(reservations.map((r) => r.close()))
  }
}

// Hot lane: once for each connection to an endpoint with several addresses: they are tried one after the other, the next one a while after the one before or when that has
// failed, and the first that connects is it (RFC 8305 §5, Happy Eyeballs; Envoy additional_addresses).
import type net from 'node:net'
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import type { Io } from '../transport/io.ts'

/** Envoy's. */
const NEXT_MS = 300

/** Exactly one of the two is called, in a later turn, unless the race is called off. */
export interface RaceOwner {
  onRaceWon(socket: net.Socket): void
  /** The error of the address that failed last. */
  onRaceLost(error: NodeJS.ErrnoException): void
}

export class AddressRace implements DeadlineOwner {
  private readonly io: Io
  private readonly addresses: readonly string[]
  private readonly dial: (address: string) => net.Socket
  private readonly owner: RaceOwner
  private readonly deadline: Deadline
  private readonly sockets: Set<net.Socket>
  private next: number
  private over: boolean

  /** Begins at once. */
  constructor(io: Io, addresses: readonly string[], dial: (address: string) => net.Socket, owner: RaceOwner) {
    this.io = io
    this.addresses = inTurn(addresses)
    this.dial = dial
    this.owner = owner
    this.deadline = new Deadline(this, 0)
    this.sockets = new Set()
    this.next = 0
    this.over = false
    this.begin()
  }

  private begin(): void {
    const address = this.addresses[this.next++]
    if (address === undefined) return
    const socket = this.dial(address)
    this.sockets.add(socket)
    socket.once('connect', () => this.won(socket))
    socket.on('error', (error: NodeJS.ErrnoException) => this.failed(socket, error))
    if (this.next < this.addresses.length) this.io.timers.arm(this.deadline, NEXT_MS)
  }

  private won(socket: net.Socket): void {
    if (this.over) return
    this.sockets.delete(socket)
    this.callOff()
    this.owner.onRaceWon(socket)
  }

  private failed(socket: net.Socket, error: NodeJS.ErrnoException): void {
    if (this.over || !this.sockets.delete(socket)) return
    socket.destroy()
    this.io.timers.cancel(this.deadline)
    if (this.next < this.addresses.length) this.begin()
    else if (this.sockets.size === 0) {
      this.over = true
      this.owner.onRaceLost(error)
    } else return
  }

  onDeadline(): void {
    if (!this.over) this.begin()
  }

  /** A mistake in the owner costs this connection. */
  abandon(): void {
    this.callOff()
  }

  callOff(): void {
    this.over = true
    this.io.timers.cancel(this.deadline)
    for (const socket of this.sockets) socket.destroy()
    this.sockets.clear()
  }
}

/** One of each family, beginning with that of the first (RFC 8305 §4). */
function inTurn(addresses: readonly string[]): readonly string[] {
  const isFirst = (a: string): boolean => a.includes(':') === (addresses[0] as string).includes(':')
  const [own, other] = [addresses.filter(isFirst), addresses.filter((a) => !isFirst(a))]
  const turns: string[] = []
  for (let i = 0; i < Math.max(own.length, other.length); i++)
    for (const one of [own[i], other[i]]) if (one !== undefined) turns.push(one)
  return turns
}

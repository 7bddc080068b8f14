// An open loop: requests are due at fixed moments whatever became of the ones before, and latency counts from the moment
// a request was due. A server that stalls for 50 ms thus shows 50 requests that waited, where a closed loop shows one.
//
// Every connection carries one request at a time. A request that finds none free waits in line, and its wait counts.
import { connect, type Socket } from 'node:net'

export interface OpenLoopOptions {
  readonly port: number
  readonly path: string
  readonly host: string
  readonly connections: number
  readonly ratePerSecond: number
}

export interface OpenLoopReport {
  readonly requests: number
  readonly errors: number
  readonly non2xx: number
  /** Milliseconds from due to the last byte of the answer; ascending. */
  readonly latenciesMs: Float64Array
  /** Milliseconds from due to noticed by `tick`, which is the generator's own fault; ascending. */
  readonly sendLagsMs: Float64Array
}

interface Lane {
  readonly socket: Socket
  /** When the request under way was due; NaN: the connection is free. */
  dueMs: number
  /** What came of the answer's head; empty once the head is complete. */
  head: string
  /** Bytes of body still to come; -1: the head is not complete. */
  bodyLeft: number
  status: number
}

export class OpenLoop {
  readonly #options: OpenLoopOptions
  readonly #request: Buffer
  readonly #free: Lane[]
  readonly #waiting: number[]
  #latencies: number[]
  #lags: number[]
  #errors: number
  #non2xx: number
  #nextDueMs: number
  #outstanding: number
  #closing: boolean

  constructor(options: OpenLoopOptions) {
    this.#options = options
    this.#request = Buffer.from(
      `GET ${options.path} HTTP/1.1\r\nHost: ${options.host}\r\nUser-Agent: heddle-bench\r\nAccept: */*\r\n\r\n`,
    )
    this.#free = []
    this.#waiting = []
    this.#latencies = []
    this.#lags = []
    this.#errors = 0
    this.#non2xx = 0
    this.#nextDueMs = performance.now()
    this.#outstanding = 0
    this.#closing = false
    for (let i = 0; i < options.connections; i++) this.#open()
  }

  /** Sends everything that has become due. To be called at least once an interval. */
  tick(): void {
    const now = performance.now()
    const intervalMs = 1000 / this.#options.ratePerSecond
    for (; this.#nextDueMs <= now; this.#nextDueMs += intervalMs) {
      this.#outstanding++
      this.#lags.push(now - this.#nextDueMs)
      const lane = this.#free.shift() // the one unused longest, so that all connections stay in use
      if (lane === undefined) this.#waiting.push(this.#nextDueMs)
      else this.#send(lane, this.#nextDueMs)
    }
  }

  /** Forgets what was measured so far: the warm-up. */
  reset(): void {
    this.#latencies = []
    this.#lags = []
    this.#errors = 0
    this.#non2xx = 0
  }

  /** Everything measured since `reset`. Requests still unanswered count as errors when they are older than a second. */
  report(): OpenLoopReport {
    const late = Math.max(0, this.#outstanding - this.#options.ratePerSecond)
    return {
      requests: this.#latencies.length,
      errors: this.#errors + late,
      non2xx: this.#non2xx,
      latenciesMs: Float64Array.from(this.#latencies).sort(),
      sendLagsMs: Float64Array.from(this.#lags).sort(),
    }
  }

  close(): void {
    this.#closing = true
  }

  #open(): void {
    const socket = connect({ port: this.#options.port, host: '127.0.0.1', noDelay: true })
    const lane: Lane = { socket, dueMs: Number.NaN, head: '', bodyLeft: -1, status: 0 }
    socket.on('connect', () => this.#release(lane))
    socket.on('data', (chunk) => this.#receive(lane, chunk))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#lost(lane))
  }

  #send(lane: Lane, dueMs: number): void {
    lane.dueMs = dueMs
    lane.socket.write(this.#request)
  }

  #release(lane: Lane): void {
    lane.dueMs = Number.NaN
    const due = this.#waiting.shift()
    if (due === undefined) this.#free.push(lane)
    else this.#send(lane, due)
  }

  #receive(lane: Lane, chunk: Buffer): void {
    if (lane.bodyLeft >= 0) {
      lane.bodyLeft -= chunk.length
    } else {
      lane.head += chunk.toString('latin1')
      const end = lane.head.indexOf('\r\n\r\n')
      if (end < 0) return
      lane.status = Number(lane.head.slice(9, 12))
      // An answer without a length cannot be delimited here; its connection counts as an error.
      const length = /\r\ncontent-length: *(\d+)/i.exec(lane.head)?.[1]
      if (length === undefined) lane.socket.destroy()
      lane.bodyLeft = Number(length ?? 0) - (lane.head.length - end - 4)
      lane.head = ''
    }
    if (lane.bodyLeft > 0) return
    lane.bodyLeft = -1
    this.#outstanding--
    this.#latencies.push(performance.now() - lane.dueMs)
    if (lane.status < 200 || lane.status > 299) this.#non2xx++
    this.#release(lane)
  }

  /** A closed connection is replaced; a request that was on it is an error. */
  #lost(lane: Lane): void {
    if (this.#closing) return
    const index = this.#free.indexOf(lane)
    if (index >= 0) this.#free.splice(index, 1)
    if (!Number.isNaN(lane.dueMs) || index < 0) {
      this.#errors++
      this.#outstanding = Math.max(0, this.#outstanding - 1)
    }
    setTimeout(() => this.#open(), 10)
  }
}

/** The value below which the given share (0-1) of the ascending values lie; 0 of none. Nearest-rank. */
export function percentile(ascending: Float64Array, share: number): number {
  return ascending[Math.max(0, Math.ceil(ascending.length * share) - 1)] ?? 0
}

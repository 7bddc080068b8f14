// Passes a question on to those who know other names, one after the other in random order. Each is asked from a socket of its own with an id of its own, so
// that nobody who does not see it can answer in their place (RFC 5452).
import { randomInt } from 'node:crypto'
import type { DnsCounts } from './dns-counts.ts'
import type { DnsSockets } from './dns-sockets.ts'
import { answers, type DnsQuery, RCODE, rcodeOf } from './message.ts'

export interface ForwarderOptions {
  readonly sockets: DnsSockets
  /** Asked for each question: they may change. `address:port`. */
  readonly servers: () => readonly string[]
  readonly counts: DnsCounts
  /** Of each server. */
  readonly timeoutMs: number
  /** Questions that are under way; more are not passed on. */
  readonly maxInFlight: number
}

export type DnsTransport = 'udp' | 'tcp'

const MAX_TCP_BYTES = 65_535

export class Forwarder {
  readonly #options: ForwarderOptions
  /** Local ports of our own questions over UDP: one that comes back from such a port goes in circles. */
  readonly #ownPorts: Set<number>
  /** Ends what is under way. */
  readonly #ends: Set<() => void>
  #inFlight: number
  #closed: boolean

  constructor(options: ForwarderOptions) {
    this.#options = options
    this.#ownPorts = new Set()
    this.#ends = new Set()
    this.#inFlight = 0
    this.#closed = false
  }

  isOwnPort(port: number): boolean {
    return this.#ownPorts.has(port)
  }

  /** The answer with the client's id; null: there is none. @param message as it came */
  async forward(query: DnsQuery, message: Buffer, transport: DnsTransport): Promise<Buffer | null> {
    const { counts, maxInFlight, servers } = this.#options
    if (this.#closed || this.#inFlight >= maxInFlight) return null
    this.#inFlight++
    try {
      let last: Buffer | null = null
      for (const server of shuffled(servers())) {
        if (this.#closed) return null
        const answer = await this.#ask(server, query, message, transport)
        if (answer !== null && ![RCODE.SERVFAIL, RCODE.REFUSED, RCODE.NOTIMP].some((code) => code === rcodeOf(answer)))
          return answer
        counts.upstreamFailure()
        last = answer ?? last
      }
      return last
    } finally {
      this.#inFlight--
    }
  }

  close(): void {
    this.#closed = true
    for (const end of [...this.#ends]) end()
  }

  async #ask(server: string, query: DnsQuery, message: Buffer, transport: DnsTransport): Promise<Buffer | null> {
    const colon = server.lastIndexOf(':')
    const host = server.slice(0, colon).replace(/^\[|\]$/g, '')
    const port = Number(server.slice(colon + 1))
    const id = randomInt(65_536)
    const sent = Buffer.from(message)
    sent.writeUInt16BE(id, 0)
    const ask = transport === 'udp' ? this.#overUdp : this.#overTcp
    const answer = await ask.call(this, host, port, sent, (from) => answers(from, query, id))
    answer?.writeUInt16BE(query.id, 0)
    return answer
  }

  #overUdp(host: string, port: number, sent: Buffer, isAnswer: (message: Buffer) => boolean): Promise<Buffer | null> {
    return this.#settled((done, atEnd) => {
      const socket = this.#options.sockets.udpTo(host)
      let own = 0
      atEnd(() => {
        this.#ownPorts.delete(own)
        socket.close()
      })
      socket.on('error', () => done(null))
      socket.on('message', (message) => {
        // What is not the answer may be anybody's: the answer is waited for still.
        if (isAnswer(message)) done(message)
      })
      // Connected, so that the system leaves out what comes from elsewhere, and tells that nobody is there.
      socket.connect(port, host, () => {
        own = socket.address().port
        this.#ownPorts.add(own)
        socket.send(sent, (error) => {
          if (error !== null) done(null)
        })
      })
    })
  }

  #overTcp(host: string, port: number, sent: Buffer, isAnswer: (message: Buffer) => boolean): Promise<Buffer | null> {
    return this.#settled((done, atEnd) => {
      const socket = this.#options.sockets.tcpTo(host, port)
      atEnd(() => socket.destroy())
      let buffered: Buffer = Buffer.alloc(0)
      socket.on('error', () => done(null))
      socket.on('close', () => done(null))
      socket.on('data', (chunk: Buffer) => {
        buffered = Buffer.concat([buffered, chunk])
        if (buffered.length < 2) return
        const length = buffered.readUInt16BE(0)
        if (buffered.length < 2 + length) return
        const message = Buffer.from(buffered.subarray(2, 2 + length))
        done(length <= MAX_TCP_BYTES && isAnswer(message) ? message : null)
      })
      socket.write(framed(sent))
    })
  }

  /** One result, and then nothing of it is left. */
  #settled(begin: (done: (answer: Buffer | null) => void, atEnd: (cleanup: () => void) => void) => void): Promise<Buffer | null> {
    return new Promise((resolve) => {
      let cleanup = (): void => {}
      let ended = false
      const done = (answer: Buffer | null): void => {
        if (ended) return
        ended = true
        clearTimeout(timer)
        this.#ends.delete(end)
        cleanup()
        resolve(answer)
      }
      const end = (): void => done(null)
      const timer = setTimeout(end, this.#options.timeoutMs)
      timer.unref()
      this.#ends.add(end)
      try {
        begin(done, (c) => {
          cleanup = c
        })
      } catch {
        // No socket could be made.
        done(null)
      }
    })
  }
}

/** With its length in front (RFC 1035 §4.2.2). */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}

/** A copy in random order. */
export function shuffled<T>(list: readonly T[]): T[] {
  const out = [...list]
  for (let i = out.length - 1; i > 0; i--) {
    const j = randomInt(i + 1)
    const kept = out[i] as T
    out[i] = out[j] as T
    out[j] = kept
  }
  return out
}

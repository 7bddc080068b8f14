// Answers questions for names of the mesh, over UDP and TCP, and passes all others on (what Istio's agent does on 15053).
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { type AddressInfo, createServer, isIPv6, type Server, type Socket } from 'node:net'
import type { DnsCounts } from './dns-counts.ts'
import { type DnsSockets, OWN_SOCKETS } from './dns-sockets.ts'
import { type DnsTransport, Forwarder, framed, shuffled } from './forwarder.ts'
import { cutShort, DNS_TYPE, type DnsQuery, OUR_UDP_BYTES, RCODE, readQuery, writeAnswer, writeRefusal } from './message.ts'
import type { FoundName } from './name-table.ts'

/** Names of a mesh, as a client sees them. */
export interface Names {
  /** @param name in lower case, without the point at its end. null: it is not of the mesh. */
  find(name: string): FoundName | null
}

export interface DnsProxyOptions {
  readonly address: string
  readonly port: number
  /** Who is asked what is not of the mesh: `address:port`, asked anew for each question. */
  readonly servers: () => readonly string[]
  /** Default: of this program's own network. */
  readonly sockets?: DnsSockets
  readonly counts: DnsCounts
  readonly log: { warning(message: string): void }
  /** Default: 5 s for each server. */
  readonly timeoutMs?: number
}

const TTL_SECONDS = 30
const TIMEOUT_MS = 5000
const MAX_IN_FLIGHT = 512
const MAX_TCP_CONNECTIONS = 128
/** Of one connection that asks without waiting. */
const MAX_PER_CONNECTION = 16
const TCP_IDLE_MS = 10_000
const MAX_TCP_BYTES = 65_535

export class DnsProxy {
  readonly #options: DnsProxyOptions
  readonly #forwarder: Forwarder
  readonly #udp: UdpSocket
  readonly #tcp: Server
  readonly #connections: Set<Socket>
  #table: Names | null
  #toldLoop: boolean
  #own: { address: string; port: number }

  constructor(options: DnsProxyOptions) {
    this.#options = options
    this.#table = null
    this.#toldLoop = false
    this.#own = { address: options.address, port: options.port }
    this.#forwarder = new Forwarder({
      sockets: options.sockets ?? OWN_SOCKETS,
      // Ourselves we do not ask.
      servers: () => options.servers().filter((server) => server !== textOf(this.#own)),
      counts: options.counts,
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      maxInFlight: MAX_IN_FLIGHT,
    })
    this.#udp = createSocket({ type: isIPv6(options.address) ? 'udp6' : 'udp4' })
    this.#tcp = createServer({ allowHalfOpen: true }, (socket) => this.#onConnection(socket))
    this.#tcp.maxConnections = MAX_TCP_CONNECTIONS
    this.#connections = new Set()
  }

  /** From now on these are the names of the mesh. null, and until the first call: nothing is answered but that it cannot be. */
  use(table: Names | null): void {
    this.#table = table
  }

  /** Resolves with the port, which is the same for both. Rejects with an Error that names the setting. */
  async listen(): Promise<{ port: number }> {
    const { address, sockets = OWN_SOCKETS } = this.#options
    try {
      await new Promise<void>((resolve, reject) => {
        this.#tcp.once('error', reject)
        this.#tcp.once('listening', () => {
          this.#tcp.removeListener('error', reject)
          this.#tcp.on('error', () => {})
          resolve()
        })
        sockets.listenTcp(this.#tcp, address, this.#options.port)
      })
      const { port } = this.#tcp.address() as AddressInfo
      await new Promise<void>((resolve, reject) => {
        this.#udp.once('error', reject)
        this.#udp.once('listening', () => {
          this.#udp.removeListener('error', reject)
          this.#udp.on('error', () => {})
          resolve()
        })
        sockets.bindUdp(this.#udp, address, port)
      })
      this.#own = { address, port }
      this.#udp.on('message', (message, from) => void this.#onDatagram(message, from.address, from.port))
      return { port }
    } catch (error) {
      await this.close()
      const { code, message } = error as NodeJS.ErrnoException
      throw new Error(
        `dns ${address}:${this.#options.port} cannot be listened on: ${code ?? message}; see dns.address and dns.port`,
        {
          cause: error,
        },
      )
    }
  }

  async close(): Promise<void> {
    this.#forwarder.close()
    for (const socket of this.#connections) socket.destroy()
    await Promise.all([
      new Promise<void>((resolve) => {
        if (this.#tcp.listening) this.#tcp.close(() => resolve())
        else resolve()
      }),
      new Promise<void>((resolve) => {
        try {
          this.#udp.close(() => resolve())
        } catch {
          // It was never open, or is closed.
          resolve()
        }
      }),
    ])
  }

  async #onDatagram(message: Buffer, address: string, port: number): Promise<void> {
    if (this.#forwarder.isOwnPort(port)) {
      this.#options.counts.query('dropped')
      if (!this.#toldLoop)
        this.#options.log.warning(
          'DNS: a question that was passed on came back: the rules of the packet filter have to leave alone what this user sends (heddle iptables --proxy-uid)',
        )
      this.#toldLoop = true
      return
    }
    const answer = await this.#answer(message, 'udp')
    if (answer === null) return
    try {
      this.#udp.send(answer, port, address, () => {})
    } catch {
      // Closed meanwhile.
    }
  }

  #onConnection(socket: Socket): void {
    this.#connections.add(socket)
    let buffered: Buffer = Buffer.alloc(0)
    let pending = 0
    let ended = false
    const next = (): void => {
      while (pending < MAX_PER_CONNECTION && buffered.length >= 2) {
        const length = buffered.readUInt16BE(0)
        if (buffered.length < 2 + length) break
        const message = Buffer.from(buffered.subarray(2, 2 + length))
        buffered = buffered.subarray(2 + length)
        pending++
        void this.#answer(message, 'tcp').then((answer) => {
          pending--
          // What makes no sense at all is not answered, and neither is what follows it.
          if (answer === null) socket.destroy()
          else if (socket.writable) socket.write(framed(answer))
          next()
        })
      }
      if (buffered.length > MAX_TCP_BYTES + 2) socket.pause()
      else socket.resume()
      if (ended && pending === 0) socket.end()
    }
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy())
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#connections.delete(socket))
    socket.on('end', () => {
      ended = true
      next()
    })
    socket.on('data', (chunk: Buffer) => {
      buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk])
      next()
    })
  }

  /** null: nothing is answered. Never rejects. */
  async #answer(message: Buffer, transport: DnsTransport): Promise<Buffer | null> {
    const { counts } = this.#options
    const read = readQuery(message)
    if (!read.ok) {
      counts.query(read.drop ? 'dropped' : 'refused')
      return read.drop ? null : writeRefusal(read.id, read.flags, read.rcode)
    }
    const { query } = read
    const limit = transport === 'tcp' ? MAX_TCP_BYTES : Math.min(query.udpBytes, OUR_UDP_BYTES)
    if (query.ednsVersion !== null && query.ednsVersion > 0) {
      counts.query('refused')
      return writeAnswer(query, RCODE.BADVERS, null, limit)
    }
    const known = this.#ofTable(query, limit)
    if (known !== null) {
      counts.query('table')
      return known
    }
    const answer = this.#table === null ? null : await this.#forwarder.forward(query, message, transport)
    counts.query(answer === null ? 'failed' : 'upstream')
    if (answer === null) return writeAnswer(query, RCODE.SERVFAIL, null, limit)
    return transport === 'tcp' ? answer : cutShort(query, answer, query.udpBytes)
  }

  /** null: somebody else has to say. */
  #ofTable(query: DnsQuery, limit: number): Buffer | null {
    const { name, type, internet } = query
    if (this.#table === null || name === null || !internet || (type !== DNS_TYPE.A && type !== DNS_TYPE.AAAA)) return null
    const found = this.#table.find(name)
    if (found === null) return null
    const addresses = shuffled(type === DNS_TYPE.A ? found.v4 : found.v6)
    // A name that has addresses of the other family only exists all the same: an empty answer, no NXDOMAIN.
    const alias = addresses.length === 0 ? '' : found.alias
    return writeAnswer(query, RCODE.NOERROR, { alias, addresses, ttlSeconds: TTL_SECONDS }, limit)
  }
}

function textOf({ address, port }: { readonly address: string; readonly port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

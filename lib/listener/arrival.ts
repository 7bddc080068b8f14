// Hot lane: a connection on its way to its filter chain: where it was going, what its first bytes say, its handshake. Once for each connection.
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { HANDSHAKE_MS } from '../state/tls.ts'
import type { Connection, ConnectionOwner } from '../transport/connection.ts'
import type { HandshakeFailure, HandshakeOwner } from '../transport/handshake.ts'
import { ServerHandshake } from '../transport/server-handshake.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import type { TlsConnection } from '../transport/tls-connection.ts'
import type { ActiveListener } from './active-listener.ts'
import type { ChainFacts } from './chain-match.ts'
import { inspectHttp, NOT_HTTP, UNDECIDED } from './http-inspector.ts'
import type { ListenerSet } from './listener-set.ts'
import { NEEDS_MORE as HEADER_NEEDS_MORE, MALFORMED, NO_HEADER, readProxyHeader } from './proxy-protocol.ts'
import type { RunningChain } from './running-chain.ts'
import { CLIENT_HELLO, NEEDS_MORE, TlsInspector } from './tls-inspector.ts'

const NO_BYTES = Buffer.alloc(0)
const NONE: readonly string[] = []
/** Who has begun to say what it speaks is not waited for longer. */
const HELLO_MS = HANDSHAKE_MS

export class Arrival implements ConnectionOwner, HandshakeOwner, DeadlineOwner {
  readonly listener: ActiveListener
  readonly connection: Connection
  private readonly set: ListenerSet
  private destinationAddress: string
  private destinationPort: number
  private inspects: boolean
  private inspectsHttp: boolean
  /** A proxy in front is still to say who asks. */
  private awaitsHeader: boolean
  private readonly deadline: Deadline
  /** First bytes that could not tell. */
  private held: Buffer
  private readonly tls: TlsInspector
  private chain: RunningChain | null
  private handshake: ServerHandshake | null
  /** The first bytes are those of a ClientHello. */
  private inHello: boolean

  /** Owns the connection from now on. `address`, `port`: what was dialled. */
  constructor(set: ListenerSet, listener: ActiveListener, connection: Connection, address: string, port: number) {
    this.set = set
    this.listener = listener
    this.connection = connection
    this.destinationAddress = address
    this.destinationPort = port
    this.inspects = false
    this.inspectsHttp = false
    this.awaitsHeader = listener.listener.proxyProtocol !== 'none'
    this.deadline = new Deadline(this, 0)
    this.held = NO_BYTES
    this.tls = new TlsInspector()
    this.chain = null
    this.handshake = null
    this.inHello = false
    connection.owner = this
  }

  begin(): void {
    this.readDestination()
    if (!this.inspects && !this.awaitsHeader) {
      this.settle('raw_buffer', NONE, NO_BYTES, 0)
      return
    }
    this.set.arrivals.add(this)
    const { detectionTimeoutMs } = this.listener.listener
    if (this.awaitsHeader) this.connection.io.timers.arm(this.deadline, HELLO_MS)
    else if (detectionTimeoutMs > 0) this.connection.io.timers.arm(this.deadline, detectionTimeoutMs)
  }

  /** Whether the chain depends on the first bytes. */
  private readDestination(): void {
    const { inspectsTls, inspectsHttp } = this.listener.match.forPort(this.destinationPort)
    this.inspects = inspectsTls || inspectsHttp
    this.inspectsHttp = inspectsHttp
  }

  // ---- ConnectionOwner: while the first bytes are awaited --------------------------------------------------------------

  onData(bytes: Buffer, length: number): void {
    const { held } = this
    if (held.length === 0) {
      this.look(bytes, length)
      return
    }
    const all = Buffer.concat([held, bytes.subarray(0, length), Buffer.alloc(1)])
    this.look(all, all.length - 1)
  }

  private look(bytes: Buffer, length: number): void {
    if (this.awaitsHeader) {
      this.readHeader(bytes, length)
      return
    }
    const found = this.tls.inspect(bytes, length)
    if (found === CLIENT_HELLO) this.settle('tls', this.tls.applicationProtocols, bytes, length)
    else if (found === NEEDS_MORE) this.waitForMore(bytes, length, true)
    else if (!this.inspectsHttp) this.settle('raw_buffer', NONE, bytes, length)
    else {
      const http = inspectHttp(bytes, length)
      if (http === UNDECIDED) this.waitForMore(bytes, length, false)
      else this.settle('raw_buffer', http === NOT_HTTP ? NONE : [http], bytes, length)
    }
  }

  /** What a proxy in front says (PROXY protocol): who asks, and what was dialled. */
  private readHeader(bytes: Buffer, length: number): void {
    const { connection, listener, set } = this
    const found = readProxyHeader(bytes, length)
    if (found === HEADER_NEEDS_MORE) {
      this.held = Buffer.from(bytes.subarray(0, length))
      return
    }
    if (found === MALFORMED || (found === NO_HEADER && listener.listener.proxyProtocol === 'required')) {
      set.refusedHeader(this)
      connection.destroy('proxy_protocol')
      return
    }
    this.awaitsHeader = false
    this.held = NO_BYTES
    connection.io.timers.cancel(this.deadline)
    const used = found === NO_HEADER ? 0 : found.bytes
    if (found !== NO_HEADER && found.source !== '') {
      connection.proxyAddress = connection.peerAddress
      connection.peerAddress = found.source
      connection.originalDst = found.destination
      this.destinationAddress = addressOf(found.destination)
      this.destinationPort = portOf(found.destination)
    }
    this.readDestination()
    const rest = used === 0 ? bytes : bytes.subarray(used)
    if (!this.inspects) this.settle('raw_buffer', NONE, rest, length - used)
    else if (length > used) this.look(rest, length - used)
    else if (listener.listener.detectionTimeoutMs > 0)
      connection.io.timers.arm(this.deadline, listener.listener.detectionTimeoutMs)
  }

  /** More bytes can tell. */
  private waitForMore(bytes: Buffer, length: number, inHello: boolean): void {
    const { timers } = this.connection.io
    if (this.held.length === 0 && (inHello || this.listener.listener.detectionTimeoutMs === 0)) {
      timers.cancel(this.deadline)
      timers.arm(this.deadline, HELLO_MS)
    }
    this.inHello = inHello
    this.held = Buffer.from(bytes.subarray(0, length))
  }

  /** The client shows nothing: it waits for the server to begin. */
  onDeadline(): void {
    const { held } = this
    if (this.awaitsHeader) {
      this.set.refusedHeader(this)
      this.connection.destroy('proxy_protocol')
      return
    }
    if (this.inHello) {
      this.onHandshakeFailed({ reason: 'timeout', text: `the ClientHello took longer than ${HELLO_MS / 1000} s`, details: {} })
      this.connection.destroy('tls_timeout')
      return
    }
    this.settle('raw_buffer', NONE, held.length === 0 ? NO_BYTES : Buffer.concat([held, Buffer.alloc(1)]), held.length)
  }

  onEnd(): void {
    this.connection.destroy('')
  }

  onWritable(): void {}

  onClose(): void {
    this.over()
  }

  // ---- the chain -------------------------------------------------------------------------------------------------------

  private settle(transport: ChainFacts['transportProtocol'], protocols: readonly string[], bytes: Buffer, length: number): void {
    const { connection, set } = this
    connection.io.timers.cancel(this.deadline)
    connection.serverName = this.tls.serverName
    const chain = this.listener.match.find({
      destinationAddress: this.destinationAddress,
      destinationPort: this.destinationPort,
      serverName: this.tls.serverName,
      transportProtocol: transport,
      applicationProtocols: protocols,
      sourceAddress: addressOf(connection.peerAddress),
      directSourceAddress: addressOf(connection.proxyAddress || connection.peerAddress),
      sourcePort: portOf(connection.peerAddress),
    })
    this.chain = chain
    if (chain === null || chain.kind === 'refuse') {
      set.refused(this, chain, this.offer(transport, protocols))
      connection.destroy('filter_chain_not_found')
      this.over()
      return
    }
    if (chain.tls === null) {
      set.arrivals.delete(this)
      chain.accept(connection)
      // Whom it refused has nothing more to say.
      if (length > 0 && !connection.ended) connection.handOn(bytes, length)
      return
    }
    const context = connection.io.tls.server(chain.tls)
    if (context === null || !(connection instanceof SocketConnection)) {
      const why =
        context === null
          ? `its certificate ${chain.tls.certificate} is not there yet`
          : 'TLS inside of a tunnel is not terminated'
      this.onHandshakeFailed({ reason: 'not_ready', text: why, details: {} })
      connection.destroy('tls_not_ready')
      return
    }
    set.arrivals.add(this)
    this.handshake = new ServerHandshake(connection.io, connection.detach(bytes.subarray(0, length)), context, this)
  }

  /** What the client came with, in words. */
  private offer(transport: ChainFacts['transportProtocol'], protocols: readonly string[]): string {
    const to = this.destinationPort === 0 ? '' : ` to ${this.destinationAddress}:${this.destinationPort}`
    if (transport === 'raw_buffer') return `plaintext${protocols[0] === undefined ? '' : ` (${protocols[0]})`}${to}`
    const { serverName } = this.tls
    return `TLS${to} with ${serverName === '' ? 'no server name' : `the server name ${serverName}`} and ${
      protocols.length === 0 ? 'no ALPN' : `ALPN ${protocols.slice(0, 10).join(', ')}`
    }`
  }

  onSecure(secure: TlsConnection): void {
    this.set.arrivals.delete(this)
    secure.originalDst = this.connection.originalDst
    secure.peerAddress = this.connection.peerAddress
    secure.proxyAddress = this.connection.proxyAddress
    secure.serverName = this.connection.serverName || (secure.tls?.sni ?? '')
    const { chain } = this
    if (chain !== null) chain.accept(secure)
  }

  onHandshakeFailed(failure: HandshakeFailure): void {
    this.over()
    this.set.handshakeFailed(this, failure)
  }

  /** The worker drains: nothing was asked yet. */
  cancel(): void {
    if (this.handshake === null) this.connection.destroy('')
    else this.handshake.cancel()
    this.over()
  }

  abandon(): void {
    this.cancel()
  }

  private over(): void {
    this.connection.io.timers.cancel(this.deadline)
    this.set.arrivals.delete(this)
  }
}

/** Of `ip:port` or `[ip]:port`. */
function addressOf(peer: string): string {
  const host = peer.slice(0, peer.lastIndexOf(':'))
  const bare = host.charCodeAt(0) === 0x5b ? host.slice(1, -1) : host
  return bare.startsWith('::ffff:') && bare.includes('.') ? bare.slice(7) : bare
}

function portOf(peer: string): number {
  return Number(peer.slice(peer.lastIndexOf(':') + 1))
}

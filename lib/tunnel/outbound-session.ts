// Hot lane: one connection that a pod of this node opened: decided, dialled (through a tunnel, two, or none), and copied. Nothing of it is read until
// somebody is there to be written to; what it carries is nobody's business here.
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { decideOutbound } from '../decide/tunnel/outbound.ts'
import type { IpPort, OutboundDecision, OutboundDraws } from '../decide/tunnel/outbound-decision.ts'
import { baggageOf, forwardedOf } from '../decide/tunnel/tunnel-headers.ts'
import { InnerTunnel } from '../hbone/inner-tunnel.ts'
import { traceparentOf } from '../hbone/trace-context.ts'
import {
  type PendingTunnel,
  type TunnelFailure,
  type TunnelOwner,
  type TunnelRequest,
  tunnelsOf,
} from '../hbone/tunnel-client.ts'
import type { TunnelConnection } from '../hbone/tunnel-connection.ts'
import { addressText } from '../state/network-address.ts'
import { type Workload, workloadIdentity } from '../state/workload.ts'
import { type Connection, type ConnectionOwner, NOBODY } from '../transport/connection.ts'
import type { SocketConnection } from '../transport/socket-connection.ts'
import { Splice, type SpliceOwner } from '../transport/splice.ts'
import { ConnectionRecord } from './connection-record.ts'
import { Dial, type DialOwner } from './dial.ts'
import type { LookupOwner } from './lookups.ts'
import type { IdentityWaiter } from './node-tunnel.ts'
import type { PodTunnel } from './pod-tunnel.ts'
import { spliceError } from './splice-error.ts'
import { clientTls } from './tunnel-tls.ts'

/** For its own workload to be told, and for its certificate. ztunnel's. */
const SOURCE_MS = 5000
/** From the decision to the answer of the other end. */
const OPEN_MS = 30_000
/** Names of one decision: its endpoint's and its gateway's, with some to spare. */
const MAX_LOOKUPS = 4

// Kinds of deadlines.
const SOURCE = 0
const OPENING = 1

export class OutboundSession
  implements ConnectionOwner, DialOwner, TunnelOwner, LookupOwner, SpliceOwner, DeadlineOwner, IdentityWaiter
{
  readonly pod: PodTunnel
  readonly connection: Connection
  readonly record: ConnectionRecord
  private readonly source: IpPort
  private readonly destination: IpPort
  private readonly draws: OutboundDraws
  private readonly resolved: Map<string, readonly string[] | null>
  private readonly asked: Set<string> | null
  private readonly sourceDeadline: Deadline
  private readonly openDeadline: Deadline
  private decision: OutboundDecision | null
  private dial: Dial | null
  private pending: PendingTunnel | null
  private inner: InnerTunnel | null
  splice: Splice | null
  /** Why its tunnel could not be opened yet; empty: it has its certificate, or has not needed it. */
  private withoutCertificate: string
  private over: boolean

  /** Owns the connection from now on. `destination`: what the pod dialled. */
  constructor(pod: PodTunnel, connection: Connection, source: IpPort, destination: IpPort) {
    const { rng } = pod.parts
    this.pod = pod
    this.connection = connection
    this.record = new ConnectionRecord(pod.parts, 'outbound', addressText(source.ip, source.port), '')
    this.source = source
    this.destination = destination
    this.draws = { waypoint: rng.uint32(), endpoint: rng.uint32(), gateway: rng.uint32(), address: rng.uint32() }
    this.resolved = new Map()
    this.asked = pod.parts.asking === null ? null : new Set()
    this.sourceDeadline = new Deadline(this, SOURCE)
    this.openDeadline = new Deadline(this, OPENING)
    this.decision = null
    this.dial = null
    this.pending = null
    this.inner = null
    this.splice = null
    this.withoutCertificate = ''
    this.over = false
    connection.owner = this
    connection.readDisable()
  }

  /** Now, or as soon as its workload is known. */
  begin(): void {
    const { pod } = this
    if (pod.local === null) {
      pod.tunnel.waitForIdentity(this)
      this.connection.io.timers.arm(this.sourceDeadline, SOURCE_MS)
    } else this.decide(pod.local)
  }

  /** The world has changed, or a certificate has come: its workload may be known now. */
  identityMayBeKnown(): void {
    const { local } = this.pod
    if (local === null || this.over) return
    // For a certificate it is waited for no longer because something else has changed.
    if (this.withoutCertificate === '') this.connection.io.timers.cancel(this.sourceDeadline)
    this.pod.tunnel.stopWaiting(this)
    this.decide(local)
  }

  onDeadline(kind: number): void {
    if (kind === SOURCE) {
      this.pod.tunnel.stopWaiting(this)
      if (this.withoutCertificate === '') this.decide(null)
      else this.fail(`identity error: ${this.withoutCertificate}`, 'IDENTITY_ERROR')
    } else this.fail('connection timed out', 'CONNECT')
  }

  abandon(): void {
    this.fail('internal error', 'CONNECT')
  }

  private decide(source: Workload | null): void {
    const { pod, record, destination } = this
    const { config } = pod.parts
    const decision = decideOutbound(pod.tunnel.index, {
      source,
      sourceInfo: pod.config,
      sourceIp: this.source.ip,
      destination,
      ownPorts: pod.tunnel.ownPorts,
      hbonePort: config.tunnelPort,
      draws: this.draws,
      resolved: this.resolved,
      asked: this.asked,
    })
    this.decision = decision
    record.outbound = decision
    record.source = decision.source
    record.destination = decision.workload
    record.service = decision.service
    if (decision.verdict === 'deny') this.fail(decision.error, '')
    else if (decision.verdict === 'resolve') this.lookUp(decision.lookup)
    else if (decision.verdict === 'ask') this.askFor(decision.lookup)
    else this.carryOut(decision)
  }

  private lookUp(hostname: string): void {
    if (this.resolved.size >= MAX_LOOKUPS) this.fail(`too many names lead to ${hostname}`, '')
    else this.pod.parts.lookups.find(hostname, this)
  }

  private askFor(name: string): void {
    const { asked, pod } = this
    if (asked === null || asked.size >= MAX_LOOKUPS) this.fail(`too many names lead to ${name}`, '')
    else pod.parts.asking?.find(name, { onAddresses: (_, answer) => this.onAnswer(name, answer !== null) })
  }

  /** `answered` false: whether there is such a name is not known, and whoever is there may not be spoken to in plain text. */
  private onAnswer(name: string, answered: boolean): void {
    if (this.over) return
    this.asked?.add(name)
    if (answered) this.decide(this.pod.local)
    else this.fail(`the control plane does not say who has ${name}`, '')
  }

  onAddresses(hostname: string, addresses: readonly string[] | null): void {
    if (this.over) return
    this.resolved.set(hostname, addresses)
    this.decide(this.pod.local)
  }

  private carryOut(decision: OutboundDecision): void {
    const { pod, record, connection } = this
    const { dial, source } = decision
    const netns = pod.netns
    if (dial === null || netns === null) {
      this.fail('no valid routing destination', '')
      return
    }
    record.destinationAddress = addressText(dial.ip, dial.port)
    record.hboneAddress = decision.authority
    connection.io.timers.arm(this.openDeadline, OPEN_MS)
    if (decision.verdict === 'tcp' || source === null) {
      record.opened()
      const options = { source: null, foreignSource: false, mark: pod.parts.config.mark, netns }
      this.dial = new Dial(connection.io, options, dial, this)
      return
    }
    record.sourceIdentity = workloadIdentity(source)
    const [expected] = decision.verdict === 'hbone' ? decision.serverIdentities.slice(-1) : decision.innerIdentities
    record.destinationIdentity = expected ?? ''
    record.opened()
    const request = { route: pod.routeTo(dial, decision.serverIdentities), authority: decision.authority, fields: this.fields() }
    this.pending = tunnelsOf(connection.io).open(request, this)
  }

  /** What the CONNECT says of the client. */
  private fields(): string {
    const { record, pod } = this
    const { source, service } = record
    const baggage = source === null ? '' : baggageOf(source)
    const forwarded = forwardedOf(this.source, service)
    return `${baggage === '' ? '' : `baggage: ${baggage}\r\n`}forwarded: ${forwarded}\r\ntraceparent: ${traceparentOf(record.id, pod.parts.rng)}\r\n`
  }

  // ---- DialOwner, TunnelOwner ------------------------------------------------------------------------------------------

  onDialled(connection: SocketConnection): void {
    this.open(connection)
  }

  onDialFailed(why: string): void {
    this.fail(`connection failed: ${why}`, 'CONNECT')
  }

  onTunnelOpen(connection: TunnelConnection): void {
    this.pending = null
    const { decision } = this
    if (decision?.verdict !== 'double-hbone' || this.inner !== null) {
      this.record.destinationIdentity = connection.tls?.peerIdentity ?? ''
      this.open(connection)
      return
    }
    const source = decision.source as Workload
    const tls = clientTls(workloadIdentity(source), decision.innerIdentities)
    const request: TunnelRequest = {
      route: this.pod.routeTo(decision.dial as IpPort, decision.serverIdentities),
      authority: decision.authority,
      fields: `${this.fields()}${source.network === '' ? '' : `x-forwarded-network: ${source.network}\r\n`}`,
    }
    this.inner = new InnerTunnel(connection, tls, request, this)
  }

  onTunnelFailed(failure: TunnelFailure, status: number, text: string): void {
    this.pending = null
    switch (failure) {
      case 'connect':
        this.fail(`connection failed: ${text}`, 'CONNECT')
        break
      case 'timeout':
        this.fail(text, 'NETWORK_POLICY')
        break
      case 'certificate':
        this.waitForCertificate(text)
        break
      case 'tls':
        this.fail(text, 'TLS_FAILURE')
        break
      case 'http2':
        this.fail(`h2 failed: ${text}`, 'H2_HANDSHAKE_FAILURE')
        break
      case 'status':
        this.fail(`http status: ${statusText(status)}`, 'CONNECT')
    }
  }

  /** A pod may speak as soon as it runs, and its certificate be on its way. */
  private waitForCertificate(text: string): void {
    const { timers } = this.connection.io
    timers.cancel(this.openDeadline)
    this.inner = null
    if (this.withoutCertificate === '') timers.arm(this.sourceDeadline, SOURCE_MS)
    this.withoutCertificate = text
    this.pod.tunnel.waitForIdentity(this)
  }

  /** Somebody is there: from here on it is copying. */
  private open(upstream: Connection): void {
    if (this.over) {
      upstream.destroy('')
      return
    }
    const { connection } = this
    connection.io.timers.cancel(this.openDeadline)
    connection.io.timers.cancel(this.sourceDeadline)
    this.dial = null
    this.splice = new Splice(connection, upstream, this)
    connection.readEnable()
  }

  onSpliceClosed(splice: Splice): void {
    if (splice.reason !== '') this.record.failed(spliceError(splice, splice.second), 'CONNECT')
    this.finish()
  }

  // ---- the pod's connection while nobody is there ------------------------------------------------------------------------

  onData(): void {}

  onEnd(): void {}

  onWritable(): void {}

  onClose(reason: string): void {
    this.record.failed(reason === '' ? '' : `io error: ${reason}`, 'CONNECT')
    this.finish()
  }

  // ---- ends --------------------------------------------------------------------------------------------------------------

  private fail(error: string, flag: ConnectionRecord['flag']): void {
    if (this.over) return
    this.record.failed(error, flag)
    this.connection.abort('refused')
  }

  /** Ends it now. */
  cut(error: string): void {
    this.record.failed(error, 'CONNECT')
    if (this.splice !== null) this.splice.cut('drain_deadline')
    else this.connection.abort('drain_deadline')
  }

  /** About once a second. */
  sweep(): void {
    const { splice, record } = this
    if (splice !== null) record.report(splice.first.connection.bytesRead, splice.first.connection.bytesWritten)
  }

  private finish(): void {
    if (this.over) return
    this.over = true
    const { connection, record, pod } = this
    const { timers } = connection.io
    timers.cancel(this.sourceDeadline)
    timers.cancel(this.openDeadline)
    pod.tunnel.stopWaiting(this)
    this.dial?.cancel()
    this.inner?.cancel()
    if (this.pending !== null) tunnelsOf(connection.io).cancel(this.pending)
    connection.owner = NOBODY
    pod.sessionOver(this)
    record.finish(connection.bytesRead, connection.bytesWritten)
  }
}

const STATUS_NAMES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  503: 'Service Unavailable',
}

function statusText(status: number): string {
  const name = STATUS_NAMES[status]
  return name === undefined ? String(status) : `${status} ${name}`
}

// Hot lane: one connection to a pod of this node that may come in: its application is dialled as the client, told where that was asked for, and copied to
// and from. It came as a stream of a tunnel, or in plain text.
import type { InboundDecision } from '../decide/tunnel/inbound-decision.ts'
import type { IpPort } from '../decide/tunnel/outbound-decision.ts'
import { baggageOf } from '../decide/tunnel/tunnel-headers.ts'
import type { Http2Stream } from '../http/h2/stream.ts'
import type { L4Connection } from '../policy/l4-match.ts'
import { type Connection, type ConnectionOwner, NOBODY } from '../transport/connection.ts'
import type { SocketConnection } from '../transport/socket-connection.ts'
import { Splice, type SpliceOwner } from '../transport/splice.ts'
import type { ConnectionRecord } from './connection-record.ts'
import { Dial, type DialOwner } from './dial.ts'
import type { PodTunnel } from './pod-tunnel.ts'
import { proxyHeaderBytes } from './proxy-v2.ts'
import { spliceError } from './splice-error.ts'

export class InboundSession implements ConnectionOwner, DialOwner, SpliceOwner {
  readonly pod: PodTunnel
  readonly connection: Connection
  readonly record: ConnectionRecord
  private readonly decision: InboundDecision
  /** null: plain text. */
  private readonly stream: Http2Stream | null
  private dial: Dial | null
  splice: Splice | null
  private over: boolean

  /** Owns the client's connection from now on, and dials. `decision` lets it in. */
  constructor(
    pod: PodTunnel,
    connection: Connection,
    stream: Http2Stream | null,
    record: ConnectionRecord,
    decision: InboundDecision,
  ) {
    const { config, io } = pod.parts
    this.pod = pod
    this.connection = connection
    this.record = record
    this.decision = decision
    this.stream = stream
    this.splice = null
    this.over = false
    connection.owner = this
    connection.readDisable()
    const options = { source: decision.bindIp, foreignSource: decision.bindIp !== null, mark: config.mark, netns: pod.netns }
    this.dial = new Dial(io, options, decision.target as IpPort, this)
  }

  // ---- DialOwner -------------------------------------------------------------------------------------------------------

  onDialled(application: SocketConnection): void {
    this.dial = null
    const { stream, decision, connection } = this
    if (decision.proxyHeader !== null) {
      const bytes = proxyHeaderBytes(decision.proxyHeader)
      application.writeBytes(bytes, 0, bytes.length)
    }
    // Only now, so that the other end learns of an application that is not there.
    if (stream !== null) {
      const baggage = decision.workload === null ? '' : baggageOf(decision.workload)
      stream.sendHeaders(200, baggage === '' ? '' : `baggage: ${baggage}\r\n`, false)
    }
    this.splice = new Splice(connection, application, this)
    connection.readEnable()
  }

  onDialFailed(why: string): void {
    this.dial = null
    const { stream, record } = this
    record.failed(`connection failed: ${why}`, 'CONNECT')
    if (stream === null) {
      this.connection.abort('refused')
      return
    }
    stream.sendHeaders(503, '', true)
    stream.stopReceiving()
    this.finish()
  }

  onSpliceClosed(splice: Splice): void {
    if (splice.reason !== '') this.record.failed(spliceError(splice, splice.second), 'CONNECT')
    this.finish()
  }

  // ---- the client's connection while nobody is there ----------------------------------------------------------------------

  onData(): void {}

  onEnd(): void {}

  onWritable(): void {}

  onClose(reason: string): void {
    this.record.failed(reason === '' ? '' : `io error: ${reason}`, 'CONNECT')
    this.finish()
  }

  // ---- ends ------------------------------------------------------------------------------------------------------------

  /** Policies have changed: it is asked again, and closed when it may not be any more. */
  recheck(): void {
    const { pod, decision } = this
    const { local } = pod
    const asked = connectionOf(decision)
    if (asked === null || (local !== null && pod.tunnel.authorizer.check(local, asked).allowed)) return
    this.record.failed('connection closed due to policy change', 'DENY')
    this.close('policy_change')
  }

  /** Ends it now. */
  cut(error: string): void {
    this.record.failed(error, 'CONNECT')
    this.close('drain_deadline')
  }

  private close(reason: string): void {
    if (this.splice !== null) this.splice.cut(reason)
    else this.connection.abort(reason)
  }

  /** About once a second. */
  sweep(): void {
    const { splice, record } = this
    if (splice !== null) record.report(splice.first.connection.bytesWritten, splice.first.connection.bytesRead)
  }

  private finish(): void {
    if (this.over) return
    this.over = true
    const { connection, record } = this
    this.dial?.cancel()
    connection.owner = NOBODY
    this.pod.sessionOver(this)
    record.finish(connection.bytesWritten, connection.bytesRead)
  }
}

function connectionOf({ steps }: InboundDecision): L4Connection | null {
  for (const step of steps) if (step.kind === 'policy') return step.connection
  return null
}

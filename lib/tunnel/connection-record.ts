// Hot lane: what is known of one connection of the tunnel, for its line of the access log, its metrics and for those who ask later.
import type { InboundDecision } from '../decide/tunnel/inbound-decision.ts'
import type { OutboundDecision } from '../decide/tunnel/outbound-decision.ts'
import type { MeshService } from '../state/mesh-service.ts'
import type { Workload } from '../state/workload.ts'
import type { TunnelFlag, TunnelRecord } from '../telemetry/tunnel-record.ts'
import type { TunnelParts } from './tunnel-parts.ts'

export class ConnectionRecord implements TunnelRecord {
  readonly id: string
  readonly direction: 'inbound' | 'outbound'
  readonly startTimeMs: number
  readonly sourceAddress: string
  durationMs: number
  source: Workload | null
  sourceIdentity: string
  destinationAddress: string
  hboneAddress: string
  destination: Workload | null
  destinationIdentity: string
  service: MeshService | null
  bytesSent: number
  bytesReceived: number
  error: string
  flag: TunnelFlag
  refusedEarly: boolean
  outbound: OutboundDecision | null
  inbound: InboundDecision | null
  private readonly parts: TunnelParts
  private readonly startMs: number
  /** Of its series; -1: none yet. */
  private slot: number
  private reportedSent: number
  private reportedReceived: number
  private finished: boolean

  /** A connection was accepted. `id`: of a trace that it belongs to; empty: it begins one. */
  constructor(parts: TunnelParts, direction: 'inbound' | 'outbound', sourceAddress: string, id: string) {
    const { clock } = parts.io
    this.parts = parts
    this.id = id === '' ? parts.ids.create().replaceAll('-', '') : id
    this.direction = direction
    this.startTimeMs = clock.wallMs
    this.startMs = clock.monotonicMs
    this.sourceAddress = sourceAddress
    this.durationMs = 0
    this.source = null
    this.sourceIdentity = ''
    this.destinationAddress = ''
    this.hboneAddress = ''
    this.destination = null
    this.destinationIdentity = ''
    this.service = null
    this.bytesSent = 0
    this.bytesReceived = 0
    this.error = ''
    this.flag = ''
    this.refusedEarly = false
    this.outbound = null
    this.inbound = null
    this.slot = -1
    this.reportedSent = 0
    this.reportedReceived = 0
    this.finished = false
    parts.metrics.sockets(direction, 1)
  }

  /** It is known where it goes to, and that it may. Counted once. */
  opened(): void {
    if (this.slot >= 0) return
    this.slot = this.parts.metrics.opened(this)
  }

  /** Why it did not come about or was cut; the first reason stands. */
  failed(error: string, flag: TunnelFlag): void {
    if (this.error !== '') return
    this.error = error
    this.flag = flag
  }

  /** Long connections report while they last. */
  report(sent: number, received: number): void {
    this.bytesSent = sent
    this.bytesReceived = received
    if (this.slot < 0) return
    const [newSent, newReceived] = [sent - this.reportedSent, received - this.reportedReceived]
    this.reportedSent = sent
    this.reportedReceived = received
    // A client sends to its server; a server receives from its client.
    if (this.direction === 'outbound') this.parts.metrics.bytes(this.slot, newSent, newReceived)
    else this.parts.metrics.bytes(this.slot, newReceived, newSent)
  }

  /** It is over: logged, counted, kept. Once. */
  finish(sent: number, received: number): void {
    if (this.finished) return
    this.finished = true
    const { io, metrics, accessLog, recent } = this.parts
    this.durationMs = Math.round(io.clock.monotonicMs - this.startMs)
    this.report(sent, received)
    this.refusedEarly = this.slot < 0 && this.error !== '' && this.destinationAddress === ''
    metrics.sockets(this.direction, -1)
    if (this.slot >= 0) metrics.closed(this.slot)
    if (this.error !== '') metrics.failed(this)
    recent.add(this)
    if (accessLog !== null) accessLog.logTunnel(this)
  }
}

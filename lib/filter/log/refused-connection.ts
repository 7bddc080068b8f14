import type { Connection } from '../../transport/connection.ts'
import { TcpRecord } from '../network/tcp-record.ts'
import type { LogContext } from './log-context.ts'

/** The record of a connection that nobody took, for the log of its listener or of the chain that refused it. */
export class RefusedConnection extends TcpRecord implements LogContext {
  readonly connection: Connection
  readonly startTimeMs: number
  readonly logType: LogContext['logType']
  readonly responseFlags: number
  /** Why it was refused, in Envoy's words; empty: it has none. */
  private readonly details: string
  readonly upstreamCluster: string

  constructor(connection: Connection, logType: LogContext['logType'], flags: number, details: string, cluster: string) {
    super()
    this.connection = connection
    this.startTimeMs = connection.io.clock.wallMs
    this.logType = logType
    this.responseFlags = flags
    this.details = details
    this.upstreamCluster = cluster
  }

  override get responseCodeDetails(): string {
    return this.details
  }

  get durationMs(): number {
    return 0
  }

  get attempts(): number {
    return 0
  }

  get connectionTerminationDetails(): string {
    return ''
  }

  get upstreamTransportFailureReason(): string {
    return ''
  }

  get upstreamHost(): string {
    return ''
  }

  get upstreamLocalAddress(): string {
    return ''
  }

  get upstreamTls(): null {
    return null
  }
}

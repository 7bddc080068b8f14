// Hot lane: one raw connection to an endpoint, for TCP proxying and CONNECT: made once, never pooled, counted against the same limits.
import type { Connection } from '../transport/connection.ts'
import { type ConnectOwner, Connector } from './connector.ts'
import type { EndpointPool } from './endpoint-pool.ts'
import { RESET_OVERFLOW } from './exchange.ts'

export interface TcpConnectOwner {
  /** The connection is the caller's, who owns it from now on. Afterwards `release` is to be called once, at its end. */
  onTcpConnected(connection: Connection): void
  onTcpFailed(reason: number, detail: string): void
}

export class TcpConnector implements ConnectOwner {
  private readonly pool: EndpointPool
  private readonly owner: TcpConnectOwner
  private connector: Connector | null
  private counted: boolean

  constructor(pool: EndpointPool, owner: TcpConnectOwner) {
    this.pool = pool
    this.owner = owner
    this.connector = null
    this.counted = false
  }

  /** `clientAddress`: `ip:port` of the client, which the endpoint sees or is told where the cluster says so, with what it dialled. */
  start(clientAddress: string, dialled: string): void {
    const { pool } = this
    if (!pool.places.takeStrictly(pool.host)) {
      pool.values[pool.stats.cxOverflow]!++
      this.owner.onTcpFailed(RESET_OVERFLOW, '')
      return
    }
    this.counted = true
    const told = pool.settings.proxyProtocol === 'none' ? null : { source: clientAddress, destination: dialled }
    this.connector = new Connector(pool, 'tcp', this, clientAddress, told)
  }

  onConnected(_connector: Connector, connection: Connection): void {
    this.pool.noteConnected()
    this.pool.requestsTotal++
    this.owner.onTcpConnected(connection)
  }

  onConnectFailed(_connector: Connector, reason: number, detail: string): void {
    this.pool.noteConnectFailed(reason)
    this.giveBack()
    this.owner.onTcpFailed(reason, detail)
  }

  /** The session is over. */
  release(bytesRead: number, bytesWritten: number): void {
    this.pool.noteClosed(bytesRead, bytesWritten)
    this.giveBack()
  }

  /** Nobody waits for it any more; harmless once it is connected or has failed. */
  cancel(): void {
    const { connector } = this
    if (connector === null || !connector.cancel()) return
    this.giveBack()
  }

  private giveBack(): void {
    if (!this.counted) return
    this.counted = false
    this.pool.places.give(this.pool.host)
  }
}

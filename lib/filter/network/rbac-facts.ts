// Hot lane: what authorization reads of a connection. One for each listener in a worker, filled anew for each question; addresses are parsed when a
// policy asks for them, once for each question.
import { ipOf } from '../../base/ip-address.ts'
import { type IpNumber, parseIp } from '../../base/ip-prefix.ts'
import type { JsonObject } from '../../base/json-value.ts'
import type { RbacFacts } from '../../policy/rbac-facts.ts'
import type { RequestView } from '../../route/request-view.ts'
import { PEER_PRINCIPAL } from '../../state/rbac.ts'
import type { Connection } from '../../transport/connection.ts'

const NO_NAMES: readonly string[] = []

export class ConnectionRbacFacts implements RbacFacts {
  protected connection: Connection | null
  /** What stands for the dialled address where the connection does not know it; empty: nothing. */
  private fallback: string
  /** undefined: not looked at yet. */
  private peer: IpNumber | null | undefined
  private destination: IpNumber | null | undefined
  protected client: IpNumber | null | undefined

  constructor() {
    this.connection = null
    this.fallback = ''
    this.peer = undefined
    this.destination = undefined
    this.client = undefined
  }

  /** `originalDst`: of the listener. */
  take(connection: Connection, originalDst: string): this {
    this.connection = connection
    this.fallback = originalDst
    this.peer = undefined
    this.destination = undefined
    this.client = undefined
    return this
  }

  get request(): RequestView | null {
    return null
  }

  get path(): string | null {
    return null
  }

  get destinationIp(): IpNumber | null {
    if (this.destination === undefined) this.destination = parseIp(ipOf(this.dialled))
    return this.destination
  }

  get destinationPort(): number {
    const { dialled } = this
    return Number(dialled.substring(dialled.lastIndexOf(':') + 1))
  }

  get directRemoteIp(): IpNumber | null {
    const { connection } = this
    if (this.peer === undefined)
      this.peer = connection === null ? null : parseIp(ipOf(connection.proxyAddress || connection.peerAddress))
    return this.peer
  }

  /** Who a proxy in front asks for (PROXY protocol), else the other end. */
  get remoteIp(): IpNumber | null {
    const { connection } = this
    return connection === null || connection.proxyAddress === '' ? this.directRemoteIp : parseIp(ipOf(connection.peerAddress))
  }

  get serverName(): string {
    return this.connection === null ? '' : this.connection.serverName
  }

  /** Inside of a tunnel the client is who has opened it. */
  get peerNames(): readonly string[] | null {
    const tls = this.connection === null ? null : this.connection.tls
    if (tls === null) return null
    return tls.peerCertificate === null ? NO_NAMES : tls.peerCertificate.names
  }

  filterState(key: string): string | null {
    const tls = this.connection === null ? null : this.connection.tls
    return key === PEER_PRINCIPAL && tls?.tunnel && tls.peerIdentity !== '' ? tls.peerIdentity : null
  }

  metadata(_filter: string): JsonObject | null {
    return null
  }

  /** `ip:port`. */
  private get dialled(): string {
    const { connection } = this
    return connection === null ? '' : connection.originalDst || this.fallback || connection.localAddress
  }
}

import type { Origin } from './origin.ts'
import type { WeightedCluster } from './route.ts'

/** A listener as the data path needs it; made from the bootstrap's explicit listeners. */
export interface Listener {
  readonly name: string
  readonly direction: 'inbound' | 'outbound'
  readonly protocol: 'http' | 'tcp'
  /** HTTP only: `auto` tells HTTP/2 (with prior knowledge) from HTTP/1 by the first bytes. */
  readonly httpVersion: 'auto' | 'http1' | 'http2'
  readonly address: string
  /** 0: the system chooses; `/listeners` shows what it chose. */
  readonly port: number
  /**
   * Name of the route table that this listener always uses, as an intercepted port does; empty: the table is chosen by the
   * port of the request's authority.
   */
  readonly routeTable: string
  /** TCP only: where connections go, drawn by weight. Empty: connections are closed with NC. */
  readonly tcpClusters: readonly WeightedCluster[]
  /** TCP only: the endpoint is chosen by the client's address, where the balancer hashes (consistentHash.useSourceIp). */
  readonly hashSourceIp: boolean
  /** CONNECT opens a tunnel to the service that its authority names; otherwise it is answered 404. */
  readonly allowConnect: boolean
  /** `address:port` that stands in for the address the client dialled; empty: unknown. PassthroughCluster dials it. */
  readonly originalDst: string
  readonly origin: Origin
}

// What an access log line and the standard metrics are made of. The HTTP stream and the TCP session implement it, so that
// nothing is copied at the end of a request.

import type { Peer } from './istio-labels.ts'

export interface AccessRecord {
  /** Wall clock at the first byte of the request, ms since the epoch. */
  readonly startTimeMs: number
  /** Whole milliseconds from `startTimeMs` to the last byte out. */
  readonly durationMs: number
  /** Empty for TCP. */
  readonly method: string
  /** What the client asked for (x-envoy-original-path, else the path as routed). */
  readonly originalPath: string
  readonly authority: string
  /** `HTTP/1.1`, or empty for TCP. */
  readonly protocol: string
  /** 0 when nothing was answered. */
  readonly responseCode: number
  /** Bits of response-flags.ts. */
  readonly responseFlags: number
  /** `via_upstream`, …; empty for none. */
  readonly responseCodeDetails: string
  readonly connectionTerminationDetails: string
  readonly upstreamTransportFailureReason: string
  /** Body bytes. */
  readonly bytesReceived: number
  readonly bytesSent: number
  /** -1: no upstream answered. */
  readonly upstreamServiceTimeMs: number
  readonly upstreamHost: string
  readonly upstreamCluster: string
  readonly upstreamLocalAddress: string
  readonly downstreamLocalAddress: string
  /** The other end of the connection, or who a proxy in front that is believed names. */
  readonly downstreamPeerAddress: string
  readonly requestedServerName: string
  readonly routeName: string
  /** SPIFFE id of the client of an inbound listener, of the endpoint of an outbound one, from verified certificates; empty: none. */
  readonly peerPrincipal: string
  /** The one that we showed it; empty: none. */
  readonly ownPrincipal: string
  /** What the proxy at the other end has said of itself; null: nothing. */
  readonly peer: Peer | null
  readonly attempts: number
  /** A request header by its lower-case name; null when absent. */
  requestHeader(name: 'x-forwarded-for' | 'user-agent' | 'x-request-id'): string | null
}

// What the record of a TCP connection has in common with that of a request, and what only requests have: a connection has none.
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { HeaderView, RequestView } from '../../route/request-view.ts'
import type { Peer } from '../../telemetry/istio-labels.ts'
import type { Connection } from '../../transport/connection.ts'
import type { TlsFacts } from '../../transport/tls-facts.ts'

const HOSTNAME = hostname()

const NO_HEADERS: HeaderView = { get: () => null, indexOf: () => -1, valueAt: () => '' }
const NO_REQUEST: RequestView = {
  method: '',
  path: '',
  query: null,
  scheme: '',
  authority: '',
  headers: NO_HEADERS,
  metadata: null,
}

export abstract class TcpRecord {
  abstract readonly connection: Connection

  // ---- of the connection -------------------------------------------------------------------------------------------------

  get bytesReceived(): number {
    return this.connection.bytesRead
  }

  get bytesSent(): number {
    return this.connection.bytesWritten
  }

  get requestWireBytes(): number {
    return this.connection.bytesRead
  }

  get responseWireBytes(): number {
    return this.connection.bytesWritten
  }

  /** What the client dialled: Envoy restores it to captured connections. */
  get downstreamLocalAddress(): string {
    return this.connection.originalDst || this.connection.localAddress
  }

  get downstreamDirectLocalAddress(): string {
    return this.connection.localAddress
  }

  get downstreamRemoteAddress(): string {
    return this.connection.peerAddress
  }

  get downstreamPeerAddress(): string {
    return this.connection.peerAddress
  }

  get downstreamDirectRemoteAddress(): string {
    return this.connection.proxyAddress || this.connection.peerAddress
  }

  get requestedServerName(): string {
    return this.connection.serverName
  }

  get downstreamTls(): TlsFacts | null {
    return this.connection.tls
  }

  get hostname(): string {
    return HOSTNAME
  }

  uniqueId(): string {
    return randomUUID()
  }

  environment(name: string): string {
    return process.env[name] ?? ''
  }

  // ---- of requests -------------------------------------------------------------------------------------------------------

  get method(): string {
    return ''
  }

  get originalPath(): string {
    return ''
  }

  get sentPath(): string {
    return ''
  }

  get pathWithQuery(): string {
    return ''
  }

  get scheme(): string {
    return ''
  }

  get authority(): string {
    return ''
  }

  get protocol(): string {
    return ''
  }

  get responseCode(): number {
    return 0
  }

  get responseCodeDetails(): string {
    return ''
  }

  get grpcStatus(): number {
    return -2
  }

  get upstreamServiceTimeMs(): number {
    return -1
  }

  get routeName(): string {
    return ''
  }

  get peer(): Peer | null {
    return this.connection.told
  }

  get virtualHostName(): string {
    return ''
  }

  get request(): RequestView {
    return NO_REQUEST
  }

  get requestHeaders(): HeaderView {
    return NO_HEADERS
  }

  get responseHeaders(): null {
    return null
  }

  get metadata(): null {
    return null
  }

  get requestEndMs(): number {
    return -1
  }

  get requestSentMs(): number {
    return -1
  }

  get responseBeginMs(): number {
    return -1
  }

  get overMs(): number {
    return -1
  }

  requestHeader(): string | null {
    return null
  }

  requestField(): string | null {
    return null
  }

  responseTrailer(): string | null {
    return null
  }
}

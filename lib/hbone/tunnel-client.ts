// Hot lane: tunnels to others: CONNECT streams over mTLS HTTP/2 connections, which are pooled by who we are, whom we expect, where it is and from
// where we come. Who asks first waits with all others for one handshake.
import { CANCEL } from '../http/h2/error-codes.ts'
import type { Http2Stream } from '../http/h2/stream.ts'
import type { UpstreamTls } from '../state/tls.ts'
import type { Netns } from '../sys/netns.ts'
import type { Io } from '../transport/io.ts'
import type { TunnelConnection } from './tunnel-connection.ts'
import { TunnelLink } from './tunnel-link.ts'

/** Where a tunnel leads, and as whom. Compiled once, asked with often. */
export interface TunnelRoute {
  /** IP address of the proxy at the other end, and its port. */
  readonly address: string
  readonly port: number
  /** Whose certificate is presented, and who the other end must be. ALPN is h2. */
  readonly tls: UpstreamTls
  /** Source address; null: the system's choice. With `foreignSource` it may be another machine's. */
  readonly source: string | null
  readonly foreignSource: boolean
  /** SO_MARK; 0: none. */
  readonly mark: number
  /** Network namespace that the connection is made in; null: our own. */
  readonly netns: Netns | null
  /** Milliseconds for connection and handshake; 0: no limit. */
  readonly connectTimeoutMs: number
}

export interface TunnelRequest {
  readonly route: TunnelRoute
  /** `ip:port` or `host:port`: where the other end is to connect to. */
  readonly authority: string
  /** Further fields of the CONNECT, lines with CRLF: baggage, forwarded, traceparent. */
  readonly fields: string
}

/**
 * Which step failed: the connection (`timeout`: nothing answered), our certificate is not there, the handshake, HTTP/2 before an answer came, or
 * the other end answered no.
 */
export type TunnelFailure = 'connect' | 'timeout' | 'certificate' | 'tls' | 'http2' | 'status'

/** Exactly one of the two is called, in a later turn, unless the request is cancelled. */
export interface TunnelOwner {
  /** The other end has connected. The connection is the owner's, who makes itself its owner at once. */
  onTunnelOpen(connection: TunnelConnection): void
  /** `status`: what the other end answered; 0: it did not come to that. `text`: a sentence for logs. */
  onTunnelFailed(failure: TunnelFailure, status: number, text: string): void
}

/** How long a connection without streams is kept. */
const IDLE_MS = 300_000

/** A CONNECT that the other end has not looked at (it was going, or had no room) is sent again on another connection, so many times in all. */
const MAX_TRIES = 4

/** One request on its way. */
export interface PendingTunnel {
  readonly request: TunnelRequest
  readonly owner: TunnelOwner
  cancelled: boolean
  tries: number
  link: TunnelLink | null
  /** Once it is asked for. */
  stream: Http2Stream | null
}

export class TunnelClient {
  private readonly io: Io
  private readonly links: Map<string, TunnelLink[]>
  /** Routes are compared by content. */
  private readonly keys: WeakMap<TunnelRoute, string>

  constructor(io: Io) {
    this.io = io
    this.links = new Map()
    this.keys = new WeakMap()
  }

  open(request: TunnelRequest, owner: TunnelOwner): PendingTunnel {
    const pending: PendingTunnel = { request, owner, cancelled: false, tries: 0, link: null, stream: null }
    this.place(pending)
    return pending
  }

  private place(pending: PendingTunnel): void {
    const { route } = pending.request
    const key = this.keyOf(route)
    let list = this.links.get(key)
    if (list === undefined) {
      list = []
      this.links.set(key, list)
    }
    let link = list.find((l) => l.hasRoom)
    if (link === undefined) {
      link = new TunnelLink(this.io, route, this, (gone) => this.forget(key, gone))
      list.push(link)
    }
    pending.tries++
    pending.link = link
    link.take(pending)
  }

  /** From a link: the other end has not looked at it. */
  again(pending: PendingTunnel, text: string): void {
    if (pending.cancelled) return
    pending.stream = null
    pending.link = null
    // In a later turn: the link is about to say that it takes no more.
    setImmediate(() => {
      this.io.run('tunnel', () => {
        if (pending.cancelled) return
        if (pending.tries < MAX_TRIES) this.place(pending)
        else pending.owner.onTunnelFailed('http2', 0, text)
      })
    })
  }

  /** Nobody waits for it any more; harmless once it is answered. */
  cancel(pending: PendingTunnel): void {
    if (pending.cancelled) return
    pending.cancelled = true
    pending.link?.drop(pending)
    pending.stream?.reset(CANCEL)
  }

  private keyOf(route: TunnelRoute): string {
    let key = this.keys.get(route)
    if (key === undefined) {
      key = JSON.stringify({ ...route, netns: route.netns === null ? '' : route.netns.identity })
      this.keys.set(route, key)
    }
    return key
  }

  private forget(key: string, link: TunnelLink): void {
    const list = this.links.get(key)
    if (list === undefined) return
    const i = list.indexOf(link)
    if (i >= 0) list.splice(i, 1)
    if (list.length === 0) this.links.delete(key)
  }

  /** About once a second. */
  sweep(): void {
    const now = this.io.clock.monotonicMs
    for (const list of this.links.values()) for (const link of [...list]) if (link.idleMs(now) >= IDLE_MS) link.retire()
  }

  /** Secrets have changed: connections that stand end with their last stream, new tunnels are opened with the new ones. */
  renew(): void {
    // Who retires leaves its list.
    for (const list of [...this.links.values()]) for (const link of [...list]) link.retire()
    this.links.clear()
  }

  get connections(): number {
    let n = 0
    for (const list of this.links.values()) n += list.length
    return n
  }
}

const clients = new WeakMap<Io, TunnelClient>()

/** The one of a thread. */
export function tunnelsOf(io: Io): TunnelClient {
  let client = clients.get(io)
  if (client === undefined) {
    client = new TunnelClient(io)
    clients.set(io, client)
  }
  return client
}

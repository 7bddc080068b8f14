// Hot lane: what authorization reads of a request.
import { type IpNumber, parseIp } from '../../base/ip-prefix.ts'
import type { JsonObject } from '../../base/json-value.ts'
import type { HeaderView, RequestView } from '../../route/request-view.ts'
import { ConnectionRbacFacts } from '../network/rbac-facts.ts'
import type { HttpStream } from './http-stream.ts'

export class HttpRbacFacts extends ConnectionRbacFacts {
  private stream: HttpStream | null
  private view: RequestView | null

  constructor() {
    super()
    this.stream = null
    this.view = null
  }

  /** `view`: the request as it came; of one that is over its stream does not have the headers any more. */
  ask(stream: HttpStream, view: RequestView): this {
    this.take(stream.session.connection, stream.manager.listener.originalDst)
    this.stream = stream
    this.view = view
    return this
  }

  override get request(): RequestView | null {
    return this.view
  }

  override get path(): string | null {
    const { view } = this
    return view === null || view.method === 'CONNECT' ? null : view.path
  }

  /**
   * At the edge who the stream has found out; in the mesh the last entry of x-forwarded-for, which whoever is in front has written (Envoy without
   * use_remote_address). What is no address leaves the peer.
   */
  override get remoteIp(): IpNumber | null {
    if (this.client === undefined) this.client = parseIp(this.saidAddress()) ?? super.remoteIp
    return this.client
  }

  override metadata(filter: string): JsonObject | null {
    const known = this.stream === null ? null : this.stream.metadata
    return known === null ? null : (known.get(filter) ?? null)
  }

  private saidAddress(): string {
    const { stream, view } = this
    if (stream === null || view === null) return ''
    return stream.manager.config.edge === null ? lastForwarded(view.headers) : stream.clientAddress
  }
}

/** The last entry of x-forwarded-for; empty: there is none. */
export function lastForwarded(headers: HeaderView): string {
  let last = ''
  for (let i = headers.indexOf('x-forwarded-for', 0); i >= 0; i = headers.indexOf('x-forwarded-for', i + 1))
    last = headers.valueAt(i)
  return last.substring(last.lastIndexOf(',') + 1).trim()
}

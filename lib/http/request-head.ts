// Hot lane: the head of a request as every attempt and copy of it sends it.
import type { HeaderMap } from './header-map.ts'

/** Made once for a request, when its headers have their final form; attempts add only their own number. */
export class RequestHead {
  readonly method: string
  /** Origin form. */
  readonly target: string
  /** With `host`, without framing and hop-by-hop fields. Valid as long as the request is. */
  readonly headers: HeaderMap
  /** The body's length is not known. */
  readonly chunked: boolean
  /** Names of fields that came as never indexed and are passed on so (RFC 7541 §7.1.3), as `,a,b,`; empty for none. */
  readonly neverIndexed: string
  private lines: string | null

  constructor(method: string, target: string, headers: HeaderMap, chunked: boolean, neverIndexed: string) {
    this.method = method
    this.target = target
    this.headers = headers
    this.chunked = chunked
    this.neverIndexed = neverIndexed
    this.lines = null
  }

  /** Field lines for HTTP/1, each with CRLF. */
  get fields(): string {
    this.lines ??= this.headers.serialise()
    return this.lines
  }
}

// Hot lane: the head of a request as every attempt and copy of it sends it.
import type { HeaderMap } from './header-map.ts'

/** Made once for a request, when its headers have their final form; attempts add only their own number. */
export class RequestHead {
  readonly method: string
  /** `http` or `https`: what the request is by its own word, whatever it travels over. */
  readonly scheme: string
  /** Origin form. */
  readonly target: string
  /** The protocol of an Upgrade, which HTTP/2 asks for by extended CONNECT (RFC 8441); empty for none. */
  readonly upgrade: string
  /** With `host`, without framing and hop-by-hop fields. Valid as long as the request is. */
  readonly headers: HeaderMap
  /** Field lines that only HTTP/1 needs: those of an Upgrade, the length of a body that is not there. */
  readonly http1Fields: string
  /** The body's length is not known. */
  readonly chunked: boolean
  /** Names of fields that came as never indexed and are passed on so (RFC 7541 §7.1.3), as `,a,b,`; empty for none. */
  readonly neverIndexed: string
  private lines: string | null

  constructor(
    method: string,
    scheme: string,
    target: string,
    upgrade: string,
    headers: HeaderMap,
    http1Fields: string,
    chunked: boolean,
    neverIndexed: string,
  ) {
    this.method = method
    this.scheme = scheme
    this.target = target
    this.upgrade = upgrade
    this.headers = headers
    this.http1Fields = http1Fields
    this.chunked = chunked
    this.neverIndexed = neverIndexed
    this.lines = null
  }

  /** Field lines for HTTP/1, each with CRLF. */
  get fields(): string {
    this.lines ??= this.headers.serialise() + this.http1Fields
    return this.lines
  }

  /** The headers have changed since the last attempt. */
  headersChanged(): void {
    this.lines = null
  }
}

import type { PeerCertificate } from './peer-certificate.ts'

/** What a finished handshake said, once for each connection. */
export interface TlsFacts {
  /** `TLSv1.3`. */
  readonly version: string
  readonly cipher: string
  /** What the client asked for; empty: nothing. */
  readonly sni: string
  /** What was agreed on; empty: nothing. */
  readonly alpn: string
  /** The session was resumed: no certificates were exchanged anew, those of the first handshake stand. */
  readonly resumed: boolean
  /** SPIFFE id of the peer, from its verified certificate only; empty: it has none, or was not asked. */
  readonly peerIdentity: string
  /** SPIFFE id in the certificate that was presented to it; empty: none. */
  readonly localIdentity: string
  /** null: it presented none. */
  readonly peerCertificate: PeerCertificate | null
  /** Not of the connection itself but of the tunnel that carries it: who the peer is it knows from there, and inside it may be plaintext. */
  readonly tunnel: boolean
}

/** Of the connections inside of a tunnel. */
export function factsThrough(tunnel: TlsFacts | null): TlsFacts | null {
  return tunnel === null ? null : { ...tunnel, sni: '', alpn: '', tunnel: true }
}

// TLS as configuration (envoy.extensions.transport_sockets.tls.v3). Keys and certificates are never here: a noun names a secret, and the secrets
// go to the workers by a way of their own (server/messages.ts), so that no dump of configuration can hold one.

import type { Origin } from './origin.ts'

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

/** Name of the workload's own certificate, as Istio's SDS has it. */
export const OWN_CERTIFICATE = 'default'
/** Name of the mesh's trust: the bundle of each trust domain, and which of them are ours. A peer is a SPIFFE id or nobody. */
export const MESH_TRUST = 'ROOTCA'
/** Name of the system's certificate authorities. */
export const SYSTEM_TRUST = 'file-root:system'
export const FILE_CERTIFICATE = 'file-cert:'
export const FILE_ROOT = 'file-root:'

/**
 * Names of secrets: `default`, a SPIFFE id (`spiffe://…`: the certificate of that identity), `kubernetes://NAMESPACE/NAME` (a Secret of kind
 * TLS), `file-cert:CHAIN~KEY`, and for trust `ROOTCA`, `file-root:PATH`, `file-root:PATH~CRL`, `kubernetes://NAMESPACE/NAME`.
 */
export type SecretName = string

export function isFile(name: SecretName): boolean {
  return name !== SYSTEM_TRUST && (name.startsWith(FILE_CERTIFICATE) || name.startsWith(FILE_ROOT))
}

/** The peer's own certificate must be one of these, whoever vouches for it (Envoy verify_certificate_spki and verify_certificate_hash): one match of either list. */
export interface CertificatePins {
  /** SHA-256 of public keys (SubjectPublicKeyInfo, DER) in base64. */
  readonly keys: readonly string[]
  /** SHA-256 of certificates (DER) as 64 hexadecimal digits in lower case. */
  readonly certificates: readonly string[]
}

/** How a filter chain terminates TLS. */
export interface DownstreamTls {
  readonly certificate: SecretName
  /** By what clients' certificates are verified; empty: none is asked for. */
  readonly trust: SecretName
  /** A client without one is refused. */
  readonly requireClientCertificate: boolean
  /** Of clients; any one of them is enough. Empty, as the prefixes: whoever the trust vouches for. */
  readonly subjectAltNames: readonly string[]
  /** URIs that begin so are as good as one of `subjectAltNames`: `spiffe://cluster.local/`. */
  readonly subjectAltNamePrefixes: readonly string[]
  /** null: any certificate that the trust vouches for. */
  readonly pins: CertificatePins | null
  /** In order of preference; empty: the extension is not answered. */
  readonly alpn: readonly string[]
  readonly minVersion: TlsVersion
  readonly maxVersion: TlsVersion
  /** OpenSSL's names, of TLS 1.2 and 1.3; empty: Node's own choice. */
  readonly cipherSuites: readonly string[]
  /** Of keys that are agreed on, in order of preference: `X25519`, `P-256`; empty: OpenSSL's own choice. */
  readonly curves: readonly string[]
  /** A client that has not finished its handshake by then is closed. */
  readonly handshakeTimeoutMs: number
}

/** Where nothing is said of it. */
export const HANDSHAKE_MS = 10_000

/** How the endpoints of a cluster are spoken to. */
export interface UpstreamTls {
  /** Empty: no client certificate. */
  readonly certificate: SecretName
  /** Empty: the server is not verified. */
  readonly trust: SecretName
  /** Server name to ask for; empty: none is sent, unless `autoSni`. */
  readonly sni: string
  /** The request's host is the server name (Envoy auto_sni), and without `subjectAltNames` what the certificate is verified for. */
  readonly autoSni: boolean
  /** Any one of them is enough. With MESH_TRUST SPIFFE ids, and empty, as the prefixes: the chain is verified, the name is not. */
  readonly subjectAltNames: readonly string[]
  /** URIs that begin so are as good as one of `subjectAltNames`. */
  readonly subjectAltNamePrefixes: readonly string[]
  /** Empty: as the protocol of the request wants it (Istio's own names in the mesh). */
  readonly alpn: readonly string[]
  readonly minVersion: TlsVersion
  readonly maxVersion: TlsVersion
  /** OpenSSL's names, of TLS 1.2 and 1.3; empty: Node's own choice. */
  readonly cipherSuites: readonly string[]
  /** As of DownstreamTls. */
  readonly curves: readonly string[]
}

/**
 * Why an endpoint is spoken to with TLS or without, for those who ask.
 * - `rule`: a DestinationRule says it;
 * - `automatic`: it has a sidecar, and no PeerAuthentication is against it: mutual TLS;
 * - `no-sidecar`: it has none, or not all of those have one that cannot be told apart: plaintext;
 * - `disabled`: a PeerAuthentication lets only plaintext in;
 * - `external`: it is not of the mesh: plaintext;
 * - `off`: autoMtls is off, or this workload has no identity: plaintext.
 */
export interface TlsReason {
  readonly why: 'rule' | 'automatic' | 'no-sidecar' | 'disabled' | 'external' | 'off'
  /** The DestinationRule, or the PeerAuthentication that holds for the endpoint; BUILT_IN: nobody wrote one. */
  readonly origin: Origin
}

// How a sidecar terminates mutual TLS of the mesh.
import { type DownstreamTls, HANDSHAKE_MS, MESH_TRUST, OWN_CERTIFICATE, type TlsVersion } from '../../../state/tls.ts'

/** What sidecars offer by ALPN beside what they speak inside: an application's own TLS is told from theirs by it (istio.alpn). */
export const MESH_HTTP_ALPN: readonly string[] = ['istio-http/1.0', 'istio-http/1.1', 'istio-h2']
export const MESH_TCP_ALPN: readonly string[] = ['istio-peer-exchange', 'istio']
export const MESH_ALPN: readonly string[] = ['istio', 'istio-peer-exchange', ...MESH_HTTP_ALPN]

/** Node takes the absence of either kind for a wish to do without that version. */
const MESH_CIPHERS: readonly string[] = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'AES256-GCM-SHA384',
  'AES128-GCM-SHA256',
]

export function meshTls(kind: 'http' | 'tcp', minVersion: TlsVersion): DownstreamTls {
  return {
    certificate: OWN_CERTIFICATE,
    trust: MESH_TRUST,
    requireClientCertificate: true,
    subjectAltNames: [],
    subjectAltNamePrefixes: [],
    pins: null,
    // For bytes istiod lists istio-peer-exchange, behind which both sides send a description of themselves first: heddle does not speak that.
    alpn: kind === 'http' ? ['h2', 'http/1.1'] : [],
    minVersion,
    maxVersion: 'TLSv1.3',
    cipherSuites: minVersion === 'TLSv1.3' ? [] : MESH_CIPHERS,
    curves: [],
    handshakeTimeoutMs: HANDSHAKE_MS,
  }
}

/** HBONE: TLS 1.3 alone, with the suites of ztunnel. */
export function tunnelTls(): DownstreamTls {
  const cipherSuites = ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256']
  return { ...meshTls('http', 'TLSv1.3'), alpn: ['h2'], cipherSuites }
}

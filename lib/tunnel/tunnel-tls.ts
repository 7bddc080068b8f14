// TLS of HBONE as ztunnel has it: 1.3, ALPN h2, no server name, and a certificate of the workload that a connection belongs to, never of the node.
import { type DownstreamTls, HANDSHAKE_MS, MESH_TRUST, type UpstreamTls } from '../state/tls.ts'

/** `servers`: SPIFFE ids, of which the other end must have one. */
export function clientTls(identity: string, servers: readonly string[]): UpstreamTls {
  return {
    certificate: identity,
    trust: MESH_TRUST,
    sni: '',
    autoSni: false,
    // In one order, so that the same ones share connections.
    subjectAltNames: [...new Set(servers)].sort(),
    subjectAltNamePrefixes: [],
    alpn: ['h2'],
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    curves: [],
  }
}

export function serverTls(identity: string): DownstreamTls {
  return {
    certificate: identity,
    trust: MESH_TRUST,
    requireClientCertificate: true,
    subjectAltNames: [],
    subjectAltNamePrefixes: [],
    pins: null,
    alpn: ['h2'],
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    curves: [],
    handshakeTimeoutMs: HANDSHAKE_MS,
  }
}

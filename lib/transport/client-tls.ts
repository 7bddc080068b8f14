// TLS towards the endpoints of a cluster.
import tls from 'node:tls'
import { MESH_TRUST, SYSTEM_TRUST, type UpstreamTls } from '../state/tls.ts'
import type { HandshakeFailure } from './handshake.ts'
import { detailsOf, failureOfError } from './handshake-failure.ts'
import { checkByNames, MeshPeers, type PeerCheck } from './peer-check.ts'
import { keyPairOf, type Secrets } from './secrets.ts'
import { factsOf, rootsOf, type TlsVerdict } from './server-tls.ts'

/** What a connection is for: it decides which protocols are offered. */
export type UpstreamProtocol = 'http1' | 'http2' | 'tcp'

/** Istio's names tell the server's sidecar that a peer of the mesh speaks, and not an application (istio.alpn filter). */
const MESH_ALPN: Readonly<Record<UpstreamProtocol, readonly string[]>> = {
  http1: ['istio-http/1.1', 'istio', 'http/1.1'],
  http2: ['istio-h2', 'istio', 'h2'],
  tcp: ['istio-peer-exchange', 'istio'],
}
const PLAIN_ALPN: Readonly<Record<UpstreamProtocol, readonly string[]>> = { http1: ['http/1.1'], http2: ['h2'], tcp: [] }

/** Endpoints whose last session is remembered. */
const MAX_SESSIONS = 4096

export class ClientTls {
  private readonly config: UpstreamTls
  private readonly identity: string
  private readonly mesh: MeshPeers | null
  private readonly secureContext: tls.SecureContext
  private readonly sessions: Map<string, Buffer>

  /** null: a secret that it names is not there. Throws where OpenSSL refuses a certificate or key. */
  static make(config: UpstreamTls, secrets: Secrets): ClientTls | null {
    const pair = config.certificate === '' ? null : keyPairOf(secrets, config.certificate)
    const system = config.trust === SYSTEM_TRUST
    const roots = system ? [] : rootsOf(secrets, config.trust)
    if ((config.certificate !== '' && pair === null) || roots === null) return null
    const context = tls.createSecureContext({
      ...(pair === null ? {} : { cert: pair.certificateChainPem, key: pair.privateKeyPem }),
      ...(config.trust === '' || system ? {} : { ca: [...roots] }),
      minVersion: config.minVersion,
      maxVersion: config.maxVersion,
    })
    const mesh =
      config.trust === MESH_TRUST && secrets.trust !== null
        ? new MeshPeers(secrets.trust, { side: 'server', identities: config.subjectAltNames })
        : null
    return new ClientTls(config, context, mesh, pair?.identity ?? '')
  }

  private constructor(config: UpstreamTls, context: tls.SecureContext, mesh: MeshPeers | null, identity: string) {
    this.config = config
    this.secureContext = context
    this.mesh = mesh
    this.identity = identity
    this.sessions = new Map()
  }

  /** For one connection. `host`: what autoSni asks for. `endpoint`: whose session may be resumed. */
  options(protocol: UpstreamProtocol, host: string, endpoint: string): tls.ConnectionOptions {
    const { config } = this
    const offered = config.alpn.length > 0 ? config.alpn : (this.mesh === null ? PLAIN_ALPN : MESH_ALPN)[protocol]
    const sni = this.sniOf(host)
    const session = this.sessions.get(`${endpoint} ${sni}`)
    return {
      secureContext: this.secureContext,
      rejectUnauthorized: false,
      checkServerIdentity: unchecked,
      ...(sni === '' ? {} : { servername: sni }),
      ...(offered.length > 0 ? { ALPNProtocols: [...offered] } : {}),
      ...(session === undefined ? {} : { session }),
    }
  }

  private sniOf(host: string): string {
    return this.config.sni !== '' ? this.config.sni : this.config.autoSni ? host : ''
  }

  /** A session that may be resumed; TLS 1.3 sends it behind the handshake. */
  remember(session: Buffer, host: string, endpoint: string): void {
    if (this.sessions.size >= MAX_SESSIONS) this.sessions.clear()
    this.sessions.set(`${endpoint} ${this.sniOf(host)}`, session)
  }

  forget(host: string, endpoint: string): void {
    this.sessions.delete(`${endpoint} ${this.sniOf(host)}`)
  }

  verify(socket: tls.TLSSocket, host: string, nowMs: number): TlsVerdict {
    const sni = this.sniOf(host)
    const check = this.check(socket, sni, host, nowMs)
    if (!check.ok) return check
    return { ok: true, facts: factsOf(socket, sni, check.peer, this.identity) }
  }

  private check(socket: tls.TLSSocket, sni: string, host: string, nowMs: number): PeerCheck {
    const { config, mesh } = this
    const details = detailsOf(socket, sni)
    if (mesh !== null) return mesh.check(socket, nowMs, details)
    if (config.trust === '') return { ok: true, peer: { identity: '', certificate: socket.getPeerX509Certificate()?.raw ?? null } }
    return checkByNames(socket, config.subjectAltNames, config.autoSni ? host : '', details)
  }

  failureOf(socket: tls.TLSSocket, host: string, error: NodeJS.ErrnoException | null): HandshakeFailure {
    return failureOfError(error, detailsOf(socket, this.sniOf(host)))
  }
}

/** Ours is the verdict, behind the handshake. */
function unchecked(): undefined {
  return undefined
}

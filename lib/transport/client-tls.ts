// TLS towards the endpoints of a cluster.
import { isIP } from 'node:net'
import tls from 'node:tls'
import { MESH_TRUST, SYSTEM_TRUST, type UpstreamTls } from '../state/tls.ts'
import type { HandshakeFailure } from './handshake.ts'
import { detailsOf, failureOfError, presentedOf } from './handshake-failure.ts'
import { ANYBODY, type CheckedPeer, checkByNames, MeshPeers, type PeerCheck } from './peer-check.ts'
import { type KeyPair, keyPairOf, type Secrets, type TrustMaterial, trustMaterialOf } from './secrets.ts'
import { factsOf, NO_RENEGOTIATION } from './server-tls.ts'
import type { TlsSide } from './tls-connection.ts'
import type { TlsFacts } from './tls-facts.ts'

export type ClientVerdict =
  | { readonly ok: true; readonly facts: TlsFacts; readonly notAfterMs: number }
  | { readonly ok: false; readonly failure: HandshakeFailure }

/** What a connection is for: it decides which protocols are offered. */
export type UpstreamProtocol = 'http1' | 'http2' | 'tcp'

/**
 * Istio's names tell the server's sidecar that a peer of the mesh speaks, and not an application (istio.alpn filter). For bytes istiod lists
 * istio-peer-exchange, too: who offers it has to send a description of itself before the first byte, which heddle does not.
 */
const MESH_ALPN: Readonly<Record<UpstreamProtocol, readonly string[]>> = {
  http1: ['istio-http/1.1', 'istio', 'http/1.1'],
  http2: ['istio-h2', 'istio', 'h2'],
  tcp: ['istio'],
}
const PLAIN_ALPN: Readonly<Record<UpstreamProtocol, readonly string[]>> = { http1: ['http/1.1'], http2: ['h2'], tcp: [] }

/** A resumed session shows no certificates, so they are kept with it. */
export interface Session {
  readonly ticket: Buffer
  readonly peer: CheckedPeer
}

/** Endpoints whose last session is remembered. */
const MAX_SESSIONS = 4096

/** The system's roots are OpenSSL's affair. */
const NO_TRUST: TrustMaterial = { roots: [], crl: '' }

export class ClientTls {
  private readonly config: UpstreamTls
  private readonly identity: string
  private readonly mesh: MeshPeers | null
  private readonly secureContext: tls.SecureContext
  private readonly sessions: Map<string, Session>
  readonly side: TlsSide

  /** null: a secret that it names is not there. Throws where OpenSSL refuses a certificate or key. */
  static make(config: UpstreamTls, secrets: Secrets): ClientTls | null {
    const pair = config.certificate === '' ? null : keyPairOf(secrets, config.certificate)
    const system = config.trust === SYSTEM_TRUST
    const trust = system ? NO_TRUST : trustMaterialOf(secrets, config.trust)
    if ((config.certificate !== '' && pair === null) || trust === null) return null
    const context = tls.createSecureContext({
      ...(pair === null ? {} : { cert: pair.certificateChainPem, key: pair.privateKeyPem }),
      ...(config.trust === '' || system ? {} : { ca: [...trust.roots] }),
      ...(trust.crl === '' ? {} : { crl: trust.crl }),
      ...(config.cipherSuites.length > 0 ? { ciphers: config.cipherSuites.join(':') } : {}),
      ...(config.curves.length > 0 ? { ecdhCurve: config.curves.join(':') } : {}),
      minVersion: config.minVersion,
      maxVersion: config.maxVersion,
      secureOptions: NO_RENEGOTIATION,
    })
    const mesh =
      config.trust === MESH_TRUST && secrets.trust !== null
        ? new MeshPeers(secrets.trust, {
            side: 'server',
            identities: config.subjectAltNames,
            identityPrefixes: config.subjectAltNamePrefixes,
          })
        : null
    return new ClientTls(config, context, mesh, pair)
  }

  private constructor(config: UpstreamTls, context: tls.SecureContext, mesh: MeshPeers | null, pair: KeyPair | null) {
    this.config = config
    this.secureContext = context
    this.mesh = mesh
    this.identity = pair?.identity ?? ''
    const { text, notAfterMs } = presentedOf(pair === null ? '' : pair.certificateChainPem)
    this.side = {
      side: 'client',
      certificate: config.certificate,
      presented: text,
      notAfterMs,
      mutual: pair !== null || mesh !== null,
    }
    this.sessions = new Map()
  }

  /** What one connection may resume; null: nothing. The handshake keeps it: what is remembered of the endpoint may be another's by its end. */
  sessionFor(host: string, endpoint: string, nowMs: number): Session | null {
    const key = `${endpoint} ${this.sniOf(host)}`
    const session = this.sessions.get(key)
    if (session === undefined) return null
    if (nowMs <= session.peer.notAfterMs) return session
    this.sessions.delete(key)
    return null
  }

  /** For one connection. `host`: what autoSni asks for. */
  options(protocol: UpstreamProtocol, host: string, session: Session | null): tls.ConnectionOptions {
    const { config } = this
    const offered = config.alpn.length > 0 ? config.alpn : (this.mesh === null ? PLAIN_ALPN : MESH_ALPN)[protocol]
    const sni = this.sniOf(host)
    return {
      secureContext: this.secureContext,
      rejectUnauthorized: false,
      checkServerIdentity: unchecked,
      ...(sni === '' ? {} : { servername: sni }),
      ...(offered.length > 0 ? { ALPNProtocols: [...offered] } : {}),
      ...(session === null ? {} : { session: session.ticket }),
    }
  }

  private sniOf(host: string): string {
    if (this.config.sni !== '') return this.config.sni
    // RFC 6066 §3: an address is no server name.
    return this.config.autoSni && isIP(host) === 0 ? host : ''
  }

  /** A session that may be resumed; TLS 1.3 sends it behind the handshake. */
  remember(ticket: Buffer, facts: TlsFacts, notAfterMs: number, host: string, endpoint: string): void {
    if (this.sessions.size >= MAX_SESSIONS) this.sessions.clear()
    const peer = { identity: facts.peerIdentity, certificate: facts.peerCertificate, notAfterMs }
    this.sessions.set(`${endpoint} ${this.sniOf(host)}`, { ticket, peer })
  }

  /** A session that was resumed was verified when it was made, with the same secrets: it is forgotten when they change. */
  verify(socket: tls.TLSSocket, host: string, session: Session | null, nowMs: number): ClientVerdict {
    const sni = this.sniOf(host)
    const resumed = session !== null && socket.isSessionReused()
    const check: PeerCheck = resumed ? { ok: true, peer: session.peer } : this.check(socket, sni, host, nowMs)
    if (!check.ok) return check
    return { ok: true, facts: factsOf(socket, sni, check.peer, this.identity), notAfterMs: check.peer.notAfterMs }
  }

  private check(socket: tls.TLSSocket, sni: string, host: string, nowMs: number): PeerCheck {
    const { config, mesh } = this
    const details = detailsOf(socket, sni)
    if (mesh !== null) return mesh.check(socket, nowMs, details)
    if (config.trust === '') return { ok: true, peer: ANYBODY }
    return checkByNames(socket, config, config.autoSni ? host : '', details)
  }

  failureOf(socket: tls.TLSSocket, host: string, error: NodeJS.ErrnoException | null): HandshakeFailure {
    const presented = this.side.presented === '' ? 'none' : this.side.presented
    return failureOfError(error, { ...detailsOf(socket, this.sniOf(host)), presented })
  }
}

/** Ours is the verdict, behind the handshake. */
function unchecked(): undefined {
  return undefined
}

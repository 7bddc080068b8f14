// TLS towards clients, as one filter chain has it.
import { constants, createHmac } from 'node:crypto'
import tls from 'node:tls'
import { cleanServerName } from '../base/server-name.ts'
import type { DownstreamTls } from '../state/tls.ts'
import { MESH_TRUST } from '../state/tls.ts'
import type { HandshakeFailure } from './handshake.ts'
import { detailsOf, failureOfServer, presentedOf } from './handshake-failure.ts'
import { ANYBODY, type CheckedPeer, checkByNames, checkPins, MeshPeers, type PeerCheck } from './peer-check.ts'
import { type KeyPair, keyPairOf, type Secrets, type TrustMaterial, trustMaterialOf } from './secrets.ts'
import type { TlsSide } from './tls-connection.ts'
import type { TlsFacts } from './tls-facts.ts'

export type TlsVerdict =
  | { readonly ok: true; readonly facts: TlsFacts }
  | { readonly ok: false; readonly failure: HandshakeFailure }

export class ServerTls {
  readonly options: tls.TLSSocketOptions
  readonly config: DownstreamTls
  private readonly identity: string
  private readonly mesh: MeshPeers | null
  readonly side: TlsSide

  /** null: a secret that it names is not there. Throws where OpenSSL refuses a certificate or key. */
  static make(config: DownstreamTls, secrets: Secrets): ServerTls | null {
    const pair = keyPairOf(secrets, config.certificate)
    const trust = trustMaterialOf(secrets, config.trust)
    return pair === null || trust === null ? null : new ServerTls(config, secrets, pair, trust)
  }

  private constructor(config: DownstreamTls, secrets: Secrets, pair: KeyPair, trust: TrustMaterial) {
    const asks = config.trust !== ''
    this.config = config
    this.identity = pair.identity
    this.mesh =
      config.trust === MESH_TRUST && secrets.trust !== null
        ? new MeshPeers(secrets.trust, {
            side: 'client',
            identities: config.subjectAltNames,
            identityPrefixes: config.subjectAltNamePrefixes,
          })
        : null
    const { text, notAfterMs } = presentedOf(pair.certificateChainPem)
    this.side = { side: 'server', certificate: config.certificate, presented: text, notAfterMs, mutual: asks }
    const secureContext = tls.createSecureContext({
      cert: pair.certificateChainPem,
      key: pair.privateKeyPem,
      ...(asks ? { ca: [...trust.roots] } : {}),
      // OpenSSL then wants a list for each certificate of the chain, as Envoy does.
      ...(trust.crl === '' ? {} : { crl: trust.crl }),
      ...(config.cipherSuites.length > 0 ? { ciphers: config.cipherSuites.join(':') } : {}),
      ...(config.curves.length > 0 ? { ecdhCurve: config.curves.join(':') } : {}),
      minVersion: config.minVersion,
      maxVersion: config.maxVersion,
      honorCipherOrder: true,
      ...resumption(config, secrets, trust),
    })
    this.options = {
      isServer: true,
      secureContext,
      requestCert: asks,
      // The verdict is ours, in words. Only who has no certificate is refused by OpenSSL, so that the client gets its alert.
      rejectUnauthorized: asks && config.requireClientCertificate,
      ...(config.alpn.length > 0 ? { ALPNProtocols: [...config.alpn] } : {}),
    }
  }

  verify(socket: tls.TLSSocket, nowMs: number): TlsVerdict {
    const sni = askedFor(socket)
    const check = this.check(socket, nowMs, sni)
    if (!check.ok) return check
    return { ok: true, facts: factsOf(socket, sni, check.peer, this.identity) }
  }

  private check(socket: tls.TLSSocket, nowMs: number, sni: string): PeerCheck {
    const { config, mesh } = this
    if (config.trust === '') return { ok: true, peer: ANYBODY }
    if (!config.requireClientCertificate && socket.getPeerX509Certificate() === undefined) return { ok: true, peer: ANYBODY }
    const details = detailsOf(socket, sni)
    const check = mesh === null ? checkByNames(socket, config, '', details) : mesh.check(socket, nowMs, details)
    return check.ok && config.pins !== null ? checkPins(socket, config.pins, check, details) : check
  }

  failureOf(socket: tls.TLSSocket, error: NodeJS.ErrnoException | null): HandshakeFailure {
    const details = detailsOf(socket, askedFor(socket))
    return failureOfServer(error, this.side.presented, sentBytesOf(socket) > 0, details)
  }
}

/**
 * A session is resumed only where the same is asked of its client by the same roots and revocation lists: others have other keys. It is not resumed at all where what a
 * ticket brings back, the leaf without its chain, is not enough, because it matters which of several roots that leads to.
 */
function resumption(config: DownstreamTls, secrets: Secrets, trust: TrustMaterial): tls.SecureContextOptions {
  const said = JSON.stringify([
    config,
    config.trust === MESH_TRUST ? [secrets.trust?.trustDomain, secrets.trust?.aliases] : [],
    trust,
  ])
  const ticketKeys = createHmac('sha384', secrets.ticketKeys).update(said).digest()
  const sessionIdContext = ticketKeys.toString('hex').slice(0, 32)
  const several = config.trust === MESH_TRUST && (secrets.trust?.bundles.length ?? 0) > 1
  return several
    ? { sessionIdContext, secureOptions: NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET }
    : { sessionIdContext, secureOptions: NO_RENEGOTIATION, ticketKeys }
}

/** Nobody needs it, and it lets a client make us work (CVE-2011-1473). */
export const NO_RENEGOTIATION = constants.SSL_OP_NO_RENEGOTIATION

export function factsOf(socket: tls.TLSSocket, sni: string, peer: CheckedPeer, localIdentity: string): TlsFacts {
  return {
    version: socket.getProtocol() ?? '',
    cipher: socket.getCipher()?.standardName ?? '',
    sni,
    alpn: typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : '',
    resumed: socket.isSessionReused(),
    peerIdentity: peer.identity,
    localIdentity,
    peerCertificate: peer.certificate,
    tunnel: false,
  }
}

/** By a client; empty: nothing, or no name. */
function askedFor({ servername }: tls.TLSSocket): string {
  return typeof servername === 'string' ? cleanServerName(servername) : ''
}

/** Bytes of the handshake that have left us. */
function sentBytesOf(socket: tls.TLSSocket): number {
  const handle = (socket as unknown as { readonly _handle: { readonly _parent?: { readonly bytesWritten?: number } } | null })
    ._handle
  return handle?._parent?.bytesWritten ?? 0
}

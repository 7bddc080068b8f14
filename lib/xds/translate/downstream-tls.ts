// How a filter chain terminates TLS (DownstreamTlsContext).
import { type DownstreamTls, HANDSHAKE_MS, MESH_TRUST } from '../../state/tls.ts'
import type { Credential } from '../../transport/secrets.ts'
import type { DownstreamTlsContext } from '../proto/tls.ts'
import { commonTls } from './common-tls.ts'
import type { Findings } from './findings.ts'

export interface TranslatedDownstreamTls {
  readonly tls: DownstreamTls
  /** Of names `inline:…`: what the context has written out. */
  readonly credentials: readonly Credential[]
}

/**
 * heddle does not introduce itself behind the handshake, as who negotiates this has to: it is not offered, and who offers it gets on without (Istio
 * metadata exchange).
 */
export const PEER_EXCHANGE = 'istio-peer-exchange'

/** `handshakeMs`: how long a handshake may take; null or 0: nothing is said, and heddle's limit holds. Of a filter chain whose transport socket is this context. Faults make the listener refused; the result is then of no use. */
export function translateDownstreamTls(
  context: DownstreamTlsContext,
  findings: Findings,
  handshakeMs: number | null = null,
): TranslatedDownstreamTls {
  const common = commonTls(context.common_tls_context, findings)
  const at = findings.at('common_tls_context')
  if (common.certificate === '') at.fault('a server needs a certificate')
  const asks = context.require_client_certificate === true
  if (asks && common.trust === '')
    findings.at('require_client_certificate').fault('there are no roots that a client certificate could be verified with')
  if (context.require_sni === true) findings.at('require_sni').fault('it is not carried out')
  if (context.ocsp_staple_policy !== 'LENIENT_STAPLING')
    findings.at('ocsp_staple_policy').fault(`${context.ocsp_staple_policy} is not carried out: no OCSP response is stapled`)
  if (context.session_ticket_keys !== null || context.session_ticket_keys_sds_secret_config !== null)
    findings.at('session_ticket_keys').note('heddle makes its own')
  if (context.session_timeout !== null) findings.at('session_timeout').note("OpenSSL's is used")
  if (context.disable_stateless_session_resumption === true || context.disable_stateful_session_resumption)
    findings.note('sessions are resumed all the same')
  const { certificate, trust, subjectAltNames, subjectAltNamePrefixes, pins, minVersion, maxVersion } = common
  const alpn = common.alpn.filter((name) => name !== PEER_EXCHANGE)
  return {
    tls: {
      certificate,
      trust,
      requireClientCertificate: asks,
      subjectAltNames,
      subjectAltNamePrefixes,
      pins,
      // Of bytes of the mesh nothing is negotiated but the exchange.
      alpn: trust === MESH_TRUST && alpn.length < common.alpn.length ? [] : alpn,
      minVersion,
      maxVersion,
      cipherSuites: common.cipherSuites,
      curves: common.curves,
      handshakeTimeoutMs: handshakeMs === null || handshakeMs === 0 ? HANDSHAKE_MS : handshakeMs,
    },
    credentials: common.credentials,
  }
}

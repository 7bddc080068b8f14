// How a filter chain terminates TLS (DownstreamTlsContext).
import { type DownstreamTls, MESH_TRUST } from '../../state/tls.ts'
import { opensslCipher } from '../../transport/cipher-names.ts'
import type { Credential } from '../../transport/secrets.ts'
import type { DownstreamTlsContext } from '../proto/tls.ts'
import { commonTls } from './common-tls.ts'
import type { Findings } from './findings.ts'

export interface TranslatedDownstreamTls {
  readonly tls: DownstreamTls
  /** Of names `inline:…`: what the context has written out. */
  readonly credentials: readonly Credential[]
}

/** Of TLS 1.3, which a list for 1.2 says nothing about; Node takes their absence for a wish to do without. */
const MODERN_CIPHERS = ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']

/**
 * heddle does not introduce itself behind the handshake, as who negotiates this has to: it is not offered, and who offers it gets on without (Istio
 * metadata exchange).
 */
export const PEER_EXCHANGE = 'istio-peer-exchange'

/** Of a filter chain whose transport socket is this context. Faults make the listener refused; the result is then of no use. */
export function translateDownstreamTls(context: DownstreamTlsContext, findings: Findings): TranslatedDownstreamTls {
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
      cipherSuites: ciphers(common.cipherSuites, minVersion === 'TLSv1.3', at.at('tls_params')),
    },
    credentials: common.credentials,
  }
}

/** Envoy's `[A|B]` is a group of equals: here in order. */
function ciphers(names: readonly string[], onlyModern: boolean, at: Findings): string[] {
  if (onlyModern) return []
  const known: string[] = []
  for (const name of names.flatMap((n) => n.replace(/^\[|\]$/g, '').split('|'))) {
    const suite = opensslCipher(name)
    if (suite === null) at.at('cipher_suites').note(`${name} is not known to OpenSSL here`)
    else known.push(suite)
  }
  if (names.length > 0 && known.length === 0) at.at('cipher_suites').fault(`none of ${names.join(', ')} is known to OpenSSL here`)
  return known.length === 0 ? [] : [...MODERN_CIPHERS, ...known]
}

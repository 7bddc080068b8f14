// Cipher suites of TLS 1.2 by their names in Istio's API, which are those of OpenSSL, or of IANA.
import { getCiphers } from 'node:tls'

/** IANA's names of what Istio lists, by OpenSSL's. */
const IANA: Readonly<Record<string, string>> = {
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
}

/** In Node's spelling, which is in lower case. */
const KNOWN = new Set(getCiphers())

/** OpenSSL's name; null: it is not known here. */
export function opensslCipher(name: string): string | null {
  const suite = IANA[name] ?? name
  return KNOWN.has(suite.toLowerCase()) ? suite : null
}

// Cipher suites of TLS 1.2, and curves, by their names in Istio's API, which are those of OpenSSL, or of IANA.
import { createSecureContext, getCiphers } from 'node:tls'

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

const curves = new Map<string, boolean>()

/** Whether keys can be agreed on by this curve, or this group of a newer kind: `X25519MLKEM768` from OpenSSL 3.5 on. */
export function isKnownCurve(name: string): boolean {
  const known = curves.get(name)
  if (known !== undefined) return known
  const is = canBeUsed(name)
  curves.set(name, is)
  return is
}

function canBeUsed(name: string): boolean {
  if (!/^[A-Za-z0-9_-]+$/.test(name)) return false
  try {
    createSecureContext({ ecdhCurve: name })
    return true
  } catch {
    return false
  }
}

// What both sides of TLS share (envoy.extensions.transport_sockets.tls.v3.CommonTlsContext). Whatever would make a check weaker than it was asked for is a fault.
import { isIP } from 'node:net'
import type { CertificatePins, SecretName, TlsVersion } from '../../state/tls.ts'
import { isKnownCurve, opensslCipher } from '../../transport/cipher-names.ts'
import type { Credential } from '../../transport/secrets.ts'
import type { StringMatcher } from '../proto/core.ts'
import type { CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher, TlsParameters } from '../proto/tls.ts'
import type { Findings } from './findings.ts'
import { certificateSecret, type NamedSecret, NO_SECRET, sdsSecret, trustSecret } from './secret-names.ts'

export interface CommonTls {
  readonly certificate: SecretName
  /** Empty: peers are not verified. */
  readonly trust: SecretName
  readonly subjectAltNames: readonly string[]
  readonly subjectAltNamePrefixes: readonly string[]
  readonly pins: CertificatePins | null
  readonly alpn: readonly string[]
  readonly minVersion: TlsVersion
  readonly maxVersion: TlsVersion
  /** OpenSSL's names, with those of TLS 1.3. */
  readonly cipherSuites: readonly string[]
  readonly curves: readonly string[]
  /** What of its secrets was written out in the context. */
  readonly credentials: readonly Credential[]
}

const VALIDATION = 'validation_context'

export function commonTls(context: CommonTlsContext | null, findings: Findings): CommonTls {
  const at = findings.at('common_tls_context')
  if (context !== null) refuseUnknown(context, at)
  const certificate = context === null ? NO_SECRET : certificateOf(context, at)
  const { trust, validation } = context === null ? { trust: NO_SECRET, validation: null } : trustOf(context, at)
  const names = validation === null ? { exact: [], prefixes: [] } : subjectAltNames(validation, at.at(VALIDATION))
  if (trust.name === '' && names.exact.length + names.prefixes.length > 0)
    at.fault('subject alternative names are asked for, but there are no roots that a certificate could be verified with')
  const pins = validation === null ? null : pinsOf(validation)
  if (trust.name === '' && pins !== null)
    at.fault('certificates are pinned, but there are no roots that one could be verified with')
  const oldest = versions(context?.tls_params ?? null, at.at('tls_params'))
  return {
    certificate: certificate.name,
    trust: trust.name,
    subjectAltNames: names.exact,
    subjectAltNamePrefixes: names.prefixes,
    pins,
    alpn: context?.alpn_protocols ?? [],
    ...oldest,
    cipherSuites: ciphers(context?.tls_params?.cipher_suites ?? [], oldest.minVersion === 'TLSv1.3', at.at('tls_params')),
    curves: curvesOf(context?.tls_params?.ecdh_curves ?? [], at.at('tls_params')),
    credentials: [certificate, trust].flatMap((s) => s.credential ?? []),
  }
}

function refuseUnknown(context: CommonTlsContext, at: Findings): void {
  if (context.custom_handshaker !== null)
    at.at('custom_handshaker').fault(`the handshaker ${context.custom_handshaker.name} is not understood`)
  if (context.tls_certificate_provider_instance !== null)
    at.at('tls_certificate_provider_instance').fault(
      `the certificate provider ${context.tls_certificate_provider_instance.instance_name} is not understood; secrets come by SDS`,
    )
}

function certificateOf(context: CommonTlsContext, at: Findings): NamedSecret {
  const { tls_certificates: written, tls_certificate_sds_secret_configs: named } = context
  if (written.length + named.length > 1) at.note('the first certificate is used for all peers')
  const [bySds] = named
  if (bySds !== undefined) return sdsSecret(bySds)
  const [first] = written
  return first === undefined ? NO_SECRET : certificateSecret(first, at.at('tls_certificates', 0))
}

interface Trust {
  readonly trust: NamedSecret
  readonly validation: CertificateValidationContext | null
}

function trustOf(context: CommonTlsContext, at: Findings): Trust {
  const { combined_validation_context: combined, validation_context_sds_secret_config: bySds, validation_context: own } = context
  if (combined !== null) {
    const within = at.at('combined_validation_context')
    const validation = combined.default_validation_context
    if (validation !== null) checkValidation(validation, within.at('default_validation_context'))
    const sds = combined.validation_context_sds_secret_config
    if (sds !== null) {
      if (validation !== null && validation.crl !== null)
        within
          .at('default_validation_context')
          .at('crl')
          .fault('a revocation list is carried out beside its roots only, which are in another secret')
      return { trust: sdsSecret(sds), validation }
    }
    return { trust: rootsOf(validation, within), validation }
  }
  if (bySds !== null) return { trust: sdsSecret(bySds), validation: null }
  if (own !== null) checkValidation(own, at.at(VALIDATION))
  return { trust: rootsOf(own, at.at(VALIDATION)), validation: own }
}

function rootsOf(validation: CertificateValidationContext | null, at: Findings): NamedSecret {
  return (validation === null ? null : trustSecret(validation, at)) ?? NO_SECRET
}

/** Checks that are asked for and not made are faults; what is stricter here than asked is told. */
export function checkValidation(of: CertificateValidationContext, at: Findings): void {
  for (const [i, hash] of of.verify_certificate_hash.entries())
    if (!/^(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}$/i.test(hash))
      at.at('verify_certificate_hash', i).fault('the SHA-256 of a certificate as 64 hexadecimal digits is expected')
  for (const [i, key] of of.verify_certificate_spki.entries())
    if (!/^[A-Za-z0-9+/]{43}=$/.test(key))
      at.at('verify_certificate_spki', i).fault('the SHA-256 of a public key in base64 is expected')
  if (of.only_verify_leaf_cert_crl) at.at('only_verify_leaf_cert_crl').note('revocation is looked at for the whole chain')
  if (of.custom_validator_config !== null)
    at.at('custom_validator_config').fault(`the validator ${of.custom_validator_config.name} is not understood`)
  if (of.ca_certificate_provider_instance !== null)
    at.at('ca_certificate_provider_instance').fault(
      `the certificate provider ${of.ca_certificate_provider_instance.instance_name} is not understood; secrets come by SDS`,
    )
  if (of.require_signed_certificate_timestamp === true)
    at.at('require_signed_certificate_timestamp').fault('certificate transparency is not carried out')
  if (of.trust_chain_verification !== 'VERIFY_TRUST_CHAIN')
    at.at('trust_chain_verification').fault(`${of.trust_chain_verification} is not carried out; VERIFY_TRUST_CHAIN is`)
  if (of.max_verify_depth !== null) at.at('max_verify_depth').note(`${of.max_verify_depth} is not told to OpenSSL`)
  if (of.allow_expired_certificate) at.at('allow_expired_certificate').note('expired certificates are refused nevertheless')
}

function pinsOf({
  verify_certificate_hash: hashes,
  verify_certificate_spki: keys,
}: CertificateValidationContext): CertificatePins | null {
  if (hashes.length + keys.length === 0) return null
  return { keys, certificates: hashes.map((hash) => hash.replaceAll(':', '').toLowerCase()) }
}

function subjectAltNames(of: CertificateValidationContext, at: Findings): { exact: string[]; prefixes: string[] } {
  const names = { exact: [] as string[], prefixes: [] as string[] }
  for (const [i, matcher] of of.match_subject_alt_names.entries())
    addName(names, 'SAN_TYPE_UNSPECIFIED', matcher, at.at('match_subject_alt_names', i))
  for (const [i, { san_type: type, matcher }] of of.match_typed_subject_alt_names.entries())
    if (matcher !== null) addName(names, type, matcher, at.at('match_typed_subject_alt_names', i))
  return names
}

function addName(
  names: { readonly exact: string[]; readonly prefixes: string[] },
  type: SubjectAltNameMatcher['san_type'],
  matcher: StringMatcher,
  at: Findings,
): void {
  if (type === 'EMAIL' || type === 'OTHER_NAME' || type.startsWith('#')) at.at('san_type').fault(`${type} is not understood`)
  if (matcher.ignore_case) at.fault('ignore_case is not carried out for names of certificates')
  const { exact, prefix } = matcher
  if (exact !== null) {
    // A name is looked for by its own form, which must be that of its type.
    const form = exact.includes('://') ? 'URI' : isIP(exact) === 0 ? 'DNS' : 'IP_ADDRESS'
    if (type !== 'SAN_TYPE_UNSPECIFIED' && type !== form) at.fault(`"${exact}" is looked for as ${form}, not as ${type}`)
    names.exact.push(exact)
  } else if (prefix?.includes('://')) names.prefixes.push(prefix)
  else at.fault(`a name is compared whole, or a URI by its prefix; ${matcherText(matcher)} is not understood`)
}

function matcherText(matcher: StringMatcher): string {
  const kind = (['prefix', 'suffix', 'contains', 'safe_regex', 'custom'] as const).find((k) => matcher[k] !== null)
  return kind ?? 'a matcher of another kind'
}

/** TLS 1.2 and 1.3 are spoken. */
function versions(params: TlsParameters | null, at: Findings): { minVersion: TlsVersion; maxVersion: TlsVersion } {
  const min = params?.tls_minimum_protocol_version ?? 'TLS_AUTO'
  const max = params?.tls_maximum_protocol_version ?? 'TLS_AUTO'
  if (min.startsWith('#')) at.at('tls_minimum_protocol_version').fault(`${min} is no version of TLS`)
  if (max.startsWith('#')) at.at('tls_maximum_protocol_version').fault(`${max} is no version of TLS`)
  if (min === 'TLSv1_0' || min === 'TLSv1_1')
    at.at('tls_minimum_protocol_version').note(`${min} is not spoken; TLSv1_2 is the oldest`)
  if (max === 'TLSv1_0' || max === 'TLSv1_1')
    at.at('tls_maximum_protocol_version').fault(`${max} is not spoken; TLSv1_2 is the oldest`)
  if (min === 'TLSv1_3' && max === 'TLSv1_2') at.fault('the oldest version is newer than the newest one')
  if ((params?.signature_algorithms.length ?? 0) > 0) at.at('signature_algorithms').note("Node's own choice is used")
  return { minVersion: min === 'TLSv1_3' ? 'TLSv1.3' : 'TLSv1.2', maxVersion: max === 'TLSv1_2' ? 'TLSv1.2' : 'TLSv1.3' }
}

/** Of TLS 1.3, which a list for 1.2 says nothing about; Node takes their absence for a wish to do without. */
const MODERN_CIPHERS = ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']

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

/** In order of preference. What is not known is left out, as long as one is. */
function curvesOf(names: readonly string[], at: Findings): readonly string[] {
  const known = names.filter(isKnownCurve)
  if (names.length > 0 && known.length === 0) at.at('ecdh_curves').fault(`none of ${names.join(', ')} is known to OpenSSL here`)
  else for (const name of names) if (!known.includes(name)) at.at('ecdh_curves').note(`${name} is not known to OpenSSL here`)
  return known
}

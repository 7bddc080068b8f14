// Messages of envoy.extensions.transport_sockets.tls.v3.
import { ConfigSource, DataSource, StringMatcher, TypedExtensionConfig } from './core.ts'
import {
  any,
  bool,
  boolValue,
  type Decoded,
  duration,
  enumeration,
  list,
  message,
  one,
  oneof,
  text,
  uint32Value,
} from './schema.ts'

const PACKAGE = 'envoy.extensions.transport_sockets.tls.v3'
const PROTOCOL = { TLS_AUTO: 0, TLSv1_0: 1, TLSv1_1: 2, TLSv1_2: 3, TLSv1_3: 4 } as const

export const TlsParameters = message(`${PACKAGE}.TlsParameters`, {
  tls_minimum_protocol_version: enumeration(1, PROTOCOL),
  tls_maximum_protocol_version: enumeration(2, PROTOCOL),
  cipher_suites: list(text(3)),
  ecdh_curves: list(text(4)),
  signature_algorithms: list(text(5)),
})
export type TlsParameters = Decoded<typeof TlsParameters>

export const PrivateKeyProvider = message(`${PACKAGE}.PrivateKeyProvider`, {
  provider_name: text(1),
  ...oneof('config_type', { typed_config: any(3) }),
  fallback: bool(4),
})
/** Of a private key provider (cryptomb, qat): the key itself is in it, by this field of either. */
export const CryptoMbPrivateKeyMethodConfig = message(
  'envoy.extensions.private_key_providers.cryptomb.v3alpha.CryptoMbPrivateKeyMethodConfig',
  { private_key: one(1, DataSource), poll_delay: duration(2) },
)
export const QatPrivateKeyMethodConfig = message('envoy.extensions.private_key_providers.qat.v3alpha.QatPrivateKeyMethodConfig', {
  poll_delay: duration(1),
  private_key: one(2, DataSource),
})

export const TlsCertificate = message(`${PACKAGE}.TlsCertificate`, {
  certificate_chain: one(1, DataSource),
  private_key: one(2, DataSource),
  password: one(3, DataSource),
  ocsp_staple: one(4, DataSource),
  private_key_provider: one(6, PrivateKeyProvider),
  pkcs12: one(8, DataSource),
})
export type TlsCertificate = Decoded<typeof TlsCertificate>

export const TlsSessionTicketKeys = message(`${PACKAGE}.TlsSessionTicketKeys`, { keys: list(one(1, DataSource)) })
export const CertificateProviderPluginInstance = message(`${PACKAGE}.CertificateProviderPluginInstance`, {
  instance_name: text(1),
  certificate_name: text(2),
})

export const SubjectAltNameMatcher = message(`${PACKAGE}.SubjectAltNameMatcher`, {
  san_type: enumeration(1, { SAN_TYPE_UNSPECIFIED: 0, EMAIL: 1, DNS: 2, URI: 3, IP_ADDRESS: 4, OTHER_NAME: 5 }),
  matcher: one(2, StringMatcher),
  oid: text(3),
})
export type SubjectAltNameMatcher = Decoded<typeof SubjectAltNameMatcher>

const SystemRootCerts = message('envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts', {})
export const CertificateValidationContext = message(`${PACKAGE}.CertificateValidationContext`, {
  trusted_ca: one(1, DataSource),
  verify_certificate_hash: list(text(2)),
  verify_certificate_spki: list(text(3)),
  require_signed_certificate_timestamp: boolValue(6),
  crl: one(7, DataSource),
  allow_expired_certificate: bool(8),
  /** Deprecated for the typed ones, and what istiod sends. */
  match_subject_alt_names: list(one(9, StringMatcher)),
  trust_chain_verification: enumeration(10, { VERIFY_TRUST_CHAIN: 0, ACCEPT_UNTRUSTED: 1 }),
  custom_validator_config: one(12, TypedExtensionConfig),
  ca_certificate_provider_instance: one(13, CertificateProviderPluginInstance),
  only_verify_leaf_cert_crl: bool(14),
  match_typed_subject_alt_names: list(one(15, SubjectAltNameMatcher)),
  max_verify_depth: uint32Value(16),
  /** SystemRootCerts has no fields. */
  system_root_certs: one(17, SystemRootCerts),
})
export type CertificateValidationContext = Decoded<typeof CertificateValidationContext>

export const SdsSecretConfig = message(`${PACKAGE}.SdsSecretConfig`, { name: text(1), sds_config: one(2, ConfigSource) })
export type SdsSecretConfig = Decoded<typeof SdsSecretConfig>

export const CombinedCertificateValidationContext = message(`${PACKAGE}.CommonTlsContext.CombinedCertificateValidationContext`, {
  default_validation_context: one(1, CertificateValidationContext),
  validation_context_sds_secret_config: one(2, SdsSecretConfig),
})
export const CommonTlsContext = message(`${PACKAGE}.CommonTlsContext`, {
  tls_params: one(1, TlsParameters),
  tls_certificates: list(one(2, TlsCertificate)),
  alpn_protocols: list(text(4)),
  tls_certificate_sds_secret_configs: list(one(6, SdsSecretConfig)),
  tls_certificate_provider_instance: one(14, CertificateProviderPluginInstance),
  ...oneof('validation_context_type', {
    validation_context: one(3, CertificateValidationContext),
    validation_context_sds_secret_config: one(7, SdsSecretConfig),
    combined_validation_context: one(8, CombinedCertificateValidationContext),
  }),
  custom_handshaker: one(13, TypedExtensionConfig),
})
export type CommonTlsContext = Decoded<typeof CommonTlsContext>

export const UpstreamTlsContext = message(`${PACKAGE}.UpstreamTlsContext`, {
  common_tls_context: one(1, CommonTlsContext),
  sni: text(2),
  allow_renegotiation: bool(3),
  max_session_keys: uint32Value(4),
  enforce_rsa_key_usage: boolValue(5),
  auto_host_sni: bool(6),
  auto_sni_san_validation: bool(7),
})
export type UpstreamTlsContext = Decoded<typeof UpstreamTlsContext>

export const DownstreamTlsContext = message(`${PACKAGE}.DownstreamTlsContext`, {
  common_tls_context: one(1, CommonTlsContext),
  require_client_certificate: boolValue(2),
  require_sni: boolValue(3),
  ...oneof('session_ticket_keys_type', {
    session_ticket_keys: one(4, TlsSessionTicketKeys),
    session_ticket_keys_sds_secret_config: one(5, SdsSecretConfig),
    disable_stateless_session_resumption: bool(7),
  }),
  session_timeout: duration(6),
  ocsp_staple_policy: enumeration(8, { LENIENT_STAPLING: 0, STRICT_STAPLING: 1, MUST_STAPLE: 2 }),
  full_scan_certs_on_sni_mismatch: boolValue(9),
  disable_stateful_session_resumption: bool(10),
})
export type DownstreamTlsContext = Decoded<typeof DownstreamTlsContext>

export const GenericSecret = message(`${PACKAGE}.GenericSecret`, { secret: one(1, DataSource) })
export const Secret = message(`${PACKAGE}.Secret`, {
  name: text(1),
  ...oneof('type', {
    tls_certificate: one(2, TlsCertificate),
    session_ticket_keys: one(3, TlsSessionTicketKeys),
    validation_context: one(4, CertificateValidationContext),
    generic_secret: one(5, GenericSecret),
  }),
})
export type Secret = Decoded<typeof Secret>

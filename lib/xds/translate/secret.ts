// A Secret that came by SDS, in the form in which secrets go to the workers. What it holds is never in a finding.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { ProtobufError } from '../../grpc/protobuf-fields.ts'
import type { Credential } from '../../transport/secrets.ts'
import type { DataSource } from '../proto/core.ts'
import { decode } from '../proto/decode.ts'
import { type Message, typeUrlOf } from '../proto/schema.ts'
import {
  type CertificateValidationContext,
  CryptoMbPrivateKeyMethodConfig,
  QatPrivateKeyMethodConfig,
  Secret,
  type TlsCertificate,
} from '../proto/tls.ts'
import { checkValidation } from './common-tls.ts'
import type { Findings } from './findings.ts'
import { certificateMaterial, revocationLists, textOf } from './secret-names.ts'

/** `from`: bytes of a Secret. `name`: that of the resource, which contexts name it by. null: it is refused, and the findings say why. */
export function translateSecret(name: string, from: Uint8Array, findings: Findings): Credential | null {
  const of = findings.decode(from, Secret)
  if (of === null) return null
  if (of.tls_certificate !== null) return certificateOf(name, of.tls_certificate, findings.at('tls_certificate'))
  if (of.validation_context !== null) return trustOf(name, of.validation_context, findings.at('validation_context'))
  findings.fault(
    of.generic_secret === null && of.session_ticket_keys === null
      ? 'it holds nothing; tls_certificate or validation_context are expected'
      : 'its kind is not used by anything here; tls_certificate or validation_context are expected',
  )
  return null
}

function certificateOf(name: string, of: TlsCertificate, findings: Findings): Credential | null {
  const provider = of.private_key_provider
  const key = of.private_key ?? (provider === null ? null : embeddedKey(provider.typed_config, findings))
  if (provider !== null)
    findings.at('private_key_provider').note(`${provider.provider_name} is not used; its key is used in software`)
  if (of.ocsp_staple !== null) findings.at('ocsp_staple').note('it is not stapled')
  const material = certificateMaterial({ ...of, private_key: key }, findings)
  if (material === null || !isPair(material.chain, material.key, findings)) return null
  return { name, certificateChainPem: material.chain, privateKeyPem: material.key, rootsPem: [], crlPem: '' }
}

/** Providers have the key in their own configuration (cryptomb, qat), for those who do without them. */
function embeddedKey(packed: ProviderConfig, findings: Findings): DataSource | null {
  const at = findings.at('private_key_provider')
  const read = <T extends { readonly private_key: DataSource | null }>(of: Message<T>): DataSource | null => {
    if (packed === null || packed.typeUrl !== typeUrlOf(of)) return null
    try {
      return decode(of, packed.value).private_key
    } catch (error) {
      if (!(error instanceof ProtobufError)) throw error
      return null
    }
  }
  const key = read(CryptoMbPrivateKeyMethodConfig) ?? read(QatPrivateKeyMethodConfig)
  if (key === null) at.fault(`no private key is in the configuration of ${packed?.typeUrl ?? 'the provider'}`)
  return key
}

type ProviderConfig = NonNullable<TlsCertificate['private_key_provider']>['typed_config']

function isPair(chain: string, key: string, findings: Findings): boolean {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(chain)
  } catch {
    findings.at('certificate_chain').fault('it is no certificate as PEM')
    return false
  }
  try {
    if (certificate.checkPrivateKey(createPrivateKey(key))) return true
    findings.at('private_key').fault('the key is not that of the certificate')
  } catch {
    findings.at('private_key').fault('it is no private key as PEM that could be read without a password')
  }
  return false
}

function trustOf(name: string, of: CertificateValidationContext, findings: Findings): Credential | null {
  checkValidation(of, findings)
  const at = findings.at('trusted_ca')
  if (of.trusted_ca === null) {
    at.fault('roots are missing')
    return null
  }
  if (of.match_subject_alt_names.length + of.match_typed_subject_alt_names.length > 0)
    findings.fault('names of peers are asked for in the secret; they are carried out in the TLS context only')
  if (of.verify_certificate_hash.length + of.verify_certificate_spki.length > 0)
    findings.fault('certificates are pinned in the secret; that is carried out in the TLS context only')
  const pem = textOf(of.trusted_ca, at)
  const crlPem = revocationLists(of, findings)
  if (pem === null || crlPem === null) return null
  const blocks = pem.match(CERTIFICATE) ?? []
  if (blocks.length === 0) at.fault('certificates as PEM are expected')
  for (const [i, block] of blocks.entries())
    if (!isCertificate(block)) at.fault(`certificate ${i + 1} of ${blocks.length} cannot be read`)
  return { name, certificateChainPem: '', privateKeyPem: '', rootsPem: [pem], crlPem }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem)
    return true
  } catch {
    return false
  }
}

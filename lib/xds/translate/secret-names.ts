// Which secrets a TLS context stands on. Names are kept as the control plane has them, whatever source it says they come from: what the agent provides
// (`default`, `ROOTCA`, `file-cert:…`, `file-root:…`) is provided by heddle itself. What is written out in the context becomes a secret of its own.
import { createHash } from 'node:crypto'
import { OWN_CERTIFICATE, type SecretName, SYSTEM_TRUST } from '../../state/tls.ts'
import { type Credential, isRevocationList } from '../../transport/secrets.ts'
import type { DataSource } from '../proto/core.ts'
import type { CertificateValidationContext, SdsSecretConfig, TlsCertificate } from '../proto/tls.ts'
import type { Findings } from './findings.ts'

/** A name, and what it stands for where the context itself says it. */
export interface NamedSecret {
  readonly name: SecretName
  readonly credential: Credential | null
}

export const NO_SECRET: NamedSecret = { name: '', credential: null }

/** The workload's own certificate by another name (istiod credentials). */
const BUILT_IN_CERTIFICATE = 'builtin://'

export function sdsSecret(config: SdsSecretConfig): NamedSecret {
  return { name: config.name.startsWith(BUILT_IN_CERTIFICATE) ? OWN_CERTIFICATE : config.name, credential: null }
}

export function certificateSecret(certificate: TlsCertificate, findings: Findings): NamedSecret {
  const { certificate_chain: chain, private_key: key } = certificate
  if ((chain?.filename ?? null) !== null && (key?.filename ?? null) !== null)
    return { name: `file-cert:${chain?.filename}~${key?.filename}`, credential: null }
  const material = certificateMaterial(certificate, findings)
  if (material === null) return NO_SECRET
  return inline({ certificateChainPem: material.chain, privateKeyPem: material.key, rootsPem: [], crlPem: '' })
}

/** The certificate and key that are written out; null: there is none, which is told as a fault. */
export function certificateMaterial(of: TlsCertificate, findings: Findings): { chain: string; key: string } | null {
  if (of.pkcs12 !== null) findings.at('pkcs12').fault('PKCS#12 is not understood; PEM is expected')
  if (of.password !== null) findings.at('password').fault('encrypted private keys are not understood')
  const chain = of.certificate_chain === null ? null : textOf(of.certificate_chain, findings.at('certificate_chain'))
  const key = of.private_key === null ? null : textOf(of.private_key, findings.at('private_key'))
  if (chain === null || key === null) {
    if (of.certificate_chain === null || of.private_key === null)
      findings.fault('a certificate needs both certificate_chain and private_key')
    return null
  }
  return { chain, key }
}

/** null: the context has no roots. */
export function trustSecret(context: CertificateValidationContext, findings: Findings): NamedSecret | null {
  if (context.system_root_certs !== null) return { name: SYSTEM_TRUST, credential: null }
  const { trusted_ca: roots } = context
  if (roots === null) return null
  if (roots.filename !== null) {
    const list = context.crl
    if (list !== null && list.filename === null) findings.at('crl').fault('a file is expected, as the roots are one')
    return { name: `file-root:${roots.filename}${list === null ? '' : `~${list.filename}`}`, credential: null }
  }
  const pem = textOf(roots, findings.at('trusted_ca'))
  const crlPem = revocationLists(context, findings)
  return pem === null || crlPem === null ? null : inline({ certificateChainPem: '', privateKeyPem: '', rootsPem: [pem], crlPem })
}

/** PEM; empty: there is none. null: it cannot be used, which is told as a fault. */
export function revocationLists({ crl }: CertificateValidationContext, findings: Findings): string | null {
  if (crl === null) return ''
  const at = findings.at('crl')
  const pem = textOf(crl, at)
  if (pem === null || isRevocationList(pem)) return pem
  at.fault('revocation lists as PEM are expected')
  return null
}

/** null: it is not within the message; told as a fault. */
export function textOf(source: DataSource, findings: Findings): string | null {
  if (source.inline_bytes !== null) return Buffer.from(source.inline_bytes).toString('utf8')
  if (source.inline_string !== null) return source.inline_string
  const kind =
    source.filename !== null ? `the file ${source.filename}` : `the environment variable ${source.environment_variable}`
  findings.fault(`${kind} is not read here; inline_bytes or inline_string are expected`)
  return null
}

/** The same content has the same name, so that nothing changes when it is sent again. */
function inline(content: Omit<Credential, 'name'>): NamedSecret {
  const name = `inline:${createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 32)}`
  return { name, credential: { name, ...content } }
}

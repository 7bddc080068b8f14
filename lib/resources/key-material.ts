// What of a Secret is for TLS. Its messages never show what it holds.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { isRevocationList } from '../transport/secrets.ts'
import type { Path, Report } from './finding.ts'
import type { SecretSpec } from './schema/secret.ts'

/** PEM; an empty text: it has none. */
export interface KeyMaterial {
  readonly certificateChainPem: string
  readonly privateKeyPem: string
  readonly rootsPem: string
  /** Revocation lists of the roots. */
  readonly crlPem: string
}

/** Of kubernetes.io/tls, and as Istio's documentation has it in Secrets of type Opaque. */
const NAMES = {
  certificateChainPem: ['tls.crt', 'cert'],
  privateKeyPem: ['tls.key', 'key'],
  rootsPem: ['ca.crt', 'cacert'],
  crlPem: ['ca.crl', 'crl'],
} as const

const TLS_TYPE = 'kubernetes.io/tls'
const BASE64 = /^[A-Za-z0-9+/\s]*={0,2}\s*$/
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g

export function materialOf(spec: SecretSpec): KeyMaterial {
  return {
    certificateChainPem: firstOf(spec, NAMES.certificateChainPem),
    privateKeyPem: firstOf(spec, NAMES.privateKeyPem),
    rootsPem: firstOf(spec, NAMES.rootsPem),
    crlPem: firstOf(spec, NAMES.crlPem),
  }
}

/** What the API server would have refused, and what no handshake could be made with. */
export function validateSecret(spec: SecretSpec, report: Report): void {
  for (const [name, value] of Object.entries(spec.data ?? {}))
    if (!BASE64.test(value)) report(['data', name], 'expected base64; text as it is belongs into `stringData`')
  if (spec.type === TLS_TYPE) {
    for (const name of ['tls.crt', 'tls.key'])
      if (raw(spec, name) === undefined) report([], `a Secret of type ${TLS_TYPE} needs \`${name}\``)
  }
  const { certificateChainPem: chain, privateKeyPem: key, rootsPem: roots, crlPem: crl } = materialOf(spec)
  if (chain !== '' || key !== '') checkPair(spec, chain, key, report)
  if (roots !== '') checkCertificates(roots, pathOf(spec, NAMES.rootsPem), report)
  if (crl !== '' && !isRevocationList(crl)) report(pathOf(spec, NAMES.crlPem), 'expected revocation lists as PEM')
}

function checkPair(spec: SecretSpec, chain: string, key: string, report: Report): void {
  const [chainPath, keyPath] = [pathOf(spec, NAMES.certificateChainPem), pathOf(spec, NAMES.privateKeyPem)]
  // Some Secret of somebody else may well have an entry `key`.
  if (chain === '' || key === '') return
  if (!checkCertificates(chain, chainPath, report)) return
  let fits: boolean
  try {
    fits = new X509Certificate(chain).checkPrivateKey(createPrivateKey(key))
  } catch {
    report(keyPath, 'expected a private key as PEM, not encrypted')
    return
  }
  if (!fits) report(keyPath, 'the key is not that of the certificate')
}

function checkCertificates(pem: string, path: Path, report: Report): boolean {
  const blocks = pem.match(CERTIFICATE) ?? []
  for (const [i, block] of blocks.entries()) {
    try {
      new X509Certificate(block)
    } catch {
      report(path, `certificate ${i + 1} of ${blocks.length} cannot be read`)
      return false
    }
  }
  if (blocks.length === 0) report(path, 'expected certificates as PEM')
  return blocks.length > 0
}

function firstOf(spec: SecretSpec, names: readonly string[]): string {
  for (const name of names) {
    const value = raw(spec, name)
    if (value !== undefined && value !== '') return value
  }
  return ''
}

/** stringData wins, as where the API server writes it over data. */
function raw({ data = {}, stringData = {} }: SecretSpec, name: string): string | undefined {
  if (Object.hasOwn(stringData, name)) return stringData[name]
  return Object.hasOwn(data, name) ? Buffer.from(data[name] ?? '', 'base64').toString('utf8') : undefined
}

function pathOf(spec: SecretSpec, names: readonly string[]): Path {
  const name = names.find((n) => (raw(spec, n) ?? '') !== '') ?? names[0] ?? ''
  return [Object.hasOwn(spec.stringData ?? {}, name) ? 'stringData' : 'data', name]
}

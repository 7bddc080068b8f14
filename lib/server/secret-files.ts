// Certificates, keys and roots that configuration names by file.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { FILE_CERTIFICATE, FILE_ROOT, type SecretName } from '../state/tls.ts'
import { type Credential, isRevocationList } from '../transport/secrets.ts'

/** Of names that are several files: chain and key, roots and revocation lists. */
const BETWEEN_FILES = '~'

/** Which can be used. One that could be once is there from then on: what was read stays in use. */
export class UsableFiles {
  readonly #seen: Set<SecretName>

  constructor() {
    this.#seen = new Set()
  }

  has(name: SecretName): boolean {
    if (this.#seen.has(name)) return true
    try {
      readCredential(name)
    } catch {
      // Why is told of what is in force.
      return false
    }
    this.#seen.add(name)
    return true
  }
}

/** Chain and key, or roots and, where there are, revocation lists. */
export function pathsOf(name: SecretName): string[] {
  return name.slice((name.startsWith(FILE_ROOT) ? FILE_ROOT : FILE_CERTIFICATE).length).split(BETWEEN_FILES)
}

/** Throws what is wrong with it. */
export function readCredential(name: SecretName): Credential {
  const [first = '', second = ''] = pathsOf(name)
  const pem = readFileSync(first, 'utf8')
  const certificate = new X509Certificate(pem)
  if (name.startsWith(FILE_ROOT)) {
    const crlPem = second === '' ? '' : readFileSync(second, 'utf8')
    if (second !== '' && !isRevocationList(crlPem)) throw new Error(`${second} is no revocation list as PEM`)
    return { name, certificateChainPem: '', privateKeyPem: '', rootsPem: [pem], crlPem }
  }
  const privateKeyPem = readFileSync(second, 'utf8')
  if (!certificate.checkPrivateKey(createPrivateKey(privateKeyPem))) throw new Error('the key is not that of the certificate')
  return { name, certificateChainPem: pem, privateKeyPem, rootsPem: [], crlPem: '' }
}

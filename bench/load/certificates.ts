// A mesh of one root and one workload, made by the program openssl: what both ends of mTLS show and trust.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Files of PEM. */
export interface Certificates {
  readonly root: string
  readonly certificate: string
  readonly key: string
  /** Certificate and key in one file, as HAProxy wants them. */
  readonly both: string
}

export const IDENTITY = 'spiffe://cluster.local/ns/bench/sa/client'

/** In a folder of `folder`; made once. ECDSA P-256, as Istio's node proxies have them. */
export function makeCertificates(folder: string): Certificates {
  const dir = join(folder, 'certificates')
  const at = (name: string): string => join(dir, name)
  const files = { root: at('root.pem'), certificate: at('leaf.pem'), key: at('leaf.key'), both: at('both.pem') }
  if (existsSync(files.both)) return files
  mkdirSync(dir, { recursive: true })
  writeFileSync(
    at('openssl.cnf'),
    `[req]
distinguished_name=dn
[dn]
[root]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign
[leaf]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=critical,URI:${IDENTITY}
`,
  )
  const make = (section: string, subject: string, cert: string, key: string, signer: readonly string[]): void => {
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    const args = ['req', '-x509', ...curve, '-keyout', key, '-out', cert, '-days', '2', '-subj', subject]
    execFileSync('openssl', [...args, '-config', at('openssl.cnf'), '-extensions', section, ...signer], { stdio: 'ignore' })
  }
  make('root', '/O=bench', files.root, at('root.key'), [])
  make('leaf', '/', files.certificate, files.key, ['-CA', files.root, '-CAkey', at('root.key')])
  writeFileSync(files.both, readFileSync(files.certificate, 'utf8') + readFileSync(files.key, 'utf8'))
  return files
}

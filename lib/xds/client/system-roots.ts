// The certificates that the operating system believes, which Node does not read by itself.
import { readFile } from 'node:fs/promises'
import { rootCertificates } from 'node:tls'

/** Where distributions have them as one file, in the order in which Go looks (crypto/x509 root_linux.go). */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/** PEM. @param file of SSL_CERT_FILE; '': none. Those that Node brings where the system has none. */
export async function systemRoots(file: string): Promise<string> {
  for (const bundle of file === '' ? BUNDLES : [file, ...BUNDLES]) {
    const text = await readFile(bundle, 'utf8').catch(() => '')
    if (text.includes('-----BEGIN CERTIFICATE-----')) return text
  }
  return rootCertificates.join('\n')
}

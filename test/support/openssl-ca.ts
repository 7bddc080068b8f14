// Certificates made by the program openssl, for tests that judge what heddle says of certificates: the independent opinion. It makes
// whatever it is told, also what no CA should.
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Teardown } from './teardown.ts'

export interface OpensslCertificate {
  readonly certPem: string
  readonly keyPem: string
  readonly der: Buffer
  readonly certFile: string
  readonly keyFile: string
}

export interface OpensslRequest {
  /** `/O=shop/CN=web`; default: empty. */
  readonly subject?: string
  /** Lines of an extension section; `leafExtensions` and `caExtensions` make usual ones. */
  readonly extensions: readonly string[]
  readonly days?: number
  readonly key?: 'ec' | 'rsa'
}

const LEAF = {
  basicConstraints: 'critical,CA:FALSE',
  keyUsage: 'critical,digitalSignature,keyEncipherment',
  extendedKeyUsage: 'serverAuth,clientAuth',
}

/** An SVID's extensions. `changes`: other values; null leaves one out. */
export function leafExtensions(uris: readonly string[], changes: Readonly<Record<string, string | null>> = {}): string[] {
  const names = uris.map((uri) => `URI:${uri}`).join(',')
  const all: Record<string, string | null> = { ...LEAF, subjectAltName: names === '' ? null : `critical,${names}`, ...changes }
  return Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [`${name}=${value}`]))
}

export function caExtensions(...more: readonly string[]): string[] {
  return ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign', ...more]
}

/** True when there is an openssl to ask. */
export function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A folder in which certificates are made. */
export class OpensslCa {
  readonly folder: string
  private made: number

  constructor(t: Teardown) {
    this.folder = mkdtempSync(path.join(tmpdir(), 'heddle-openssl-'))
    this.made = 0
    t.teardown(() => rmSync(this.folder, { recursive: true, force: true }))
  }

  root(subject: string, request: Partial<OpensslRequest> = {}): OpensslCertificate {
    return this.make({ subject, extensions: caExtensions(), ...request }, null)
  }

  issue(issuer: OpensslCertificate, request: OpensslRequest): OpensslCertificate {
    return this.make(request, issuer)
  }

  /** The usual SVID. */
  svid(issuer: OpensslCertificate, ...uris: readonly string[]): OpensslCertificate {
    return this.make({ extensions: leafExtensions(uris) }, issuer)
  }

  private make(request: OpensslRequest, issuer: OpensslCertificate | null): OpensslCertificate {
    const base = path.join(this.folder, String(++this.made))
    const [config, certFile, keyFile] = [`${base}.cnf`, `${base}.pem`, `${base}.key`]
    writeFileSync(config, `[req]\ndistinguished_name=dn\n[dn]\n[ext]\n${request.extensions.join('\n')}\n`)
    const key = request.key === 'rsa' ? ['rsa:2048'] : ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-new', '-nodes', '-newkey', ...key, '-keyout', keyFile, '-out', certFile],
        ...['-config', config, '-extensions', 'ext', '-subj', request.subject ?? '/', '-days', String(request.days ?? 1)],
        ...(issuer === null ? [] : ['-CA', issuer.certFile, '-CAkey', issuer.keyFile]),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    const certPem = readFileSync(certFile, 'utf8')
    return { certPem, keyPem: readFileSync(keyFile, 'utf8'), der: new X509Certificate(certPem).raw, certFile, keyFile }
  }
}

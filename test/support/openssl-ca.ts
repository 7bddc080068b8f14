// Certificates made by the program openssl, for tests that judge what heddle says of certificates: the independent opinion. It makes
// whatever it is told, also what no CA should.
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
  /** In place of `days`, epoch milliseconds: for certificates that have expired or are not valid yet. Only with an issuer. */
  readonly validity?: { readonly notBeforeMs: number; readonly notAfterMs: number }
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

  /** A CA that somebody else made, such as `heddle ca init`, to make with it what it never would. */
  adopt(certFile: string, keyFile: string): OpensslCertificate {
    return read(certFile, keyFile)
  }

  /** The usual SVID. */
  svid(issuer: OpensslCertificate, ...uris: readonly string[]): OpensslCertificate {
    return this.make({ extensions: leafExtensions(uris) }, issuer)
  }

  /** PEM of the issuer's revocation list, good for a day. */
  crl(issuer: OpensslCertificate, ...revoked: readonly OpensslCertificate[]): { readonly pem: string; readonly file: string } {
    const base = path.join(this.folder, String(++this.made))
    const today = asn1Time(Date.now() - 60_000).slice(2)
    const lines = revoked.map(({ der }) => `R\t301231235959Z\t${today}\t${new X509Certificate(der).serialNumber}\tunknown\t/\n`)
    writeFileSync(`${base}.index`, lines.join(''))
    writeFileSync(`${base}.index.attr`, 'unique_subject=no\n')
    writeFileSync(`${base}.cnf`, `[ca]\ndefault_ca=d\n[d]\ndatabase=${base}.index\ndefault_md=sha256\ndefault_crl_days=1\n`)
    const by = ['-cert', issuer.certFile, '-keyfile', issuer.keyFile]
    openssl(['ca', '-gencrl', '-config', `${base}.cnf`, ...by, '-out', `${base}.crl`])
    return { pem: readFileSync(`${base}.crl`, 'utf8'), file: `${base}.crl` }
  }

  private make(request: OpensslRequest, issuer: OpensslCertificate | null): OpensslCertificate {
    const base = path.join(this.folder, String(++this.made))
    const [config, certFile, keyFile] = [`${base}.cnf`, `${base}.pem`, `${base}.key`]
    writeFileSync(config, `[req]\ndistinguished_name=dn\n[dn]\n[ext]\n${request.extensions.join('\n')}\n`)
    if (request.validity !== undefined && issuer !== null) return this.makeDated(request, issuer, base)
    const key = request.key === 'rsa' ? ['rsa:2048'] : ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
    openssl([
      ...['req', '-x509', '-new', '-nodes', '-newkey', ...key, '-keyout', keyFile, '-out', certFile],
      ...['-config', config, '-extensions', 'ext', '-subj', request.subject ?? '/', '-days', String(request.days ?? 1)],
      ...(issuer === null ? [] : ['-CA', issuer.certFile, '-CAkey', issuer.keyFile]),
    ])
    return read(certFile, keyFile)
  }

  /** `openssl req` counts days from now; only `openssl ca`, which keeps books, takes dates. */
  private makeDated({ validity, subject = '/' }: OpensslRequest, issuer: OpensslCertificate, base: string): OpensslCertificate {
    const [config, certFile, keyFile, csr] = [`${base}.cnf`, `${base}.pem`, `${base}.key`, `${base}.csr`]
    const books = `${base}.books`
    mkdirSync(books)
    writeFileSync(path.join(books, 'index'), '')
    writeFileSync(path.join(books, 'index.attr'), 'unique_subject=no\n')
    const lines = ['[ca]', 'default_ca=d', '[d]', `database=${books}/index`, `new_certs_dir=${books}`, 'rand_serial=yes']
    writeFileSync(config, [...lines, 'default_md=sha256', 'policy=p', '[p]', readFileSync(config, 'utf8')].join('\n'))
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-keyout', keyFile]
    openssl(['req', '-new', '-nodes', ...key, '-out', csr, '-config', config, '-subj', subject])
    const from = asn1Time(validity?.notBeforeMs ?? 0)
    const to = asn1Time(validity?.notAfterMs ?? 0)
    const dates = ['-startdate', from, '-enddate', to]
    const by = ['-cert', issuer.certFile, '-keyfile', issuer.keyFile]
    openssl(['ca', '-batch', '-notext', '-config', config, '-in', csr, '-out', certFile, '-extensions', 'ext', ...dates, ...by])
    return read(certFile, keyFile)
  }
}

function read(certFile: string, keyFile: string): OpensslCertificate {
  const certPem = readFileSync(certFile, 'utf8')
  return { certPem, keyPem: readFileSync(keyFile, 'utf8'), der: new X509Certificate(certPem).raw, certFile, keyFile }
}

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

/** `20260301120000Z`. */
function asn1Time(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace(/\D/g, '')}Z`
}

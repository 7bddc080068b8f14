// A certificate authority that signs requests, by the program openssl: nothing of it shares code with heddle. Certificates may live
// for seconds, and several are signed at once.
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Teardown } from './teardown.ts'

const run = promisify(execFile)

/** What a certificate is for, and how long it lives. Its subject is empty and its SAN critical, as Istio's. */
export interface Wanted {
  readonly uris?: readonly string[]
  readonly dnsNames?: readonly string[]
  readonly ips?: readonly string[]
  /** Default: an hour. */
  readonly lifetimeMs?: number
  /** Before now; default: two minutes. */
  readonly backdatedMs?: number
}

export interface Issued {
  /** Leaf, then intermediates. */
  readonly chain: string
  /** PKCS#8 PEM. */
  readonly key: string
}

const CONFIG = `
[ca]
default_ca = any
[any]
rand_serial = yes
default_md = sha256
policy = policy
unique_subject = no
copy_extensions = none
[policy]
commonName = optional
organizationName = optional
[req]
distinguished_name = dn
[dn]
`
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

export class SigningCa {
  /** The certificate of this authority. */
  readonly pem: string
  /** Intermediates from this one upwards, without the root: what follows a leaf. */
  readonly intermediates: readonly string[]
  readonly rootPem: string
  private readonly folder: string
  private serial: number

  private constructor(folder: string, parent: SigningCa | null) {
    this.folder = folder
    this.pem = readFileSync(path.join(folder, 'ca.pem'), 'utf8')
    this.intermediates = parent === null ? [] : [this.pem, ...parent.intermediates]
    this.rootPem = parent === null ? this.pem : parent.rootPem
    this.serial = 0
  }

  static async root(t: Teardown, name = 'test root'): Promise<SigningCa> {
    const folder = temporaryFolder(t)
    const extensions = ['basicConstraints=critical,CA:true', 'keyUsage=critical,keyCertSign,cRLSign']
    const flags = extensions.flatMap((e) => ['-addext', e])
    await openssl(folder, [
      'req',
      '-x509',
      ...EC,
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '10',
      '-subj',
      `/O=${name}`,
      ...flags,
    ])
    return new SigningCa(folder, null)
  }

  /** An intermediate of this authority. */
  async intermediate(t: Teardown, name = 'test intermediate'): Promise<SigningCa> {
    const folder = temporaryFolder(t)
    await openssl(folder, ['req', '-new', ...EC, '-keyout', 'ca.key', '-out', 'ca.csr', '-subj', `/O=${name}`])
    const csr = readFileSync(path.join(folder, 'ca.csr'), 'utf8')
    writeFileSync(
      path.join(folder, 'ca.pem'),
      await this.signWith(csr, ['basicConstraints=critical,CA:true', 'keyUsage=critical,keyCertSign,cRLSign'], {}),
    )
    return new SigningCa(folder, this)
  }

  /** The leaf for a request; only the request's key is looked at, as a CA does that knows better. */
  sign(csrPem: string, wanted: Wanted): Promise<string> {
    const names = [
      ...(wanted.uris ?? []).map((u) => `URI:${u}`),
      ...(wanted.dnsNames ?? []).map((d) => `DNS:${d}`),
      ...(wanted.ips ?? []).map((i) => `IP:${i}`),
    ]
    const extensions = [
      ...(names.length > 0 ? [`subjectAltName=critical,${names.join(',')}`] : []),
      'basicConstraints=critical,CA:false',
      'keyUsage=critical,digitalSignature,keyEncipherment',
      'extendedKeyUsage=serverAuth,clientAuth',
    ]
    return this.signWith(csrPem, extensions, wanted)
  }

  async issue(wanted: Wanted): Promise<Issued> {
    const id = this.serial++
    await openssl(this.folder, ['req', '-new', ...EC, '-keyout', `${id}.key`, '-out', `${id}.csr`, '-subj', '/'])
    const leaf = await this.sign(readFileSync(path.join(this.folder, `${id}.csr`), 'utf8'), wanted)
    return { chain: [leaf, ...this.intermediates].join(''), key: readFileSync(path.join(this.folder, `${id}.key`), 'utf8') }
  }

  private async signWith(
    csrPem: string,
    extensions: readonly string[],
    { lifetimeMs = 3_600_000, backdatedMs = 120_000 }: Wanted,
  ): Promise<string> {
    const id = `sign${this.serial++}`
    // A database of its own for each, so that several may be signed at once.
    const file = (suffix: string, text: string): string => {
      writeFileSync(path.join(this.folder, `${id}.${suffix}`), text)
      return `${id}.${suffix}`
    }
    file('index', '')
    const config = file('cnf', `${CONFIG.replace('[policy]', `database = ./${id}.index\nnew_certs_dir = .\n[policy]`)}`)
    const args = ['-in', file('csr', csrPem), '-out', `${id}.pem`, '-extfile', file('ext', `[v3]\n${extensions.join('\n')}\n`)]
    const from = ['-startdate', asn1Time(Date.now() - backdatedMs), '-enddate', asn1Time(Date.now() + lifetimeMs)]
    const ca = ['-config', config, '-cert', 'ca.pem', '-keyfile', 'ca.key', '-batch', '-notext', '-extensions', 'v3']
    await run('openssl', ['ca', ...ca, ...from, ...args], { cwd: this.folder })
    return readFileSync(path.join(this.folder, `${id}.pem`), 'utf8')
  }
}

async function openssl(folder: string, args: readonly string[]): Promise<void> {
  writeFileSync(path.join(folder, 'openssl.cnf'), CONFIG)
  await run('openssl', [...args, '-config', 'openssl.cnf'], { cwd: folder })
}

function temporaryFolder(t: Teardown): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'heddle-ca-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** `20261121161244Z`: whole seconds. */
function asn1Time(epochMs: number): string {
  return `${new Date(epochMs).toISOString().replace(/[-:T]|\.\d+/g, '')}`
}

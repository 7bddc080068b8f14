// Certificates as Kubernetes mounts them: three links to `..data`, which is a link that is swapped. All three files are good together, or
// what was good before stays.
import { createPublicKey } from 'node:crypto'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { certificatesOfPem } from '../../../../lib/identity/chain.ts'
import { CertificateAuthority } from '../../../../lib/identity/source/certificate-authority.ts'
import type { Delivery, SourceError } from '../../../../lib/identity/source/certificate-source.ts'
import { FileSource } from '../../../../lib/identity/source/file-source.ts'
import { generateKey, privateKeyPem } from '../../../../lib/identity/source/private-key.ts'
import { eventually } from '../../../support/eventually.ts'
import type { Teardown } from '../../../support/teardown.ts'

const WEB = 'spiffe://cluster.local/ns/shop/sa/web'
const HOUR = 3_600_000
const FILES = ['cert-chain.pem', 'key.pem', 'root-cert.pem'] as const

const nowMs = Date.now()
const authority = (): Promise<CertificateAuthority> =>
  CertificateAuthority.create({ trustDomain: 'cluster.local', intermediate: true, keyKind: 'ecdsa-p256', nowMs })
const ca = await authority()
const other = await authority()

type Files = readonly [chain: string, key: string, roots: string]

t.test('links that are swapped together', async (t) => {
  const { folder, start, deliveries, failures } = mounted(t)
  const [one, two] = [await files(), await files()]
  swap(folder, '..1', one)
  start()
  t.match(deliveries, [
    { certificates: [{ certificateChainPem: one[0], privateKeyPem: one[1] }], bundles: [{ trustDomain: 'cluster.local' }] },
  ])
  swap(folder, '..2', two)
  await eventually('the second is delivered', () => deliveries.length === 2)
  t.match(deliveries[1], { certificates: [{ certificateChainPem: two[0], privateKeyPem: two[1] }] })
  const three = await files(other)
  swap(folder, '..3', three)
  await eventually('the third is delivered', () => deliveries.length === 3)
  t.same(deliveries[2]?.bundles, [{ trustDomain: 'cluster.local', rootsPem: [other.material.rootPem] }], 'with its root')
  t.same(failures, [])
})

t.test('files that do not come yet, and come one after the other', async (t) => {
  const { folder, start, deliveries, failures } = mounted(t)
  const [chain, key, roots] = await files()
  start()
  t.match(failures, [/cert-chain\.pem: no such file/])
  const next = async (name: string, text: string, expected: RegExp): Promise<void> => {
    const seen = failures.length
    writeFileSync(path.join(folder, name), text)
    await eventually(`${name} is read`, () => failures.length > seen)
    t.match(failures.at(-1), expected)
  }
  await next('cert-chain.pem', chain, /key\.pem: no such file/)
  await next('key.pem', key, /root-cert\.pem: no such file/)
  t.equal(deliveries.length, 0)
  writeFileSync(path.join(folder, 'root-cert.pem'), roots)
  await eventually('all are there', () => deliveries.length === 1)
})

t.test('bad files are refused, with the file and the reason', async (t) => {
  const good = await files()
  const foreign = await files()
  const expired = await files(ca, WEB, -HOUR)
  const td = await files(ca, 'spiffe://td/a')
  const rows: readonly (readonly [what: string, files: Files, expected: RegExp])[] = [
    ['no certificate', ['x', good[1], good[2]], /cert-chain\.pem: there is no PEM certificate/],
    [
      'a damaged one',
      [good[0].replace('MII', 'MIJ'), good[1], good[2]],
      /cert-chain\.pem: a certificate of the chain cannot be read/,
    ],
    ['no key', [good[0], 'x', good[2]], /key\.pem: not a private key in PEM without a passphrase/],
    [
      'the key of another',
      [good[0], foreign[1], good[2]],
      /cert-chain\.pem: the key does not belong to the certificate \(with .*key\.pem/,
    ],
    ['a root that did not sign', [good[0], good[1], other.material.rootPem], /does not lead to a root that came with it/],
    ['no root', [good[0], good[1], ''], /root-cert\.pem: no certificate in it can be read/],
    ['expired', expired, /cert-chain\.pem: the certificate expired at/],
    ['another trust domain', td, /not of our trust domain cluster\.local/],
    ['empty', ['', '', ''], /key\.pem: not a private key/],
  ]
  for (const [what, bad, expected] of rows) {
    const { folder, start, deliveries, failures } = mounted(t)
    swap(folder, '..1', good)
    start()
    t.equal(deliveries.length, 1)
    swap(folder, '..2', bad)
    await eventually(what, () => failures.length > 0)
    t.match(failures, [expected], what)
    t.notMatch(failures[0], /MIG|PRIVATE/, 'without what was in the key')
    t.equal(deliveries.length, 1, 'nothing is delivered')
    swap(folder, '..3', good)
    await eventually('good again', () => deliveries.length === 2)
  }
})

t.test('a bad root among good ones is skipped', async (t) => {
  const { folder, start, deliveries, warnings } = mounted(t)
  const good = await files()
  swap(folder, '..1', [good[0], good[1], `# ours\n${other.material.rootPem.replace('MII', 'MIJ')}${good[2]}`])
  start()
  t.equal(certificatesOfPem(deliveries[0]?.bundles[0]?.rootsPem.join('') ?? '')?.length, 1)
  t.match(warnings, [/root-cert\.pem: certificate 1 of 2 cannot be read/])
})

function mounted(t: Teardown): {
  folder: string
  start: () => void
  deliveries: Delivery[]
  failures: string[]
  warnings: string[]
} {
  const folder = mkdtempSync(path.join(tmpdir(), 'heddle-files-'))
  const [deliveries, failures, warnings]: [Delivery[], string[], string[]] = [[], [], []]
  const [certificateChain, privateKey, roots] = FILES.map((f) => path.join(folder, f)) as [string, string, string]
  const source = new FileSource({
    certificateChain,
    privateKey,
    roots,
    trustDomain: 'cluster.local',
    now: () => nowMs,
    warn: (line) => warnings.push(line),
    debounceMs: 5,
    rescanMs: 20,
  })
  t.teardown(() => {
    source.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const sink = {
    deliver: (d: Delivery) => void deliveries.push(d),
    failed: (e: SourceError) => void failures.push(e.message),
  }
  return { folder, start: () => source.start(sink), deliveries, failures, warnings }
}

/** As the kubelet does it: a new folder, and a link to it that is renamed over the old one. */
function swap(folder: string, version: string, texts: Files): void {
  mkdirSync(path.join(folder, version))
  for (const [i, name] of FILES.entries()) writeFileSync(path.join(folder, version, name), texts[i] as string)
  symlinkSync(version, path.join(folder, '..data_tmp'))
  renameSync(path.join(folder, '..data_tmp'), path.join(folder, '..data'))
  for (const name of FILES) {
    try {
      symlinkSync(path.join('..data', name), path.join(folder, name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

async function files(by: CertificateAuthority = ca, identity: string = WEB, ttlMs = HOUR): Promise<Files> {
  const key = await generateKey('ecdsa-p256')
  return [by.issue(identity, createPublicKey(key), ttlMs, nowMs), privateKeyPem(key), by.material.rootPem]
}

// What our CA issues, judged by openssl; and our requests, judged by openssl.
import { execFileSync } from 'node:child_process'
import { createPublicKey, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { certificatesOfPem } from '../../../../lib/identity/chain.ts'
import { CertificateAuthority } from '../../../../lib/identity/source/certificate-authority.ts'
import { checkCertificate } from '../../../../lib/identity/source/certificate-check.ts'
import { DevCaSource } from '../../../../lib/identity/source/dev-ca-source.ts'
import { generateKey, KEY_KINDS, privateKeyPem } from '../../../../lib/identity/source/private-key.ts'
import { requestedKey, signingRequest } from '../../../../lib/identity/source/signing-request.ts'
import { hasOpenssl, leafExtensions, OpensslCa } from '../../../support/openssl-ca.ts'

const WEB = 'spiffe://cluster.local/ns/shop/sa/web'
const HOUR = 3_600_000
const skip = hasOpenssl() ? false : 'NOT RUN: there is no openssl on this machine'

const folder = mkdtempSync(path.join(tmpdir(), 'heddle-ca-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

t.test('certificates for workloads', { skip }, async (t) => {
  for (const keyKind of KEY_KINDS) {
    for (const intermediate of [false, true]) {
      await t.test(`${keyKind}, ${intermediate ? 'with' : 'without'} an intermediate`, async (t) => {
        const nowMs = Math.floor(Date.now() / 1000) * 1000
        const authority = await CertificateAuthority.create({ trustDomain: 'cluster.local', intermediate, keyKind, nowMs })
        const key = await generateKey(keyKind)
        const chain = authority.issue(WEB, createPublicKey(key), 24 * HOUR, nowMs)
        t.equal(certificatesOfPem(chain)?.length, intermediate ? 2 : 1)
        const leaf = new X509Certificate(chain)
        t.equal(Date.parse(leaf.validFrom), nowMs - 120_000, 'begins two minutes ago')
        t.equal(Date.parse(leaf.validTo), nowMs + 24 * HOUR)
        const [chainFile, rootFile] = [file('chain.pem', chain), file('root.pem', authority.material.rootPem)]
        for (const purpose of ['sslclient', 'sslserver']) {
          const verdict = openssl(
            'verify',
            '-x509_strict',
            '-purpose',
            purpose,
            '-CAfile',
            rootFile,
            '-untrusted',
            chainFile,
            chainFile,
          )
          t.match(verdict, /chain\.pem: OK/, `openssl verify -x509_strict -purpose ${purpose}`)
        }
        const text = openssl('x509', '-in', chainFile, '-noout', '-text').replace(/\s+/g, ' ')
        t.match(text, /Version: 3/)
        t.match(text, /Subject: X509v3|Subject: Subject Public Key/, 'no subject')
        t.match(text, `X509v3 Subject Alternative Name: critical URI:${WEB} `)
        t.match(text, 'X509v3 Key Usage: critical Digital Signature, Key Encipherment X509v3')
        t.match(text, 'X509v3 Extended Key Usage: TLS Web Server Authentication, TLS Web Client Authentication X509v3')
        t.match(text, 'X509v3 Basic Constraints: critical CA:FALSE')
        t.match(text, /X509v3 Subject Key Identifier: ([0-9A-F]{2}:){19}[0-9A-F]{2}/)
        t.match(text, /X509v3 Authority Key Identifier: ([0-9A-F]{2}:){19}[0-9A-F]{2}/)
        t.match(text, keyKind === 'rsa-2048' ? 'Public-Key: (2048 bit)' : 'NIST CURVE: P-256')
        t.match(text, keyKind === 'rsa-2048' ? 'sha256WithRSAEncryption' : 'ecdsa-with-SHA256')
        const ca = openssl('x509', '-in', file('ca.pem', authority.material.issuerPem), '-noout', '-text').replace(/\s+/g, ' ')
        t.match(ca, 'X509v3 Basic Constraints: critical CA:TRUE')
        t.match(ca, 'X509v3 Key Usage: critical Certificate Sign, CRL Sign')
        t.match(ca, 'X509v3 Subject Alternative Name: URI:spiffe://cluster.local ')
        const { rootPem } = authority.material
        const checked = {
          certificateChainPem: chain,
          key,
          rootsPem: [rootPem],
          expectedIdentity: WEB,
          trustDomain: 'cluster.local',
          nowMs,
        }
        t.match(checkCertificate(checked), { ok: true, certificate: { identity: WEB, notAfterMs: nowMs + 24 * HOUR } })
      })
    }
  }
})

t.test('lives', async (t) => {
  const nowMs = Date.UTC(2049, 11, 31)
  const authority = await CertificateAuthority.create({ trustDomain: 'td', intermediate: false, keyKind: 'ecdsa-p256', nowMs })
  const key = createPublicKey(await generateKey('ecdsa-p256'))
  const end = (ttlMs: number, atMs: number): number =>
    Date.parse(new X509Certificate(authority.issue('spiffe://td/a', key, ttlMs, atMs)).validTo)
  const rootEnd = Date.parse(new X509Certificate(authority.material.rootPem).validTo)
  t.equal(rootEnd, nowMs + 3650 * 24 * HOUR, 'ten years, in the form that begins in 2050')
  t.equal(end(HOUR, nowMs), nowMs + HOUR)
  t.equal(end(24 * HOUR, rootEnd - HOUR), rootEnd, 'no certificate outlives its CA')
  const serials = new Set(
    [1, 2, 3].map(() => new X509Certificate(authority.issue('spiffe://td/a', key, HOUR, nowMs)).serialNumber),
  )
  t.equal(serials.size, 3)
})

t.test('parts that do not belong together', async (t) => {
  const options = { trustDomain: 'td', intermediate: true, keyKind: 'ecdsa-p256', nowMs: Date.now() } as const
  const [a, b] = [await CertificateAuthority.create(options), await CertificateAuthority.create(options)]
  t.equal((await CertificateAuthority.load(a.material)).trustDomain, 'td')
  await t.rejects(CertificateAuthority.load({ ...a.material, issuerKeyPem: b.material.issuerKeyPem }), /does not belong/)
  await t.rejects(CertificateAuthority.load({ ...a.material, rootPem: 'x' }), /cannot be read/)
  const key = await generateKey('ecdsa-p256')
  const leaf = a.issue('spiffe://td/a', createPublicKey(key), HOUR, Date.now())
  await t.rejects(
    CertificateAuthority.load({ ...a.material, issuerPem: leaf, issuerKeyPem: privateKeyPem(key) }),
    /not one of a CA/,
  )
})

t.test('signing requests', { skip }, async (t) => {
  for (const kind of KEY_KINDS) {
    const key = await generateKey(kind)
    const csr = await signingRequest(WEB, key)
    const name = file('csr.pem', csr)
    t.match(openssl('req', '-in', name, '-noout', '-verify'), /verify OK|^$/)
    const text = openssl('req', '-in', name, '-noout', '-text').replace(/\s+/g, ' ')
    t.match(text, /Subject: Subject Public Key Info/, 'an empty subject')
    t.match(text, `X509v3 Subject Alternative Name: critical URI:${WEB} `)
    t.ok(requestedKey(csr)?.equals(createPublicKey(key)))
    const der = Buffer.from(csr.replace(/-----[^-]*-----|\s/g, ''), 'base64')
    const wrong = Buffer.from(der)
    const last = wrong.length - 1
    wrong[last] = (wrong[last] as number) ^ 1
    t.equal(requestedKey(pemOf(wrong)), null, 'a wrong signature')
    t.equal(requestedKey(pemOf(der.subarray(0, 50))), null, 'cut off')
  }
  for (const text of ['', 'x', pemOf(Buffer.alloc(0)), pemOf(Buffer.from('3000', 'hex'))]) t.equal(requestedKey(text), null)
  const theirs = path.join(folder, 'theirs.pem')
  const args = [
    'req',
    '-new',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    path.join(folder, 'k'),
  ]
  const csr = openssl(...args, '-subj', '/CN=x', '-out', theirs) + execFileSync('cat', [theirs], { encoding: 'utf8' })
  t.equal(requestedKey(csr)?.asymmetricKeyType, 'ec', 'one that openssl made')
  const authority = await CertificateAuthority.create({
    trustDomain: 'td',
    intermediate: true,
    keyKind: 'ecdsa-p256',
    nowMs: Date.now(),
  })
  const source = new DevCaSource({ authority, name: 'CA', now: Date.now })
  const answer = await source.sign({ identity: 'spiffe://td/a', csrPem: csr, ttlMs: HOUR })
  t.equal(new X509Certificate(answer.certificateChainPem).subjectAltName, 'URI:spiffe://td/a', 'the CA decides the name')
  await t.rejects(source.sign({ identity: 'spiffe://td/a', csrPem: 'x', ttlMs: HOUR }), /signing request cannot be read/)
})

t.test('what a source gives is checked', { skip }, async (t) => {
  const ca = new OpensslCa(t)
  const [root, other] = [ca.root('/O=a'), ca.root('/O=b')]
  const good = ca.svid(root, WEB)
  const nowMs = Date.now() + 1000
  const base = { rootsPem: [root.certPem], expectedIdentity: WEB, trustDomain: 'cluster.local', nowMs }
  const check = (leaf: typeof good, changes: Partial<Parameters<typeof checkCertificate>[0]> = {}): string => {
    const result = checkCertificate({ ...base, certificateChainPem: leaf.certPem, key: createPublicKey(leaf.keyPem), ...changes })
    return result.ok ? 'good' : result.error
  }
  const rows: readonly (readonly [what: string, got: string, expected: RegExp | 'good'])[] = [
    ['good', check(good), 'good'],
    ['any identity', check(good, { expectedIdentity: null }), 'good'],
    ['with its root behind it', check(good, { certificateChainPem: good.certPem + root.certPem }), 'good'],
    ['another identity', check(good, { expectedIdentity: `${WEB}2` }), /is for spiffe:.*web; asked was for .*web2/],
    ['another trust domain', check(good, { trustDomain: 'td', expectedIdentity: null }), /not of our trust domain td/],
    ['another key', check(good, { key: createPublicKey(other.keyPem) }), /key does not belong/],
    ['roots that did not sign it', check(good, { rootsPem: [other.certPem] }), /does not lead to a root that came with it/],
    ['no roots', check(good, { rootsPem: [] }), /does not lead to a root/],
    ['expired', check(good, { nowMs: nowMs + 48 * HOUR }), /expired at 20.*our clock says 20/],
    ['not yet valid', check(good, { nowMs: nowMs - 48 * HOUR }), /not valid until 20.*our clock says 20/],
    ['two identities', check(ca.svid(root, WEB, `${WEB}2`)), /2 URI SANs/],
    ['none', check(ca.issue(root, { extensions: leafExtensions([]), subject: '/CN=x' })), /0 URI SANs/],
    [
      'for servers only',
      check(ca.issue(root, { extensions: leafExtensions([WEB], { extendedKeyUsage: 'serverAuth' }) })),
      /lacks clientAuth/,
    ],
    ['no PEM', check(good, { certificateChainPem: 'x' }), /no PEM certificate/],
    ['damaged', check(good, { certificateChainPem: good.certPem.replace('MII', 'MIJ') }), /cannot be read/],
  ]
  for (const [what, got, expected] of rows) t.match(got, expected, what)
  const withRoot = checkCertificate({
    ...base,
    certificateChainPem: good.certPem + root.certPem,
    key: createPublicKey(good.keyPem),
  })
  t.equal(withRoot.ok && certificatesOfPem(withRoot.certificate.certificateChainPem)?.length, 1, 'a root is not sent along')
})

function file(name: string, text: string): string {
  const at = path.join(folder, name)
  writeFileSync(at, text)
  return at
}

function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function pemOf(der: Buffer): string {
  return `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
}

// X509-SVID.md §2 to §5 on certificates made by openssl; the words of OpenSSL come from a handshake of Node.
import tls from 'node:tls'
import t from 'tap'
import type { TrustStore } from '../../../lib/identity/material.ts'
import type { PeerFailure, PeerFailureReason } from '../../../lib/identity/peer-failure.ts'
import { type PeerExpectation, type PresentedChain, span, verifyPeer } from '../../../lib/identity/verify-peer.ts'
import { caExtensions, hasOpenssl, leafExtensions, OpensslCa, type OpensslCertificate } from '../../support/openssl-ca.ts'

const WEB = 'spiffe://cluster.local/ns/shop/sa/web'
const HOUR = 3_600_000
const skip = hasOpenssl() ? false : 'NOT RUN: there is no openssl on this machine'

t.test('peers', { skip }, async (t) => {
  const ca = new OpensslCa(t)
  const root = ca.root('/O=own')
  const otherRoot = ca.root('/O=other')
  // A little ahead: openssl dates certificates from the moment at which it makes them.
  const now = Date.now() + 600_000
  const own: TrustStore = { trustDomain: 'cluster.local', aliases: [], bundles: [bundle('cluster.local', root)], generation: 1 }
  const two: TrustStore = { ...own, bundles: [...own.bundles, bundle('other.example', otherRoot)] }
  const aliased: TrustStore = { ...own, aliases: ['old.example'] }
  const web = ca.svid(root, WEB)

  await t.test('leaves: exactly one URI SAN, and the rules of an SVID', async (t) => {
    const leaf = (...[uris, changes, subject]: [...Parameters<typeof leafExtensions>, subject?: string]): OpensslCertificate =>
      ca.issue(root, { extensions: leafExtensions(uris, changes), ...(subject === undefined ? {} : { subject }) })
    const rows: readonly (readonly [what: string, leaf: OpensslCertificate, verdict: PeerFailureReason | 'good'])[] = [
      ['an SVID', web, 'good'],
      ['with RSA', ca.issue(root, { extensions: leafExtensions([WEB]), key: 'rsa' }), 'good'],
      ['also with DNS names and addresses', leaf([WEB], { subjectAltName: `critical,URI:${WEB},DNS:a.b,IP:10.0.0.1` }), 'good'],
      ['without extKeyUsage', leaf([WEB], { extendedKeyUsage: null }), 'good'],
      ['without basicConstraints', leaf([WEB], { basicConstraints: null }), 'good'],
      ['with a subject, and a SAN that is not critical', leaf([WEB], { subjectAltName: `URI:${WEB}` }, '/CN=x'), 'good'],
      ['only digitalSignature', leaf([WEB], { keyUsage: 'critical,digitalSignature' }), 'good'],
      ['no SAN', leaf([], {}, '/CN=x'), 'no-identity'],
      ['only a DNS name', leaf([], { subjectAltName: 'DNS:a.b' }, '/CN=x'), 'no-identity'],
      ['the id as a common name or a DNS name', leaf([], { subjectAltName: `DNS:${WEB}` }, `/CN=web`), 'no-identity'],
      ['two URI SANs', leaf([WEB, 'spiffe://cluster.local/ns/shop/sa/api']), 'several-identities'],
      ['two URI SANs, one of them no SPIFFE id', leaf([WEB, 'https://example.com/']), 'several-identities'],
      ['the same URI SAN twice', leaf([WEB, WEB]), 'several-identities'],
      ['a URI that is no SPIFFE id', leaf(['https://cluster.local/ns/shop/sa/web']), 'not-a-spiffe-id'],
      ['a path with dots', leaf(['spiffe://cluster.local/ns/shop/../sa/web']), 'not-a-spiffe-id'],
      ['no path', leaf(['spiffe://cluster.local']), 'no-workload'],
      ['a CA', leaf([WEB], { basicConstraints: 'critical,CA:TRUE' }), 'unfit-certificate'],
      ['keyCertSign', leaf([WEB], { keyUsage: 'critical,digitalSignature,keyCertSign' }), 'unfit-certificate'],
      ['cRLSign', leaf([WEB], { keyUsage: 'critical,digitalSignature,cRLSign' }), 'unfit-certificate'],
      ['no digitalSignature', leaf([WEB], { keyUsage: 'critical,keyEncipherment' }), 'unfit-certificate'],
      ['keyUsage not critical', leaf([WEB], { keyUsage: 'digitalSignature' }), 'unfit-certificate'],
      ['no keyUsage', leaf([WEB], { keyUsage: null }), 'unfit-certificate'],
      ['for servers only', leaf([WEB], { extendedKeyUsage: 'serverAuth' }), 'unfit-certificate'],
      ['SAN not critical, subject empty', leaf([WEB], { subjectAltName: `URI:${WEB}` }), 'unfit-certificate'],
      [
        'of a foreign trust domain, signed by our CA',
        leaf(['spiffe://cluster.local.evil/ns/shop/sa/web']),
        'foreign-trust-domain',
      ],
    ]
    for (const [what, { der }, expected] of rows) {
      const verdict = verifyPeer({ chain: [der], opensslError: '' }, own, any('client'), now)
      t.equal(verdict.ok ? 'good' : verdict.failure.reason, expected, what)
      if (verdict.ok) t.equal(verdict.peer.identity, WEB)
    }
    const serverOnly = leaf([WEB], { extendedKeyUsage: 'serverAuth' })
    t.equal(verifyPeer({ chain: [serverOnly.der], opensslError: '' }, own, any('server'), now).ok, true)
  })

  await t.test('OpenSSL refuses, and Node tells with which word', async (t) => {
    const intermediate = ca.issue(root, { subject: '/CN=between', extensions: caExtensions() })
    const below = ca.svid(intermediate, WEB)
    const notCa = ca.issue(web, { extensions: leafExtensions([WEB]) })
    const rows: readonly (readonly [what: string, chain: readonly OpensslCertificate[], expected: PeerFailureReason | 'good'])[] =
      [
        ['signed by the root', [web], 'good'],
        ['signed by an intermediate that comes along', [below, intermediate], 'good'],
        ['with the root at the end', [below, intermediate, root], 'good'],
        ['an intermediate that does not come along', [below], 'untrusted-chain'],
        ['another root', [ca.svid(otherRoot, WEB)], 'untrusted-chain'],
        ['another root at the end of the chain', [ca.svid(otherRoot, WEB), otherRoot], 'untrusted-chain'],
        ['another root with the name of ours', [ca.svid(ca.root('/O=own'), WEB)], 'untrusted-chain'],
        ['signed with its own key', [ca.root('/CN=x', { extensions: leafExtensions([WEB]) })], 'untrusted-chain'],
        ['signed by a leaf', [notCa, web], 'untrusted-chain'],
      ]
    for (const [what, chain, expected] of rows) {
      const presented = await handshake(chain, [root])
      const verdict = verifyPeer(presented, own, any('client'), now)
      t.equal(verdict.ok ? 'good' : verdict.failure.reason, expected, `${what}: ${presented.opensslError}`)
      // With a second bundle the chain is checked here as well. Node gave only the roots of one: both must agree.
      const alone = verifyPeer({ ...presented, opensslError: '' }, two, any('client'), now)
      t.equal(alone.ok ? 'good' : alone.failure.reason, expected, `${what}, as checked here`)
    }
    for (const [notBeforeMs, notAfterMs, reason, word] of [
      [now - 3 * HOUR, now - 2 * HOUR, 'expired', 'CERT_HAS_EXPIRED'],
      [now + 2 * HOUR, now + 3 * HOUR, 'not-yet-valid', 'CERT_NOT_YET_VALID'],
    ] as const) {
      const leaf = ca.issue(root, { extensions: leafExtensions([WEB]), validity: { notBeforeMs, notAfterMs } })
      const presented = await handshake([leaf], [root])
      t.equal(presented.opensslError, word)
      const faults = [{ reason, words: /[12]h/ }]
      t.match(verifyPeer(presented, own, any('client'), now), { ok: false, failure: { reason, faults } })
      t.match(verifyPeer({ ...presented, opensslError: '' }, two, any('client'), now), { ok: false, failure: { reason, faults } })
    }
    const none = await handshake([], [root])
    const verdict = verifyPeer(none, own, any('client'), now)
    t.match(verdict, { ok: false, failure: { reason: 'no-certificate', message: 'the client presented no certificate' } })
  })

  await t.test('roots of two trust domains are not put together', async (t) => {
    const impostor = ca.svid(otherRoot, WEB)
    const other = ca.svid(otherRoot, 'spiffe://other.example/ns/shop/sa/web')
    // OpenSSL, which has both roots, is content with both.
    for (const leaf of [impostor, other]) t.equal((await handshake([leaf], [root, otherRoot])).opensslError, '')
    const presented = (leaf: OpensslCertificate): PresentedChain => ({ chain: [leaf.der], opensslError: '' })
    t.match(verifyPeer(presented(impostor), two, any('client'), now), {
      ok: false,
      failure: { reason: 'untrusted-chain', seenTrustDomain: 'cluster.local', message: /root of cluster\.local/ },
    })
    t.match(verifyPeer(presented(other), two, any('client'), now), { ok: true, peer: { id: { trustDomain: 'other.example' } } })
    t.match(verifyPeer(presented(other), own, any('client'), now), { ok: false, failure: { reason: 'foreign-trust-domain' } })
    const empty: TrustStore = { ...two, bundles: [{ trustDomain: 'cluster.local', rootsPem: [] }] }
    t.match(verifyPeer(presented(web), empty, any('client'), now), { ok: false, failure: { reason: 'untrusted-chain' } })
    const none: TrustStore = { ...two, bundles: [] }
    t.match(verifyPeer(presented(web), none, any('client'), now), { ok: false, failure: { reason: 'no-roots' } })
  })

  await t.test('chains as they are checked here', async (t) => {
    const deep = ca.issue(root, {
      subject: '/CN=pl0',
      extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign'],
    })
    const deeper = ca.issue(deep, { subject: '/CN=below pl0', extensions: caExtensions() })
    const noSign = ca.issue(root, {
      subject: '/CN=nosign',
      extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,cRLSign'],
    })
    const bound = (name: string, rule: string): OpensslCertificate =>
      ca.issue(root, { subject: `/CN=${name}`, extensions: caExtensions(`nameConstraints=critical,${rule}`) })
    const own1 = bound('own', 'permitted;URI:cluster.local')
    const other1 = bound('other', 'permitted;URI:other.example')
    const not1 = bound('not', 'excluded;URI:cluster.local')
    const sub = bound('sub', 'permitted;URI:.local')
    const short = ca.issue(root, { subject: '/CN=short', extensions: caExtensions(), days: 1 })
    const long = ca.issue(short, { extensions: leafExtensions([WEB]), days: 3 })
    const rows: readonly (readonly [
      what: string,
      chain: readonly OpensslCertificate[],
      atMs: number,
      expected: RegExp | 'good',
    ])[] = [
      ['path length 0, and a leaf below', [ca.svid(deep, WEB), deep], now, 'good'],
      ['path length 0, and a CA below', [ca.svid(deeper, WEB), deeper, deep], now, /allows 0 CAs below itself, and there are 1/],
      ['a CA that may not sign', [ca.svid(noSign, WEB), noSign], now, /no certificate of its chain is signed|may not sign/],
      ['constrained to our trust domain', [ca.svid(own1, WEB), own1], now, 'good'],
      ['constrained to another', [ca.svid(other1, WEB), other1], now, /may not sign for spiffe:\/\/cluster\.local/],
      ['ours is excluded', [ca.svid(not1, WEB), not1], now, /may not sign for/],
      ['constrained to what is below a domain', [ca.svid(sub, WEB), sub], now, 'good'],
      ['an intermediate that has expired', [long, short], now + 36 * HOUR, /CN=short expired at 20/],
      ['an intermediate not yet valid', [long, short], now - HOUR, /not valid until 20/],
      ['order does not matter, nor what does not belong', [ca.svid(deep, WEB), web, otherRoot, deep], now, 'good'],
    ]
    for (const [what, chain, atMs, expected] of rows) {
      const verdict = verifyPeer({ chain: chain.map((c) => c.der), opensslError: '' }, two, any('server'), atMs)
      const told = verdict.ok ? 'good' : (verdict.failure.faults.find((f) => f.reason === 'untrusted-chain')?.words ?? '')
      t.match(told, expected, what)
    }
    const garbage = verifyPeer({ chain: [Buffer.from('30820010', 'hex'), web.der], opensslError: '' }, two, any('server'), now)
    t.match(garbage, {
      ok: false,
      failure: { reason: 'unreadable-certificate', chain: [{ subject: '(unreadable)' }, { issuer: 'O=own' }] },
    })
  })

  await t.test('our clock decides about validity, and the message says by how much', async (t) => {
    const { notAfterMs, notBeforeMs } = good(
      verifyPeer({ chain: [web.der], opensslError: '' }, own, any('client'), now),
    ).certificate
    const at = (ms: number, opensslError = ''): PeerFailure | null => {
      const verdict = verifyPeer({ chain: [web.der], opensslError }, own, any('client'), ms)
      return verdict.ok ? null : verdict.failure
    }
    t.equal(at(notAfterMs), null)
    t.equal(at(notBeforeMs), null)
    t.match(at(notAfterMs + 3 * HOUR + 12 * 60_000), { reason: 'expired', message: 'the certificate expired 3h12m ago' })
    t.match(at(notBeforeMs - 90_000), {
      reason: 'not-yet-valid',
      message: 'the certificate is not valid yet; it will be in 1m30s',
    })
    t.match(at(notAfterMs + 1000, 'CERT_HAS_EXPIRED'), {
      message: 'the certificate expired 1s ago',
      opensslError: 'CERT_HAS_EXPIRED',
    })
    t.match(at(now, 'CERT_HAS_EXPIRED'), { reason: 'untrusted-chain', message: 'a CA in the chain has expired' })
    t.match(at(now, 'SOMETHING_NEW'), { message: 'OpenSSL refuses the chain with SOMETHING_NEW' })
    for (const [ms, text] of [
      [0, 'less than 1s'],
      [1000, '1s'],
      [61_000, '1m1s'],
      [7_200_000, '2h'],
      [90_061_000, '1d1h'],
    ] as const)
      t.equal(span(ms), text)
  })

  await t.test('trust domain aliases let peers in, and are no other name for a server', async (t) => {
    const old = ca.svid(root, 'spiffe://old.example/ns/shop/sa/web')
    const presented = { chain: [old.der], opensslError: '' }
    t.match(verifyPeer(presented, aliased, any('client'), now), {
      ok: true,
      peer: { identity: 'spiffe://old.example/ns/shop/sa/web' },
    })
    t.match(verifyPeer(presented, own, any('client'), now), { ok: false, failure: { reason: 'foreign-trust-domain' } })
    const named: PeerExpectation = { side: 'server', identities: [WEB] }
    t.match(verifyPeer(presented, aliased, named, now), { ok: false, failure: { reason: 'unexpected-identity' } })
    const longer = ca.svid(root, 'spiffe://old.example.evil/ns/shop/sa/web')
    t.equal(verifyPeer({ chain: [longer.der], opensslError: '' }, aliased, any('client'), now).ok, false)
    const withRoots: TrustStore = { ...aliased, bundles: [...aliased.bundles, bundle('old.example', otherRoot)] }
    t.equal(
      verifyPeer(presented, withRoots, any('client'), now).ok,
      false,
      'an alias with roots of its own is checked with these',
    )
  })

  await t.test('secure naming', async (t) => {
    const as = (...identities: string[]): PeerExpectation => ({ side: 'server', identities })
    const presented = { chain: [web.der], opensslError: '' }
    t.equal(verifyPeer(presented, own, as(), now).ok, true)
    t.equal(verifyPeer(presented, own, as('spiffe://cluster.local/ns/shop/sa/api', WEB), now).ok, true)
    for (const near of [`${WEB}2`, WEB.slice(0, -1), WEB.toUpperCase(), `${WEB}/`, 'spiffe://cluster.local/ns/shop/sa/'])
      t.equal(verifyPeer(presented, own, as(near), now).ok, false, near)
    t.match(verifyPeer(presented, own, as('spiffe://cluster.local/ns/shop/sa/api'), now), {
      ok: false,
      failure: {
        reason: 'unexpected-identity',
        message: `the server is ${WEB}; expected spiffe://cluster.local/ns/shop/sa/api`,
        expectedIdentities: ['spiffe://cluster.local/ns/shop/sa/api'],
        seenIdentities: [WEB],
      },
    })
    const beginning = (...identityPrefixes: string[]) =>
      verifyPeer(presented, own, { side: 'server', identities: [], identityPrefixes }, now)
    t.equal(beginning('spiffe://x/', 'spiffe://cluster.local/ns/shop/sa/').ok, true)
    t.match(beginning('spiffe://cluster.local/ns/other/'), {
      ok: false,
      failure: { expectedIdentities: ['spiffe://cluster.local/ns/other/…'] },
    })
  })

  await t.test('the record of a failure holds all that one compares, and can be sent as a message', async (t) => {
    const bad = ca.issue(otherRoot, {
      subject: '/O=shop/CN=web',
      extensions: leafExtensions([WEB, 'spiffe://x/y'], { subjectAltName: `URI:${WEB},URI:spiffe://x/y,DNS:a.b,IP:10.0.0.1` }),
    })
    const verdict = verifyPeer(
      { chain: [bad.der, otherRoot.der], opensslError: 'SELF_SIGNED_CERT_IN_CHAIN' },
      two,
      any('client'),
      now,
    )
    if (verdict.ok) throw new Error('it was believed')
    const { failure } = verdict
    t.same(structuredClone(failure), failure)
    t.match(failure, {
      reason: 'several-identities',
      message: 'the certificate has 2 URI SANs, where an SVID has exactly one; the chain ends in a root that is not one of ours',
      faults: [{ reason: 'several-identities' }, { reason: 'untrusted-chain' }],
      chain: [
        { subject: 'O=shop,CN=web', issuer: 'O=other', sans: [`URI:${WEB}`, 'URI:spiffe://x/y', 'DNS:a.b', 'IP:10.0.0.1'] },
        { subject: 'O=other', issuer: 'O=other', sans: [] },
      ],
      trustDomains: ['cluster.local', 'other.example'],
      seenTrustDomain: 'cluster.local',
      seenIdentities: [WEB, 'spiffe://x/y'],
      now: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/,
    })
  })
})

function any(side: PeerExpectation['side']): PeerExpectation {
  return { side, identities: [] }
}

function bundle(trustDomain: string, ...roots: readonly OpensslCertificate[]): TrustStore['bundles'][number] {
  return { trustDomain, rootsPem: roots.map((r) => r.certPem) }
}

function good(verdict: ReturnType<typeof verifyPeer>): Extract<ReturnType<typeof verifyPeer>, { ok: true }>['peer'] {
  if (!verdict.ok) throw new Error(verdict.failure.message)
  return verdict.peer
}

/** What a server sees of a client that presents this chain. */
async function handshake(chain: readonly OpensslCertificate[], roots: readonly OpensslCertificate[]): Promise<PresentedChain> {
  const key = chain[0] === undefined ? {} : { key: chain[0].keyPem, cert: chain.map((c) => c.certPem).join('') }
  const serverKey = roots[0] as OpensslCertificate
  const server = tls.createServer({
    key: serverKey.keyPem,
    cert: serverKey.certPem,
    ca: roots.map((r) => r.certPem),
    requestCert: true,
    rejectUnauthorized: false,
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const seen = new Promise<PresentedChain>((resolve) => {
    server.once('secureConnection', (socket) => {
      const error = socket.authorizationError as unknown
      const peer = socket.getPeerX509Certificate()
      const presented = peer === undefined ? [] : [peer.raw, ...chain.slice(1).map((c) => c.der)]
      resolve({ chain: presented, opensslError: typeof error === 'string' ? error : '' })
      socket.destroy()
    })
  })
  const client = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...key })
  client.on('error', () => {})
  const result = await seen
  client.destroy()
  await new Promise((resolve) => server.close(resolve))
  return result
}

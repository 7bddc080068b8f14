// For whom the roots of a mesh hold, on certificates made by openssl.
import t from 'tap'
import type { TrustStore } from '../../../lib/identity/material.ts'
import { withMeshRoots } from '../../../lib/identity/mesh-roots.ts'
import { verifyPeer } from '../../../lib/identity/verify-peer.ts'
import { caExtensions, hasOpenssl, OpensslCa, type OpensslCertificate } from '../../support/openssl-ca.ts'

const OWN = 'cluster.local'

t.test('roots of a mesh', { skip: hasOpenssl() ? false : 'NOT RUN: there is no openssl on this machine' }, async (t) => {
  const ca = new OpensslCa(t)
  const root = ca.root('/O=own')
  const further = ca.root('/O=further')
  const federated = ca.root('/O=federated', { extensions: caExtensions('subjectAltName=URI:spiffe://partner.example') })
  const stranger = ca.root('/O=stranger')
  const known = [{ trustDomain: OWN, rootsPem: [root.certPem] }]
  const store = (...pems: readonly string[]): TrustStore => ({
    ...{ trustDomain: OWN, aliases: ['old.example'], generation: 1 },
    bundles: withMeshRoots(known, pems, OWN),
  })
  const verdict = (trust: TrustStore, issuer: OpensslCertificate, trustDomain: string): string => {
    const { der } = ca.svid(issuer, `spiffe://${trustDomain}/ns/shop/sa/web`)
    const result = verifyPeer({ chain: [der], opensslError: '' }, trust, { side: 'client', identities: [] }, Date.now() + 600_000)
    return result.ok ? 'good' : result.failure.reason
  }
  t.equal(store().bundles, known, 'without them nothing changes')
  const all = store(further.certPem + federated.certPem, 'no certificate')
  for (const [what, issuer, trustDomain, expected] of [
    ['our own root', root, OWN, 'good'],
    ['an alias', root, 'old.example', 'good'],
    ['a further root for our own', further, OWN, 'good'],
    ['and for an alias', further, 'old.example', 'good'],
    ['and for a trust domain that has none', further, 'other.example', 'good'],
    ['but not where roots are known', further, 'partner.example', 'untrusted-chain'],
    ['a root that names its trust domain', federated, 'partner.example', 'good'],
    ['for ours it does not hold', federated, OWN, 'untrusted-chain'],
    ['nor for another', federated, 'other.example', 'untrusted-chain'],
    ['our own root for others', root, 'other.example', 'untrusted-chain'],
    ['one that nobody has told of', stranger, OWN, 'untrusted-chain'],
  ] as const)
    t.equal(verdict(all, issuer, trustDomain), expected, what)
  t.equal(verdict(store(federated.certPem), federated, 'other.example'), 'foreign-trust-domain')
  const none: TrustStore = { ...all, bundles: withMeshRoots([], [further.certPem], OWN) }
  t.equal(verdict(none, further, OWN), 'no-roots', 'until our own source has said its roots')
})

// SPIFFE-ID.md §2.1 to §2.5.
import t from 'tap'
import { parseSpiffeId, parseTrustDomain, spiffeIdText, workloadIdentityText } from '../../../lib/identity/spiffe-id.ts'

const longest = `spiffe://a/${'b'.repeat(2048 - 'spiffe://a/'.length)}`

const GOOD: readonly (readonly [text: string, canonical: string, trustDomain: string, path: string])[] = [
  ['spiffe://cluster.local/ns/a/sa/b', 'spiffe://cluster.local/ns/a/sa/b', 'cluster.local', '/ns/a/sa/b'],
  ['spiffe://cluster.local', 'spiffe://cluster.local', 'cluster.local', ''],
  ['SPIFFE://Cluster.LOCAL/Ns/A', 'spiffe://cluster.local/Ns/A', 'cluster.local', '/Ns/A'],
  ['spiffe://127.0.0.1/x', 'spiffe://127.0.0.1/x', '127.0.0.1', '/x'],
  ['spiffe://a_b-c.d/._-/...', 'spiffe://a_b-c.d/._-/...', 'a_b-c.d', '/._-/...'],
  [longest, longest, 'a', longest.slice('spiffe://a'.length)],
  [`spiffe://${'a'.repeat(255)}/x`, `spiffe://${'a'.repeat(255)}/x`, 'a'.repeat(255), '/x'],
]

const BAD: readonly (readonly [text: string, why: RegExp])[] = [
  ['', /does not begin with spiffe:\/\//],
  ['https://cluster.local/ns/a/sa/b', /does not begin/],
  ['spiffe:/cluster.local/x', /does not begin/],
  [' spiffe://a/b', /does not begin/],
  ['spiffe://', /trust domain is empty/],
  ['spiffe:///ns/a/sa/b', /trust domain is empty/],
  ['spiffe://user@cluster.local/x', /user part/],
  ['spiffe://cluster.local:443/x', /port/],
  ['spiffe://[::1]/x', /IPv6/],
  ['spiffe://cluster%2elocal/x', /only a-z/],
  ['spiffe://clüster.local/x', /only a-z/],
  ['spiffe://\u212aube/x', /only a-z/], // the Kelvin sign, whose lower case is k
  [`spiffe://${'a'.repeat(256)}/x`, /256 bytes/],
  [`${longest}c`, /2049 bytes/],
  ['spiffe://a/', /ends with a slash/],
  ['spiffe://a/b/', /ends with a slash/],
  ['spiffe://a//b', /empty segment/],
  ['spiffe://a/./b', /segment "\."/],
  ['spiffe://a/b/..', /segment "\.\."/],
  ['spiffe://a/b%2fc', /only a-z A-Z/],
  ['spiffe://a/b c', /only a-z A-Z/],
  ['spiffe://a/b\u0000', /only a-z A-Z/],
  ['spiffe://a/b\n', /only a-z A-Z/],
  ['spiffe://a/b\\c', /only a-z A-Z/],
  ['spiffe://a/b:c', /only a-z A-Z/],
  ['spiffe://a/ä', /only a-z A-Z/],
  ['spiffe://a/b?c', /query/],
  ['spiffe://a?c', /query/],
  ['spiffe://a/b#c', /fragment/],
  ['spiffe://a#c', /fragment/],
]

t.test('what is a SPIFFE id, and its one text', async (t) => {
  for (const [text, canonical, trustDomain, path] of GOOD) {
    const parsed = parseSpiffeId(text)
    if (!parsed.ok) {
      t.fail(parsed.error)
      continue
    }
    t.match(parsed.id, { trustDomain, path })
    t.equal(spiffeIdText(parsed.id), canonical)
  }
})

t.test('what is not, and why', async (t) => {
  for (const [text, why] of BAD) {
    const parsed = parseSpiffeId(text)
    t.match(parsed.ok ? 'accepted' : parsed.error, why, JSON.stringify(text.slice(0, 60)))
  }
})

t.test('an error is one short line whatever the text was', async (t) => {
  for (const text of [`x${'\n'.repeat(1000)}`, 'spiffe://\u001b[31m/x', `spiffe://a/${'\u202e'.repeat(500)}`]) {
    const parsed = parseSpiffeId(text)
    t.notMatch(parsed.ok ? '\n' : parsed.error, /[\p{Cc}\p{Cf}]/u)
    t.ok(!parsed.ok && parsed.error.length < 2000)
  }
})

t.test('namespace and service account: the form of Istio and no other', async (t) => {
  const parts = (text: string): unknown => {
    const parsed = parseSpiffeId(text)
    return parsed.ok ? [parsed.id.namespace, parsed.id.serviceAccount] : parsed.error
  }
  t.same(parts(workloadIdentityText('td', 'shop', 'web')), ['shop', 'web'])
  t.same(parts('spiffe://td/ns/shop/sa/web/x'), [null, null])
  t.same(parts('spiffe://td/ns/shop/sa'), [null, null])
  t.same(parts('spiffe://td/NS/shop/sa/web'), [null, null])
  t.same(parts('spiffe://td/sa/shop/ns/web'), [null, null])
  t.same(parts('spiffe://td'), [null, null])
})

t.test('names of trust domains in configuration', async (t) => {
  t.same(parseTrustDomain('Cluster.Local'), { ok: true, name: 'cluster.local' })
  for (const text of ['', 'a/b', 'spiffe://a', 'a b', 'a:1', 'u@a']) t.equal(parseTrustDomain(text).ok, false, text)
})

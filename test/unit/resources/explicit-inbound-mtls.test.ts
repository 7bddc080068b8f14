// Explicit inbound listeners and PeerAuthentication: which filter chains they have, and that STRICT lets nobody in without an identity.
import t from 'tap'
import type { Listener } from '../../../lib/state/listener.ts'
import { loadText } from './kit.ts'

const policy = (mode: string, more = '') => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: own, namespace: default }
spec: { ${more} mtls: { mode: ${mode} } }
`

const rows: readonly (readonly [
  what: string,
  yaml: string,
  source: 'none' | 'dev-ca',
  protocol: 'http' | 'tcp',
  chains: readonly string[],
])[] = [
  ['no policy, no identity', '', 'none', 'http', ['default plaintext']],
  ['no policy', '', 'dev-ca', 'http', ['default http mtls', 'default http plaintext']],
  ['bytes', '', 'dev-ca', 'tcp', ['default tcp mtls', "default tcp application's tls", 'default tcp plaintext']],
  ['STRICT', policy('STRICT'), 'dev-ca', 'http', ['default http mtls']],
  ['STRICT without identity lets nobody in', policy('STRICT'), 'none', 'http', ['default http mtls']],
  ['DISABLE', policy('DISABLE'), 'dev-ca', 'http', ['default plaintext']],
  [
    'of the application’s port',
    policy('STRICT', 'selector: { matchLabels: { app: web } }, portLevelMtls: { 9000: { mode: DISABLE } },'),
    'dev-ca',
    'http',
    ['default plaintext'],
  ],
]

for (const [what, yaml, source, protocol, expected] of rows) {
  t.test(what, async (t) => {
    const result = loadText(t, yaml, {
      identity: source,
      listeners: [{ name: 'in', direction: 'inbound', protocol, forwardTo: '127.0.0.1:9000' }],
    })
    const listener = result.snapshot.listeners.find((l) => l.name === 'in')
    t.same(chainsOf(listener), expected)
    for (const chain of listener?.filterChains ?? []) {
      const asks = chain.tls !== null
      t.equal(asks, chain.name.endsWith(' mtls'), chain.name)
      if (chain.tls !== null) t.match(chain.tls, { certificate: 'default', trust: 'ROOTCA', requireClientCertificate: true })
    }
  })
}

/** A chain that takes everything in plaintext is called `default` alone. */
function chainsOf(listener: Listener | undefined): string[] {
  return (listener?.filterChains ?? []).map((c) => (c.name === 'default' ? 'default plaintext' : c.name))
}

// PeerAuthentication objects: what is refused, and which of them hold for nobody.
import t from 'tap'
import { loadText, statusOf } from './kit.ts'

const peer = (spec: string, name = 'x', namespace = 'default', more = '') =>
  `---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: ${name}, namespace: ${namespace}${more}}\nspec: ${spec}\n`

t.test('refused, with the place and what to write', async (t) => {
  const rows: [spec: string, reason: RegExp][] = [
    [
      '{mtls: {mode: strict}}',
      /line 5:21: spec\.mtls\.mode: expected one of UNSET, DISABLE, PERMISSIVE, STRICT, found the text "strict"; did you mean `STRICT`/,
    ],
    ['{mtls: {mode: MUTUAL}}', /expected one of UNSET, DISABLE, PERMISSIVE, STRICT/],
    ['{mtl: {mode: STRICT}}', /unknown field `mtl`; did you mean `mtls`/],
    ['{mtls: {modes: STRICT}}', /unknown field `modes`; did you mean `mode`/],
    ['{selector: {matchLabel: {a: b}}}', /unknown field `matchLabel`; did you mean `matchLabels`/],
    [
      '{portLevelMtls: {80: {mode: STRICT}}}',
      /line 5:8: spec\.portLevelMtls: ports can be set for selected workloads only: add `selector\.matchLabels`/,
    ],
    ['{selector: {}, portLevelMtls: {80: {mode: STRICT}}}', /ports can be set for selected workloads only/],
    ['{selector: {matchLabels: {a: b}}, portLevelMtls: {}}', /expected at least one port/],
    ['{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: STRICT}}}', /from 1 to 65535, found `0`/],
    ['{selector: {matchLabels: {a: b}}, portLevelMtls: {65536: {mode: STRICT}}}', /from 1 to 65535, found `65536`/],
    ['{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: STRICT}}}', /from 1 to 65535, found `http`/],
    ['{selector: {matchLabels: {a: b}}, portLevelMtls: {80: STRICT}}', /portLevelMtls\["?80"?\]|portLevelMtls\.80/],
    ['{selector: {matchLabels: {a: "b*"}}}', /a selector has no wildcards, found `b\*`/],
    ['{selector: {matchLabels: {"a*": b}}}', /a selector has no wildcards, found `a\*`/],
  ]
  for (const [spec, reason] of rows) {
    const [status] = loadText(t, peer(spec)).statuses
    t.equal(status?.state, 'refused', spec)
    t.match(status?.reason, reason, spec)
  }
})

t.test('taken', async (t) => {
  for (const spec of [
    '{}',
    '{mtls: {}}',
    '{mtls: {mode: UNSET}}',
    '{mtls: {mode: STRICT}}',
    '{selector: {}, mtls: {mode: DISABLE}}',
    '{selector: {matchLabels: {app: a}}, portLevelMtls: {80: {mode: DISABLE}, 65535: {}}}',
  ])
    t.not(loadText(t, peer(spec)).statuses[0]?.state, 'refused', spec)
  const bare = 'apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: {name: x}\n'
  t.not(loadText(t, bare).statuses[0]?.state, 'refused', 'without a spec')
})

t.test('those that hold for nobody say so', async (t) => {
  const result = loadText(
    t,
    peer('{mtls: {mode: STRICT}}', 'mesh', 'istio-system', ', creationTimestamp: "2024-01-02T00:00:00Z"') +
      peer('{mtls: {mode: DISABLE}}', 'younger', 'istio-system', ', creationTimestamp: "2024-01-03T00:00:00Z"') +
      peer('{selector: {matchLabels: {app: a}}}', 'selecting', 'istio-system') +
      peer('{mtls: {mode: STRICT}}', 'a') +
      peer('{mtls: {mode: STRICT}}', 'b') +
      peer('{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}', 'c'),
  )
  t.equal(statusOf(result, 'younger').state, 'shadowed')
  t.match(statusOf(result, 'younger').reason, /PeerAuthentication istio-system\/mesh \(.*:2:1\), which is older: .* for the mesh/)
  t.match(statusOf(result, 'selecting').reason, /holds for no workload: in the root namespace `istio-system`/)
  t.equal(statusOf(result, 'b').state, 'shadowed')
  t.match(statusOf(result, 'b').reason, /PeerAuthentication default\/a .* for namespace `default`/)
  for (const name of ['mesh', 'a', 'c']) t.not(statusOf(result, name).state, 'shadowed', name)
})

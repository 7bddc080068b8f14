// Conditions of VirtualServices on claims of a verified token (`@request.auth.claims`): what they become, what is refused, and where nobody verifies a token.
// Expected values are those of istiod (pkg/jwt ToRoutingClaim, translateMetadataMatch).
import t from 'tap'
import type { LoadResult } from '../../../lib/resources/load.ts'
import type { MetadataMatch, ValueMatch } from '../../../lib/state/route.ts'
import { gateway, service, virtualService, yaml } from '../../support/mesh.ts'
import { loadText, statusOf, type View } from './kit.ts'

const AT_GATEWAY: View = { role: 'gateway', labels: { istio: 'ingress' }, listeners: [] }
const MESH: View = { listeners: [{ direction: 'outbound' }] }

const TOKENS = {
  apiVersion: 'security.istio.io/v1',
  kind: 'RequestAuthentication',
  metadata: { name: 'tokens', namespace: 'default' },
  spec: { jwtRules: [{ issuer: 'me', jwks: '{"keys":[]}' }] },
}

interface World {
  readonly view?: View
  readonly tokens?: boolean
  readonly gateways?: readonly string[]
}

/** Two rules for shop.test: the first with this match. */
function load(match: object, { view = AT_GATEWAY, tokens = true, gateways = ['edge'] }: World = {}): LoadResult {
  const to = { route: [{ destination: { host: 'web' } }] }
  const text = yaml(
    service({ host: 'web', endpoints: [{ address: '127.0.0.1:9000' }] }),
    gateway('edge', [{ port: { number: 80, name: 'http', protocol: 'HTTP' }, hosts: ['*'] }]),
    virtualService('shop', ['shop.test'], [{ match: [match], ...to }, to], { gateways }),
    ...(tokens ? [TOKENS] : []),
  )
  return loadText(t, text, view)
}

function routesOf(match: object): readonly (readonly MetadataMatch[])[] {
  const { snapshot } = load(match)
  const host = snapshot.routeTables.flatMap((r) => r.virtualHosts).find((v) => v.domains.includes('shop.test'))
  return (host?.routes ?? []).map((r) => r.match.metadata)
}

/** A text that fits, or a list with one. */
const either = (kind: 'exact' | 'prefix' | 'regex', value: string): ValueMatch => {
  const text: ValueMatch = { kind: 'text', match: { kind, value, ignoreCase: false } }
  return { kind: 'or', of: [{ kind: 'element', of: text }, text] }
}

t.test('names and values', async (t) => {
  const rows: readonly (readonly [name: string, match: object, path: readonly string[], value: ValueMatch])[] = [
    ['@request.auth.claims.group', { exact: 'a' }, ['group'], either('exact', 'a')],
    ['@request.auth.claims.a.b', { prefix: 'x' }, ['a', 'b'], either('prefix', 'x')],
    ['@request.auth.claims[group]', { regex: 'a.*' }, ['group'], either('regex', 'a.*')],
    ['@request.auth.claims[a][b]', { exact: '' }, ['a', 'b'], either('exact', '')],
    ['@request.auth.claims[https://a.example/r]', { exact: 'a' }, ['https://a.example/r'], either('exact', 'a')],
    ['@Request.AUTH.claims.Group', { exact: 'a' }, ['Group'], either('exact', 'a')],
    ['@request.auth.claims[a]', {}, ['a'], { kind: 'present', value: true }],
  ]
  for (const [name, match, path, value] of rows)
    for (const [list, invert] of [
      ['headers', false],
      ['withoutHeaders', true],
    ] as const) {
      const wanted = { filter: 'envoy.filters.http.jwt_authn', path: ['payload', ...path], value, invert }
      t.same(routesOf({ [list]: { [name]: match } }), [[{ ...wanted, field: `${list}[${name}]` }], []], `${list} ${name}`)
    }
})

t.test('beside headers, and asked last', async (t) => {
  const { snapshot } = load({ headers: { 'x-b': { exact: '1' }, '@request.auth.claims.a': { exact: '2' }, 'x-a': {} } })
  const [route] = snapshot.routeTables.flatMap((r) => r.virtualHosts).find((v) => v.domains.includes('shop.test'))!.routes
  t.same(
    route?.match.headers.map((h) => h.name),
    ['x-a', 'x-b'],
  )
  t.equal(route?.match.metadata.length, 1)
})

t.test('what names no claim is refused', async (t) => {
  for (const name of [
    '@request.auth.claims',
    '@request.auth.claims.',
    '@request.auth.claims[]',
    '@request.auth.claims.a..b',
    '@request.auth.claimsX',
  ])
    t.match(statusOf(load({ headers: { [name]: { exact: 'a' } } }), 'shop'), { state: 'refused', reason: /names no claim/ }, name)
  t.match(statusOf(load({ headers: { '@request.auth.principal': {} } }), 'shop'), { state: 'refused', reason: /no header name/ })
  t.match(statusOf(load({ headers: { '@request.auth.claims.a': { regex: '(' } } }), 'shop'), { state: 'refused', reason: /RE2/ })
})

t.test('where no token is verified before', async (t) => {
  const match = { headers: { '@request.auth.claims.a': { exact: 'b' } } }
  const without = { withoutHeaders: { '@request.auth.claims.a': { exact: 'b' } } }
  t.equal(statusOf(load(match), 'shop').state, 'in-force')
  t.match(statusOf(load(match, { tokens: false }), 'shop'), {
    state: 'partly',
    reason: /no RequestAuthentication holds for this gateway/,
  })
  const inMesh = { view: MESH, gateways: ['mesh'] }
  t.match(statusOf(load(match, inMesh), 'shop'), { state: 'partly', reason: /at gateways and waypoints only/ })
  t.match(statusOf(load(without, inMesh), 'shop'), { state: 'partly', reason: /at gateways and waypoints only/ })
  t.equal(statusOf(load({ ...match, gateways: ['edge'] }, { view: MESH, gateways: ['mesh', 'edge'] }), 'shop').state, 'in-force')
})

t.test('tokens choose routes at gateways and waypoints, and not in front of an application', async (t) => {
  const choosing = ({ snapshot }: LoadResult): boolean[] => {
    const chains = snapshot.listeners.flatMap((l) => l.filterChains)
    return chains.flatMap(({ network }) => (network.kind === 'http' && network.jwt !== null ? [network.jwt.choosesRoute] : []))
  }
  const chooses = (view: View) => choosing(load({}, { view }))
  t.same(chooses(AT_GATEWAY), [true])
  t.same(chooses({ listeners: [{ name: 'in', direction: 'inbound', forwardTo: '127.0.0.1:1' }] }), [false])
  const served = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default', labels: { 'istio.io/use-waypoint': 'waypoint' } },
  }
  const text = yaml(
    { ...served, spec: { clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }] } },
    { ...TOKENS, spec: { ...TOKENS.spec, targetRefs: [{ kind: 'Service', name: 'web' }] } },
  )
  t.same(choosing(loadText(t, text, { listeners: [], waypoint: {}, identity: 'files' })), [true])
})

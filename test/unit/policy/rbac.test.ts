// Authorization at the level of Envoy's RBAC: what fits, what is admitted, and who is named for it.
import fc from 'fast-check'
import t from 'tap'
import type { IpPrefix } from '../../../lib/base/ip-prefix.ts'
import type { JsonObject, JsonValue } from '../../../lib/base/json-value.ts'
import { Authorizer, authorizerFor, type RbacTrace } from '../../../lib/policy/rbac.ts'
import type { RbacFacts } from '../../../lib/policy/rbac-facts.ts'
import { compileMatch } from '../../../lib/policy/rbac-match.ts'
import { PEER_PRINCIPAL, type RbacFilter, type RbacMatch } from '../../../lib/state/rbac.ts'
import { JWT_METADATA, type ValueMatch } from '../../../lib/state/route.ts'
import { ANY, type Asked, aFilter, aPolicy, facts, headerOf, rules, text } from '../../support/rbac.ts'

const NEVER: RbacMatch = { kind: 'not', of: ANY }
const WEB = 'spiffe://cluster.local/ns/default/sa/web'

const path = (kind: 'exact' | 'prefix' | 'suffix' | 'regex', value: string): RbacMatch => ({
  kind: 'path',
  match: text(kind, value),
})
const template = (of: string): RbacMatch => ({ kind: 'pathTemplate', template: of })
const ip = (kind: 'destinationIp' | 'directRemoteIp' | 'remoteIp', cidr: string): RbacMatch => ({ kind, prefix: prefix(cidr) })
const port = (first: number, last = first): RbacMatch => ({ kind: 'destinationPort', first, last })
const peer = (kind: 'exact' | 'prefix' | 'suffix' | 'regex', value: string): RbacMatch => ({
  kind: 'authenticated',
  match: text(kind, value),
})
const claim = (name: string, value: ValueMatch, invert = false): RbacMatch => ({
  kind: 'metadata',
  filter: JWT_METADATA,
  path: ['payload', ...name.split('.')],
  value,
  invert,
})
const says = (kind: 'exact' | 'regex', value: string): ValueMatch => ({ kind: 'text', match: text(kind, value) })
const token = (claims: JsonObject): Asked => ({ metadata: { [JWT_METADATA]: { payload: claims } } })

function prefix(cidr: string): IpPrefix {
  const [address = '', length = ''] = cidr.split('/')
  return { address, length: Number(length) }
}

t.test('conditions', async (t) => {
  const rows: readonly (readonly [what: RbacMatch, of: Asked, fits: boolean])[] = [
    [ANY, {}, true],
    [NEVER, {}, false],
    [{ kind: 'and', of: [] }, {}, true],
    [{ kind: 'or', of: [] }, {}, false],
    [{ kind: 'and', of: [ANY, NEVER] }, {}, false],
    [{ kind: 'or', of: [NEVER, ANY] }, {}, true],
    [{ kind: 'not', of: { kind: 'or', of: [] } }, {}, true],
    // Paths.
    [path('exact', '/a'), { path: '/a' }, true],
    [path('exact', '/a'), { path: '/a/' }, false],
    [path('exact', '/a'), { path: '/A' }, false],
    [path('prefix', '/a'), { path: '/ab' }, true],
    [path('suffix', '/b'), { path: '/a/b' }, true],
    [path('suffix', '/b'), { path: '/a/b/' }, false],
    [path('regex', '.+'), { path: '/' }, true],
    [path('prefix', '/'), { method: 'CONNECT' }, false],
    [{ kind: 'not', of: path('prefix', '/') }, { method: 'CONNECT' }, true],
    [path('prefix', '/'), { tcp: true }, false],
    // Templates.
    [template('/tmpl/*/x'), { path: '/tmpl/a/x' }, true],
    [template('/tmpl/*/x'), { path: '/tmpl/a/b/x' }, false],
    [template('/tmpl/*/x'), { path: '/tmpl//x' }, false],
    [template('/tmpl/*/x'), { path: '/tmpl/a/xy' }, false],
    [template('/tmpl/*'), { path: '/tmpl/a%20b' }, true],
    [template('/tmpl/*'), { path: '/tmpl/a"b' }, false],
    [template('/tmpl/*'), { path: '/tmpl/*' }, true],
    [template('/tmpl/**'), { path: '/tmpl/*/a' }, true],
    [template('/*/*'), { path: '/a/b' }, true],
    [template('/*/*'), { path: '/a' }, false],
    [template('/any/**'), { path: '/any/' }, true],
    [template('/any/**'), { path: '/any' }, false],
    [template('/any/**'), { path: '/any/a/b/c' }, true],
    [template('/**/tail'), { path: '/a/b/tail' }, true],
    [template('/**/tail'), { path: '/tail' }, false],
    [template('/a/*/**'), { path: '/a/b/' }, true],
    [template('/a/*/**'), { path: '/a/b' }, false],
    // Headers.
    [headerOf(':method', text('exact', 'GET')), {}, true],
    [headerOf(':method', text('exact', 'get')), {}, false],
    [headerOf(':method', text('present')), {}, true],
    [headerOf(':authority', text('suffix', '.host.test', true)), { authority: 'A.HOST.test' }, true],
    [headerOf(':authority', text('suffix', '.host.test', true)), { authority: 'a.host.test:80' }, false],
    [headerOf('x-k', text('exact', 'v')), { headers: [['x-k', 'v']] }, true],
    [headerOf('x-k', text('exact', 'v')), { headers: [['x-k', 'V']] }, false],
    [headerOf('x-k', text('exact', 'v')), {}, false],
    [headerOf('x-k', text('present')), { headers: [['x-k', '']] }, true],
    [headerOf('x-k', text('present')), {}, false],
    [{ kind: 'not', of: headerOf('x-k', text('present')) }, {}, true],
    [headerOf('x-k', text('present'), { missingIsEmpty: true }), {}, true],
    [headerOf('x-k', text('present'), { invert: true, missingIsEmpty: true }), {}, false],
    // One line of several is enough.
    [
      headerOf('x-k', text('exact', 'v')),
      {
        headers: [
          ['x-k', 'z'],
          ['x-k', 'v'],
        ],
      },
      true,
    ],
    [headerOf('x-k', text('exact', 'v'), { invert: true }), {}, false],
    [headerOf('x-k', text('exact', 'v'), { invert: true, missingIsEmpty: true }), {}, true],
    [headerOf(':method', text('exact', 'GET')), { tcp: true }, false],
    // Addresses.
    [ip('directRemoteIp', '10.1.2.3/32'), {}, true],
    [ip('directRemoteIp', '10.1.0.0/16'), {}, true],
    [ip('directRemoteIp', '10.2.0.0/16'), {}, false],
    [ip('directRemoteIp', '0.0.0.0/0'), {}, true],
    [ip('directRemoteIp', '0.0.0.0/0'), { peer: 'fd00::1' }, false],
    [ip('directRemoteIp', 'fd00::/8'), { peer: 'fd00::1' }, true],
    [ip('directRemoteIp', '10.1.0.0/16'), { peer: '::ffff:10.1.2.3' }, true],
    [ip('directRemoteIp', '10.8.0.0/16'), { client: '10.8.0.1' }, false],
    [ip('remoteIp', '10.8.0.0/16'), { client: '10.8.0.1' }, true],
    [ip('remoteIp', '10.1.0.0/16'), { tcp: true }, true],
    [ip('destinationIp', '10.9.0.1/32'), {}, true],
    [ip('destinationIp', '10.9.0.2/32'), {}, false],
    [ip('destinationIp', '10.9.0.1/32'), { destination: '' }, false],
    [port(80), {}, true],
    [port(81), {}, false],
    [port(80, 90), { destination: '10.9.0.1:90' }, true],
    [port(80, 90), { destination: '10.9.0.1:91' }, false],
    [{ kind: 'requestedServerName', match: text('exact', 'a.test') }, { sni: 'a.test' }, true],
    [{ kind: 'requestedServerName', match: text('regex', '.+') }, {}, false],
    // Identities.
    [peer('exact', WEB), { names: [WEB] }, true],
    [peer('exact', WEB), { names: [`${WEB}2`] }, false],
    [peer('exact', WEB), {}, false],
    [peer('exact', WEB), { names: ['spiffe://td/other', WEB, 'CN=web'] }, true],
    [peer('regex', '.+'), { names: [] }, false],
    [peer('regex', '.+'), { names: [''] }, false],
    [peer('regex', '.+'), { names: [WEB] }, true],
    [peer('regex', '.*/ns/default/.*'), { names: [WEB] }, true],
    [peer('regex', '.*/ns/def/.*'), { names: [WEB] }, false],
    [peer('regex', '.*/ns/def.*/.*'), { names: [WEB] }, true],
    [{ kind: 'not', of: peer('exact', WEB) }, {}, true],
    [{ kind: 'authenticated', match: null }, { names: [] }, true],
    [{ kind: 'authenticated', match: null }, {}, false],
    [{ kind: 'filterState', key: PEER_PRINCIPAL, match: text('exact', WEB) }, { state: { [PEER_PRINCIPAL]: WEB } }, true],
    [{ kind: 'filterState', key: PEER_PRINCIPAL, match: text('exact', WEB) }, { names: [WEB] }, false],
    [{ kind: 'filterState', key: 'other', match: text('exact', WEB) }, { state: { [PEER_PRINCIPAL]: WEB } }, false],
    // Claims.
    [claim('iss', says('exact', 'me')), token({ iss: 'me' }), true],
    [claim('iss', says('exact', 'me')), token({ iss: 'you' }), false],
    [claim('iss', says('exact', 'me')), {}, false],
    [claim('iss', says('exact', 'me'), true), {}, true],
    [claim('iss', says('regex', '.+')), token({ iss: '' }), false],
    [claim('a.b', says('exact', 'c')), token({ a: { b: 'c' } }), true],
    [claim('a.b', says('exact', 'c')), token({ a: 'b' }), false],
    [claim('toString', { kind: 'present', value: true }), token({}), false],
    [claim('a', { kind: 'present', value: true }), token({ a: null }), true],
    [claim('a', { kind: 'present', value: false }), token({}), false],
    [claim('a', { kind: 'null' }), token({ a: null }), true],
    [claim('a', { kind: 'bool', value: false }), token({ a: false }), true],
    [claim('a', { kind: 'bool', value: false }), token({}), false],
    [claim('a', { kind: 'number', first: 1, end: 1 }), token({ a: 1 }), true],
    [claim('a', { kind: 'number', first: 1, end: 3 }), token({ a: 3 }), false],
    [claim('g', { kind: 'element', of: says('exact', 'x') }), token({ g: ['y', 'x'] }), true],
    [claim('g', { kind: 'element', of: says('exact', 'x') }), token({ g: 'x' }), false],
    [claim('g', { kind: 'or', of: [{ kind: 'element', of: says('exact', 'x') }, says('exact', 'x')] }), token({ g: 'x' }), true],
  ]
  for (const [what, of, fits] of rows)
    t.equal(compileMatch(what).holds(facts(of)), fits, `${JSON.stringify(what)} of ${JSON.stringify(of)}`)
})

t.test('decisions', async (t) => {
  const a = aPolicy('a', [path('exact', '/a')])
  const none = 'rbac_access_denied_matched_policy[none]'
  const rows: readonly (readonly [what: string, filters: readonly RbacFilter[], asked: Asked, details: string])[] = [
    ['no rules are no rules', [aFilter(null)], {}, ''],
    ['an ALLOW without policies refuses all', [aFilter(rules('ALLOW'))], {}, none],
    ['a policy without permissions never fits', [aFilter(rules('ALLOW', aPolicy('x', [])))], {}, none],
    ['a policy without principals never fits', [aFilter(rules('ALLOW', aPolicy('x', [ANY], [])))], {}, none],
    ['an ALLOW that fits', [aFilter(rules('ALLOW', a))], { path: '/a' }, ''],
    ['an ALLOW that does not', [aFilter(rules('ALLOW', a))], { path: '/b' }, none],
    ['a DENY without policies refuses nothing', [aFilter(rules('DENY'))], {}, ''],
    ['a DENY that fits', [aFilter(rules('DENY', a))], { path: '/a' }, 'rbac_access_denied_matched_policy[a]'],
    ['a DENY that does not', [aFilter(rules('DENY', a))], { path: '/b' }, ''],
    ['a LOG refuses nothing', [aFilter(rules('LOG', a))], { path: '/a' }, ''],
    ['blanks are none', [aFilter(rules('DENY', aPolicy('a b\tc')))], {}, 'rbac_access_denied_matched_policy[a_b_c]'],
    [
      'a DENY wins over an ALLOW',
      [aFilter(rules('DENY', a)), aFilter(rules('ALLOW', aPolicy('all')))],
      { path: '/a' },
      'rbac_access_denied_matched_policy[a]',
    ],
    ['every ALLOW must let pass', [aFilter(rules('ALLOW', aPolicy('all'))), aFilter(rules('ALLOW', a))], { path: '/b' }, none],
    ['a dry run refuses nothing', [aFilter(null, rules('DENY', aPolicy('all')))], {}, ''],
    ['a dry run beside what is enforced', [aFilter(rules('ALLOW', a), rules('ALLOW', aPolicy('all')))], { path: '/b' }, none],
    ['a principal that does not fit', [aFilter(rules('ALLOW', aPolicy('a', [ANY], [peer('exact', WEB)])))], {}, none],
  ]
  for (const [what, filters, asked, details] of rows) {
    const authorizer = new Authorizer(filters)
    const admitted = authorizer.admits(facts(asked), { asked: () => {} })
    t.equal(admitted ? '' : authorizer.details, details, what)
  }
})

t.test('what is told of it', async (t) => {
  const a = aPolicy('a', [path('exact', '/a')])
  const told: (readonly [filter: number, shadow: boolean, said: number, policy: number])[] = []
  const trace: RbacTrace = { asked: (...step) => told.push(step) }
  const authorizer = new Authorizer([
    aFilter(rules('LOG', a)),
    aFilter(null, rules('DENY', a)),
    aFilter(rules('DENY', aPolicy('x', [NEVER])), null),
    aFilter(rules('ALLOW', aPolicy('x', [NEVER]), a), rules('ALLOW')),
    aFilter(rules('ALLOW', a)),
  ])
  t.equal(authorizer.admits(facts({ path: '/a' }), trace), true)
  t.same(told, [
    [0, false, 4, 0],
    [1, true, 2, 0],
    [2, false, 1, -1],
    [3, true, 3, -1],
    [3, false, 0, 1],
    [4, false, 0, 0],
  ])
  t.same([authorizer.hasShadow, authorizer.shadowAllowed, authorizer.shadowDenied], [true, 0, 2])
  told.length = 0
  t.equal(authorizer.admits(facts({ path: '/b' }), trace), false)
  t.same(told.at(-1), [3, false, 3, -1], 'nobody behind it is asked')
})

t.test('the same filters give the same authorizer, none gives none', async (t) => {
  const filters = [aFilter(rules('ALLOW'))]
  t.equal(authorizerFor([]), null)
  t.equal(authorizerFor(filters), authorizerFor(filters))
  t.not(authorizerFor([aFilter(rules('ALLOW'))]), authorizerFor(filters))
})

/** The nouns as their comments have them, without any compiling. */
function plainly(m: RbacMatch, f: RbacFacts): boolean {
  switch (m.kind) {
    case 'any':
      return true
    case 'and':
      return m.of.every((part) => plainly(part, f))
    case 'or':
      return m.of.some((part) => plainly(part, f))
    case 'not':
      return !plainly(m.of, f)
    case 'path':
      return f.path !== null && textFits(m.match.kind, m.match.value, f.path)
    case 'header': {
      const values = m.header.name === ':method' ? [f.request?.method ?? ''] : (f.request?.headers.get(m.header.name) ?? null)
      const list = values === null ? [] : typeof values === 'string' ? [values] : values
      return f.request !== null && list.some((v) => textFits(m.header.match.kind, m.header.match.value, v))
    }
    case 'destinationPort':
      return m.first <= f.destinationPort && f.destinationPort <= m.last
    case 'authenticated':
      return f.peerNames?.some((n) => m.match === null || textFits(m.match.kind, m.match.value, n)) ?? false
    case 'metadata': {
      const at = m.path.reduce<JsonValue | undefined>(
        (v, name) => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as JsonObject)[name] : undefined),
        f.metadata(m.filter) ?? undefined,
      )
      return (
        (m.value.kind === 'text' && typeof at === 'string' && textFits(m.value.match.kind, m.value.match.value, at)) !== m.invert
      )
    }
    default:
      throw new Error(m.kind)
  }
}

function textFits(kind: string, value: string, seen: string): boolean {
  if (kind === 'present') return true
  if (kind === 'regex') return new RegExp(`^(?:${value})$`).test(seen)
  return kind === 'exact' ? seen === value : kind === 'prefix' ? seen.startsWith(value) : seen.endsWith(value)
}

t.test('compiled, they mean what they mean one by one', async (t) => {
  const word = fc.constantFrom('', 'a', 'b', 'ab', '/a', '/b', '/ab')
  const match = fc.record({
    kind: fc.constantFrom('exact', 'prefix', 'suffix', 'regex' as const),
    value: fc.constantFrom('a', 'b', '/a', '.+', '.*a.*', '/.*'),
    ignoreCase: fc.constant(false),
  }) as fc.Arbitrary<ReturnType<typeof text>>
  const leaf = fc.oneof(
    fc.constant<RbacMatch>(ANY),
    match.map<RbacMatch>((m) => ({ kind: 'path', match: m })),
    match.map<RbacMatch>((m) => headerOf('x-k', m)),
    fc.constantFrom('GET', 'PUT').map<RbacMatch>((m) => headerOf(':method', text('exact', m))),
    fc.constantFrom(80, 81).map<RbacMatch>((p) => port(p)),
    match.map<RbacMatch>((m) => ({ kind: 'authenticated', match: m })),
    fc.tuple(match, fc.boolean()).map<RbacMatch>(([m, invert]) => claim('c', { kind: 'text', match: m }, invert)),
  )
  const { tree } = fc.letrec<{ tree: RbacMatch }>((tie) => ({
    tree: fc.oneof(
      { depthSize: 'medium', withCrossShrink: true },
      leaf,
      fc.array(tie('tree'), { maxLength: 3 }).map<RbacMatch>((of) => ({ kind: 'and', of })),
      fc.array(tie('tree'), { maxLength: 3 }).map<RbacMatch>((of) => ({ kind: 'or', of })),
      tie('tree').map<RbacMatch>((of) => ({ kind: 'not', of })),
    ),
  }))
  const asked = fc.record({
    tcp: fc.boolean(),
    method: fc.constantFrom('GET', 'PUT', 'CONNECT'),
    path: word,
    headers: fc.array(
      word.map((v) => ['x-k', v] as const),
      { maxLength: 1 },
    ),
    names: fc.option(fc.array(word, { maxLength: 2 })),
    destination: fc.constantFrom('10.9.0.1:80', '10.9.0.1:81'),
    metadata: fc.option(word, { nil: undefined }).map((c) => (c === undefined ? {} : { [JWT_METADATA]: { payload: { c } } })),
  })
  fc.assert(
    fc.property(tree, asked, (m, of) => {
      const f = facts(of)
      return compileMatch(m).holds(f) === plainly(m, f)
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

import fc from 'fast-check'
import t from 'tap'
import { FITS } from '../../../lib/route/compiled-route.ts'
import type { EditContext } from '../../../lib/route/header-operators.ts'
import type { Route, RouteMatch } from '../../../lib/state/route.ts'
import { header, path, query, route, str, Tried, table, view, virtualHost, without, world } from './world.ts'

type Headers = readonly (readonly [string, string])[]
type Over = Parameters<typeof view>[1]

const NO_FACTS = { draw: 0, context: null }

function hostWith(routes: readonly Route[]) {
  const host = world([table(80, [virtualHost('v', ['*'], routes)])]).byPort.get(80)?.virtualHosts[0]
  if (host === undefined) throw new Error('no virtual host')
  return host
}

/** Number of the failed condition of a single route; -1 when it fits. */
function failed(match: Partial<RouteMatch>, target: string, over: Over = {}): number {
  const only = hostWith([route('r', match)]).routes[0]
  if (only === undefined) throw new Error('no route')
  return only.failedCondition(view(target, over), NO_FACTS)
}

t.test('path', async (t) => {
  const rows: [
    kind: 'exact' | 'prefix' | 'pathPrefix' | 'regex',
    value: string,
    ignoreCase: boolean,
    target: string,
    fits: boolean,
  ][] = [
    ['prefix', '/foo', false, '/foo', true],
    ['prefix', '/foo', false, '/foobar', true],
    ['prefix', '/foo', false, '/foo/x', true],
    ['prefix', '/foo', false, '/Foo', false],
    ['prefix', '/foo', false, '/fo', false],
    ['prefix', '/bar/', false, '/bar', false],
    ['prefix', '/bar/', false, '/bar/', true],
    ['exact', '/exact', false, '/exact', true],
    ['exact', '/exact', false, '/exact/', false],
    ['exact', '/exact', false, '/exact?x=1', true],
    ['exact', '/eq?x=1', false, '/eq?x=1', false],
    ['regex', '/re[0-9]+', false, '/re12', true],
    ['regex', '/re[0-9]+', false, '/re12/x', false],
    ['regex', '/re[0-9]+', false, '/re12?z', true],
    ['regex', '/ra|/rb', false, '/rax', false],
    ['exact', '/IcE', true, '/ice', true],
    ['exact', '/IcE', true, '/ICE', true],
    ['exact', '/IcE', true, '/icex', false],
    ['prefix', '/IcP', true, '/icpx', true],
    ['regex', '/IcR', true, '/icr', false],
    ['regex', '/IcR', true, '/IcR', true],
    ['pathPrefix', '/abc', false, '/abc', true],
    ['pathPrefix', '/abc', false, '/abc/', true],
    ['pathPrefix', '/abc', false, '/abc/d', true],
    ['pathPrefix', '/abc', false, '/abcd', false],
    ['pathPrefix', '/abc/', false, '/abc', true],
    ['pathPrefix', '/abc/', false, '/abc/d', true],
    ['pathPrefix', '/', false, '/anything', true],
    ['regex', '(', false, '/x', false],
  ]
  for (const [kind, value, ignoreCase, target, fits] of rows) {
    t.equal(failed(path(kind, value, ignoreCase), target), fits ? FITS : 0, `${kind} ${value} on ${target}`)
  }
  t.equal(failed({}, '/anything'), FITS, 'no condition')
})

t.test('headers', async (t) => {
  const one: Headers = [['x-h', 'one']]
  const empty: Headers = [['x-h', '']]
  const two: Headers = [
    ['x-h', 'one'],
    ['x-h', 'two'],
  ]
  const twice = (name: string, first: string, second: string): Headers => [
    [name, first],
    [name, second],
  ]
  const rows: [what: ReturnType<typeof header>, headers: Headers, fits: boolean][] = [
    [header('x-h', str('exact', 'one')), one, true],
    [header('x-h', str('exact', 'one')), [], false],
    [header('x-h', str('exact', 'one')), [['x-h', 'ONE']], false],
    [header('x-h', str('exact', 'one', true)), [['x-h', 'ONE']], true],
    [header('x-h', str('prefix', 'one')), [['x-h', 'onetwo']], true],
    [header('x-h', str('prefix', 'ONE', true)), [['x-h', 'onetwo']], true],
    [header('x-h', str('suffix', 'two')), [['x-h', 'onetwo']], true],
    [header('x-h', str('suffix', 'TWO', true)), [['x-h', 'onetwo']], true],
    [header('x-h', str('contains', 'et')), [['x-h', 'onetwo']], true],
    [header('x-h', str('contains', 'ET', true)), [['x-h', 'onetwo']], true],
    [header('x-h', str('contains', 'xx')), [['x-h', 'onetwo']], false],
    [header('x-h', str('regex', 'o.e')), one, true],
    [header('x-h', str('regex', 'o.e')), [['x-h', 'xone']], false],
    [header('x-h', str('present')), [], false],
    [header('x-h', str('present')), empty, true],
    [header('x-h', str('regex', '.+')), empty, false],
    [header('x-h', str('regex', '.*')), [], false],
    [header('x-h', str('regex', '.*')), empty, true],
    [header('x-h', str('exact', '')), [], false],
    [header('x-h', str('exact', '')), empty, true],
    [header('x-h', str('exact', '')), one, false],
    // Repeated: each value by itself.
    [header('x-h', str('exact', 'one')), two, true],
    [header('x-h', str('exact', 'two')), two, true],
    [header('x-h', str('exact', 'one,two')), two, false],
    [header('x-h', str('exact', 'one,two')), [['x-h', 'one,two']], true],
    [header('x-h', str('prefix', 'tw')), two, true],
    [header('x-h', str('regex', 'one.*two')), two, false],
    [without('x-h', str('exact', 'two')), two, false],
    [without('x-h', str('exact', 'three')), two, true],
    // A request has one user-agent: as one text, without those that are empty.
    [header('user-agent', str('exact', 'one')), twice('user-agent', 'one', 'two'), false],
    [header('user-agent', str('exact', 'one,two')), twice('user-agent', 'one', 'two'), true],
    [without('user-agent', str('exact', 'one')), twice('user-agent', 'one', 'two'), true],
    [header('content-type', str('exact', 'one')), twice('content-type', '', 'one'), true],
    [header('authorization', str('exact', 'one')), twice('authorization', 'one', ''), true],
    [header('user-agent', str('present')), twice('user-agent', '', ''), true],
    // The empty one is there.
    [{ ...header('x-h', str('present')), missingIsEmpty: true }, [], true],
    [{ ...without('x-h', str('present')), missingIsEmpty: true }, [], false],
    // withoutHeaders.
    [without('x-h', str('present')), [], true],
    [without('x-h', str('present')), one, false],
    [without('x-h', str('present')), empty, false],
    [without('x-h', str('exact', 'a')), [], true],
    [without('x-h', str('exact', 'a')), [['x-h', 'a']], false],
    [without('x-h', str('exact', 'a')), [['x-h', 'b']], true],
    [without('x-h', str('exact', 'a')), empty, true],
    [without('x-h', str('regex', '.+')), [], true],
    [without('x-h', str('regex', '.+')), one, false],
    [without('x-h', str('regex', '.+')), empty, true],
    [without('x-h', str('regex', '.*')), [], false],
    [without('x-h', str('regex', '.*')), one, false],
    [without('x-h', str('prefix', 'a')), [['x-h', 'b']], true],
    // Without "missing counts as empty" a missing header fits no value, inverted or not.
    [{ ...without('x-h', str('exact', 'a')), missingIsEmpty: false }, [], false],
  ]
  for (const [what, headers, fits] of rows) {
    const name = `${what.field} ${what.match.kind} ${what.match.value} on ${JSON.stringify(headers)}`
    t.equal(failed({ headers: [what] }, '/', { headers }), fits ? FITS : 1, name)
  }
})

t.test('pseudo-headers', async (t) => {
  const rows: [name: string, value: string, over: Over, fits: boolean][] = [
    [':method', 'PUT', { method: 'PUT' }, true],
    [':method', 'PUT', { method: 'GET' }, false],
    [':method', 'get', { method: 'GET' }, false],
    ['method', 'PUT', { method: 'PUT' }, false],
    ['method', 'PUT', { headers: [['method', 'PUT']] }, true],
    [':scheme', 'http', { scheme: 'https' }, false],
    [':scheme', 'https', { scheme: 'https' }, true],
    [':authority', 'a:9080', { authority: 'a:9080' }, true],
    [':authority', 'a', { authority: 'a:9080' }, false],
    [':authority', 'a', { authority: 'A' }, false],
    ['host', 'a:9080', { authority: 'a:9080' }, true],
    [':path', '/p?q=1', {}, true],
    ['uri', '/p', {}, false],
  ]
  for (const [name, value, over, fits] of rows) {
    t.equal(failed({ headers: [header(name, str('exact', value))] }, '/p?q=1', over), fits ? FITS : 1, `${name} ${value}`)
  }
  t.equal(failed({ headers: [without(':method', str('exact', 'GET'))] }, '/'), 1)
})

t.test('query parameters', async (t) => {
  const k = (match: ReturnType<typeof str>) => ({ query: [query('k', match)] })
  const rows: [match: ReturnType<typeof str>, target: string, fits: boolean][] = [
    [str('exact', 'v'), '/q?k=v', true],
    [str('exact', 'v'), '/q?K=v', false],
    [str('exact', 'v'), '/q?k=x&k=v', false],
    [str('exact', 'v'), '/q?k=v&k=x', true],
    [str('exact', 'v'), '/q?a=1&k=v', true],
    [str('exact', 'v'), '/q?ak=v', false],
    [str('exact', 'v'), '/q?kk=v&k=v', true],
    [str('exact', ''), '/q', false],
    [str('exact', ''), '/q?', false],
    [str('exact', ''), '/q?k', true],
    [str('exact', ''), '/q?k=', true],
    [str('exact', ''), '/q?a&k&b', true],
    [str('exact', ''), '/q?k=v', false],
    [str('present'), '/q', false],
    [str('present'), '/q?k', true],
    [str('present'), '/q?k=1', true],
    [str('regex', 'v[0-9]'), '/q?k=v1', true],
    [str('regex', 'v[0-9]'), '/q?k=v12', false],
    [str('exact', 'a b'), '/q?k=a%20b', false],
    [str('exact', 'a b'), '/q?k=a+b', false],
    [str('exact', 'a+b'), '/q?k=a+b', true],
    [str('exact', 'a%20b'), '/q?k=a%20b', true],
    [str('prefix', 'v'), '/q?k=vvv', true],
    [str('exact', 'v'), '/q?%6B=v', false],
    [str('exact', 'v'), '/q?k=%76', false],
    [str('exact', 'a=b'), '/q?k=a=b', true],
  ]
  for (const [match, target, fits] of rows)
    t.equal(failed(k(match), target), fits ? FITS : 1, `${match.kind} ${match.value} on ${target}`)
})

t.test('conditions are numbered: path, headers, query', async (t) => {
  const match = {
    ...path('prefix', '/p'),
    headers: [header('x-a', str('exact', '1')), header('x-b', str('exact', '2'))],
    query: [query('q', str('exact', '3')), query('r', str('exact', '4'))],
  }
  const a = ['x-a', '1'] as const
  const b = ['x-b', '2'] as const
  const rows: [target: string, headers: Headers, expected: number][] = [
    ['/x', [], 0],
    ['/p', [], 1],
    ['/p', [a], 2],
    ['/p', [a, b], 3],
    ['/p?q=3', [a, b], 4],
    ['/p?q=3&r=4', [a, b], FITS],
  ]
  for (const [target, headers, expected] of rows) t.equal(failed(match, target, { headers }), expected, target)
})

t.test('the first route that fits wins, and what failed beside the path is told', async (t) => {
  const host = hostWith([
    route('canary', { ...path('prefix', '/'), headers: [header('x-v', str('exact', '2'))] }),
    route('x', path('prefix', '/x')),
    route('all'),
    route('never', path('prefix', '/y')),
  ])
  const rows: [target: string, headers: Headers, name: string, told: string[]][] = [
    ['/x', [['x-v', '2']], 'canary', []],
    ['/x', [], 'x', ['0:1']],
    ['/y', [], 'all', ['0:1']],
  ]
  for (const [target, headers, name, told] of rows) {
    const tried = new Tried()
    t.equal(host.match(view(target, { headers }), NO_FACTS, tried)?.config.name, name, target)
    t.strictSame(tried.list, told)
  }
  t.equal(hostWith([route('x', path('prefix', '/x'))]).match(view('/y'), NO_FACTS, new Tried()), null)
})

t.test('with many routes the index finds what trying them one by one finds', async () => {
  const word = fc.constantFrom('', '/', '/a', '/ab', '/abc', '/abc/', '/b', '/b/c', '/b/cd', '/~', '/B')
  const someRoute = fc
    .record({
      kind: fc.constantFrom('exact', 'prefix', 'pathPrefix', 'regex', 'any'),
      value: fc.tuple(word, word).map(([x, y]) => x + y || '/'),
      ignoreCase: fc.boolean(),
      canary: fc.boolean(),
    })
    .map(({ kind, value, ignoreCase, canary }) => ({
      ...(kind === 'any' ? {} : path(kind as 'exact', value, ignoreCase)),
      headers: canary ? [header('x-v', str('exact', '2'))] : [],
    }))
  fc.assert(
    fc.property(
      fc.array(someRoute, { minLength: 12, maxLength: 40 }),
      fc.tuple(word, word, word).map((w) => w.join('') || '/'),
      fc.boolean(),
      (matches, target, canary) => {
        const host = hostWith(matches.map((m, i) => route(String(i), m)))
        const request = view(target, { headers: canary ? [['x-v', '2']] : [] })
        const expected = host.routes.find((r) => r.failedCondition(request, NO_FACTS) === FITS) ?? null
        const expectedTold = host.routes
          .slice(0, expected?.index ?? host.routes.length)
          .filter((r) => r.failedCondition(request, NO_FACTS) > 0)
          .map((r) => `${r.index}:${r.failedCondition(request, NO_FACTS)}`)
        const tried = new Tried()
        return host.match(request, NO_FACTS, tried) === expected && tried.list.join() === expectedTold.join()
      },
    ),
    { numRuns: 1000 },
  )
})

t.test('a share of requests, and those with a certificate', async (t) => {
  const share = { part: 25, of: 100 }
  const only = (match: Partial<RouteMatch>) => hostWith([route('r', match)]).routes[0]!
  const rows: readonly (readonly [draw: number, fits: boolean])[] = [
    [0, true],
    [24, true],
    [25, false],
    [99, false],
    [124, true],
    [0xffff_ffff, false],
  ]
  for (const [draw, fits] of rows)
    t.equal(only({ share }).failedCondition(view('/'), { draw, context: null }), fits ? FITS : 1, String(draw))
  const { path: onX } = path('prefix', '/x')
  t.equal(
    only({ share, path: onX ?? null }).failedCondition(view('/y'), { draw: 0, context: null }),
    0,
    'the path is asked first',
  )
  const withCertificate = {
    downstreamTls: { peerCertificate: { facts: null, pem: '', fingerprint: () => '' } },
  } as unknown as EditContext
  const withTls = { downstreamTls: { peerCertificate: null } } as unknown as EditContext
  for (const [certificate, context, fits] of [
    [true, withCertificate, true],
    [true, withTls, false],
    [true, null, false],
    [false, withCertificate, false],
    [false, withTls, true],
    [null, null, true],
  ] as const)
    t.equal(only({ certificate }).failedCondition(view('/'), { draw: 0, context }), fits ? FITS : 2)
})

// What the hash of a request is made of (Envoy HashPolicyImpl). The answers of Envoy 1.40 are endpoints 127.0.9.N:8080 of a ring of 1024.
import t from 'tap'
import { XxHash64 } from '../../../lib/base/xx-hash64.ts'
import { createBalancer } from '../../../lib/cluster/lb/create.ts'
import { Host } from '../../../lib/cluster/lb/host.ts'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import type { CompiledRoute, CompiledWeighted } from '../../../lib/route/compiled-route.ts'
import { cookieIn, cookieTail } from '../../../lib/route/cookie.ts'
import type { EditContext } from '../../../lib/route/header-operators.ts'
import { SourceIpHash } from '../../../lib/route/source-ip-hash.ts'
import type { HashPolicy, Route } from '../../../lib/state/route.ts'
import { endpoint, forward, path, route, table, view, virtualHost, weighted, world } from './world.ts'

type Fields = readonly (readonly [string, string])[]

const ring = createBalancer({ kind: 'RING_HASH', minimumRingSize: 1024, maximumRingSize: 8_388_608 }).update(
  [1, 2, 3, 4, 5].map((n) => new Host(n, endpoint(`127.0.9.${n}`, 8080))),
  0,
)
const hash = new XxHash64()

const header = (name: string): HashPolicy => ({ kind: 'header', name })
const query = (name: string): HashPolicy => ({ kind: 'query', name })
const cookie = (name: string, ttlSeconds = -1): HashPolicy => ({ kind: 'cookie', name, path: '', ttlSeconds, attributes: [] })

interface Asked {
  readonly target?: string
  readonly headers?: Fields
  readonly peer?: string
  readonly over?: Partial<Route>
}

function compute(policies: readonly HashPolicy[], asked: Asked = {}) {
  const config: Route = { ...route('r', path('prefix', '/'), forward({ hashPolicies: policies })), ...asked.over }
  const tables = world([table(80, [virtualHost('v', ['*'], [config])])])
  const compiled = tables.list[0]?.virtualHosts[0]?.routes[0] as CompiledRoute
  const request = view(asked.target ?? '/', { headers: asked.headers ?? [], authority: 'Foo.example:80' })
  const context =
    asked.peer === undefined
      ? null
      : ({
          downstreamRemoteAddress: asked.peer,
          downstreamLocalAddress: '127.0.8.1:9016',
          requestHeaders: request.headers,
        } as EditContext)
  const pick = new PickContext()
  const routeHash = compiled.hash!
  routeHash.compute({ request, context }, compiled, compiled.weighted[0] as CompiledWeighted, pick)
  return { pick, routeHash, endpoint: pick.hashed ? (ring.pick(pick)?.id ?? 0) : 0 }
}

/** The endpoint for the hash of a text. */
function endpointOf(text: string): number {
  hash.hash(text)
  return ring.pick(Object.assign(new PickContext(), { hashed: true, hashHigh: hash.high, hashLow: hash.low }))?.id ?? 0
}

t.test('a header: several values are sorted and combined', async (t) => {
  const rows: [values: readonly string[], envoy: number][] = [
    [['u1'], 2],
    [[''], 4],
    [['a', 'b'], 5],
    [['b', 'a'], 5],
    [['a', 'b', 'c'], 4],
    [['c', 'a', 'b'], 4],
    [['a', 'a'], 5],
    [['', 'a'], 3],
    [['B', 'a'], 2],
    [['a, b'], 2],
    [[], 0],
  ]
  for (const [values, envoy] of rows) {
    const found = compute([header('X-Key')], { headers: values.map((v) => ['x-key', v]) })
    t.equal(found.endpoint, envoy, JSON.stringify(values))
    t.equal(found.routeHash.used, values.length === 0 ? 0 : 1)
  }
})

t.test('a query parameter: the first of that name, nothing decoded, case counts', async (t) => {
  const rows: [target: string, envoy: number][] = [
    ['/?k=u1', 2],
    ['/?a=1&k=u1', 2],
    ['/?k=u1&k=u2', 2],
    ['/?&k=u1', 2],
    ['/?k', 4],
    ['/?k=', 4],
    ['/?k=%75%31', 4],
    ['/?k=a=b', 1],
    ['/?k=u+1', 1],
    ['/?K=u1', 0],
    ['/?ak=u1', 0],
    ['/?%6b=u1', 0],
    ['/?', 0],
    ['/', 0],
  ]
  for (const [target, envoy] of rows) t.equal(compute([query('k')], { target }).endpoint, envoy, target)
})

t.test('a cookie: read as Envoy reads it', async (t) => {
  const rows: [fields: readonly string[], value: string | null][] = [
    [['sess=abc'], 'abc'],
    [['sess="abc"'], 'abc'],
    [['a=1; sess=abc'], 'abc'],
    [['a=1;sess=abc'], 'abc'],
    [['  sess=abc'], 'abc'],
    [[';; sess=abc'], 'abc'],
    [['x; sess=abc'], 'abc'],
    [['sess=abc; sess=def'], 'abc'],
    [['a=1', 'sess=abc'], 'abc'],
    [['sess=abc', 'sess=def'], 'abc'],
    [['sess=abc ; x=1'], 'abc '],
    [['sess="'], '"'],
    [['sess="a'], '"a'],
    [['sess="a b"'], 'a b'],
    [['sess=a=b'], 'a=b'],
    [['sess = abc'], null],
    [['sess='], null],
    [['sess=""'], null],
    [['sess'], null],
    [['SESS=abc'], null],
    [['xsess=abc'], null],
    [['a=1;\tsess=abc'], null],
    [['sess=; sess=def'], null],
    [['sess=', 'sess=def'], null],
    [[], null],
  ]
  for (const [fields, value] of rows) {
    const found = compute([cookie('sess')], { headers: fields.map((f) => ['cookie', f]) })
    t.equal(found.endpoint, value === null ? 0 : endpointOf(value), JSON.stringify(fields))
    t.equal(found.routeHash.made, 0, 'without a ttl none is made')
  }
  t.equal(endpointOf('abc'), 3, 'as Envoy')
  t.equal(endpointOf('abc '), 4)
  t.equal(endpointOf('a=b'), 1)
  t.equal(cookieIn('sess=', 'sess'), '')
  t.equal(cookieIn('sess', 'sess'), null)
})

t.test('a cookie that is not there is made of the addresses of the connection', async (t) => {
  const rows: [peer: string, value: string, envoy: number][] = [
    ['127.0.0.1:33071', '7af10539521695ec', 1],
    ['127.0.0.1:41299', 'b72ed1bff9478055', 1],
    ['127.0.0.1:41395', 'b43b6985bd93f956', 3],
    ['[::ffff:127.0.0.1]:41395', 'b43b6985bd93f956', 3],
  ]
  for (const [peer, value, envoy] of rows) {
    const { endpoint, routeHash } = compute([cookie('sess', 0)], { peer })
    t.same([routeHash.cookie, endpoint, routeHash.made], [value, envoy, 1], peer)
    t.same(routeHash.setCookies(routeHash.made, routeHash.cookie), [`sess="${value}"; HttpOnly`])
  }
  t.equal(compute([cookie('sess', 0)]).endpoint, 0, 'of an unknown connection nothing is made')
  const two = compute([cookie('a', 5), header('x'), cookie('b', 0), cookie('a', 5)], { peer: '127.0.0.1:33071' }).routeHash
  t.same(two.setCookies(two.made, two.cookie), ['a="7af10539521695ec"; Max-Age=5; HttpOnly', 'b="7af10539521695ec"; HttpOnly'])
  t.equal(two.used, 0b1101)
})

t.test('the tail of a cookie', async (t) => {
  const attributes = [
    { name: 'Secure', value: '' },
    { name: 'SameSite', value: 'Strict' },
  ]
  t.equal(
    cookieTail({ name: 'sess', path: '/app', ttlSeconds: 3600, attributes }),
    '; Max-Age=3600; Path=/app; Secure; SameSite=Strict; HttpOnly',
  )
  t.equal(cookieTail({ name: 'sess', path: '', ttlSeconds: 0, attributes: [] }), '; HttpOnly')
})

t.test("the client's address: the last one that was forwarded, else the peer's", async (t) => {
  const rows: [peer: string, forwarded: readonly string[], hashed: string][] = [
    ['127.0.0.1:5', [], '127.0.0.1'],
    ['127.1.2.3:5', [], '127.1.2.3'],
    ['127.0.0.1:5', ['127.1.2.3'], '127.1.2.3'],
    ['127.0.0.1:5', ['1.1.1.1, 127.1.2.4'], '127.1.2.4'],
    ['127.0.0.1:5', ['127.1.2.4,1.1.1.1'], '1.1.1.1'],
    ['127.0.0.1:5', ['1.1.1.1', '127.1.2.3'], '127.1.2.3'],
    ['127.0.0.1:5', ['127.1.2.3 '], '127.1.2.3'],
    ['127.0.0.1:5', ['127.1.2.3:99'], '127.0.0.1'],
    ['127.0.0.1:5', ['nonsense'], '127.0.0.1'],
    ['127.0.0.1:5', ['127.1.2.3, nonsense'], '127.0.0.1'],
    ['127.0.0.1:5', ['127.1.2.3,'], '127.0.0.1'],
    ['127.0.0.1:5', [''], '127.0.0.1'],
    ['127.0.0.1:5', ['2001:0db8:0:0::1'], '2001:db8::1'],
    ['127.0.0.1:5', ['[2001:db8::1]'], '127.0.0.1'],
    ['127.0.0.1:5', ['::ffff:127.1.2.3'], '::ffff:127.1.2.3'],
    ['[2001:db8::1]:5', [], '2001:db8::1'],
    ['[::ffff:127.1.2.3]:5', [], '127.1.2.3'],
  ]
  for (const [peer, forwarded, hashed] of rows) {
    const { pick } = compute([{ kind: 'sourceIp' }], { peer, headers: forwarded.map((f) => ['x-forwarded-for', f]) })
    hash.hash(hashed)
    t.same([pick.hashed, pick.hashHigh, pick.hashLow], [true, hash.high, hash.low], `${peer} ${forwarded.join(' | ')}`)
  }
  // Envoy's endpoints for these addresses.
  t.same(['127.0.0.1', '127.1.2.3', '127.1.2.4', '1.1.1.1', '2001:db8::1', '127.9.9.9'].map(endpointOf), [1, 2, 1, 4, 5, 4])
  t.equal(compute([{ kind: 'sourceIp' }]).endpoint, 0, 'not known')
  const pick = new PickContext()
  new SourceIpHash().fill(pick, '127.9.9.9:1234')
  t.equal(ring.pick(pick)?.id, 4, 'of a TCP connection')
})

t.test('several policies: rotated by one and combined', async (t) => {
  const rows: [header: string | null, parameter: string | null, session: string | null, envoy: number][] = [
    ['u1', 'u2', 'abc', 3],
    ['u1', null, null, 5],
    [null, 'u2', null, 2],
    [null, null, 'abc', 3],
    ['u1', 'u1', null, 5],
    ['u1', 'u1', 'u1', 5],
    [null, 'u2', 'abc', 5],
    ['u3', 'v', 'w', 3],
    ['u4', 'v', 'w', 4],
    ['u5', 'v', 'w', 3],
    [null, null, null, 0],
  ]
  for (const [x, k, session, envoy] of rows) {
    const headers: Fields = [
      ...(x === null ? [] : [['x-key', x] as const]),
      ...(session === null ? [] : [['cookie', `sess=${session}`] as const]),
    ]
    const policies = [header('x-key'), query('k'), cookie('sess'), header('x-key')]
    t.equal(compute(policies, { headers, target: k === null ? '/' : `/?k=${k}` }).endpoint, envoy, `${x} ${k} ${session}`)
  }
})

t.test('the combination, bit by bit', async (t) => {
  const bits = (text: string) => {
    hash.hash(text)
    return (BigInt(hash.high) << 32n) | BigInt(hash.low)
  }
  for (let i = 0; i < 16; i++) {
    const [one, two] = [bits(`one-${i}`), bits(`two-${i}`)]
    const expected = (((one << 1n) | (one >> 63n)) & 0xffff_ffff_ffff_ffffn) ^ two
    const headers: Fields = [
      ['x-one', `one-${i}`],
      ['x-two', `two-${i}`],
    ]
    const { pick } = compute([header('x-one'), header('x-two')], { headers })
    t.equal(((BigInt(pick.hashHigh) << 32n) | BigInt(pick.hashLow)).toString(16), expected.toString(16))
  }
})

t.test('pseudo-headers', async (t) => {
  const rows: [name: string, hashed: string][] = [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':authority', 'Foo.example:80'],
    ['Host', 'Foo.example:80'],
    [':path', '/a?b=1'],
  ]
  for (const [name, hashed] of rows) t.equal(compute([header(name)], { target: '/a?b=1' }).endpoint, endpointOf(hashed), name)
  t.equal(endpointOf('/a?b=1'), 5, 'as Envoy')
})

t.test('what is hashed is the request as it will be sent', async (t) => {
  const edited = (op: 'set' | 'add' | 'remove', value = ''): Partial<Route> => ({ requestEdits: [{ op, name: 'X-Key', value }] })
  const headers: Fields = [['x-key', 'u1']]
  const policies = [header('x-key')]
  t.equal(compute(policies, { headers, over: edited('set', 'edited') }).endpoint, 5, 'as Envoy')
  t.equal(compute(policies, { headers, over: edited('remove') }).endpoint, 0)
  t.equal(compute(policies, { headers: [['x-key', 'b']], over: edited('add', 'a') }).endpoint, 5, 'two values')
  t.equal(
    compute(policies, { headers: [['x-from', 'u1']], over: edited('set', '%REQ(x-from)%'), peer: '127.0.0.1:5' }).endpoint,
    endpointOf('u1'),
  )
  const sends = { requestEdits: [{ op: 'set', name: 'cookie', value: 'sess=abc' }] } as const
  t.equal(compute([cookie('sess')], { over: sends }).endpoint, endpointOf('abc'))
  const rewrite = { kind: 'prefix', pattern: '', value: '/other/' } as const
  const rewritten = forward({ hashPolicies: [header(':path')], pathRewrite: rewrite, hostRewrite: 'there' })
  t.equal(compute([], { target: '/zzz', over: { action: rewritten } }).endpoint, 4, 'as Envoy: /other/zzz')
  const there = { ...rewritten, hashPolicies: [header('host')] }
  t.equal(compute([], { over: { action: there } }).endpoint, endpointOf('there'))
  const destination = { ...weighted('a'), hostRewrite: 'v1', requestEdits: [{ op: 'set', name: 'x-key', value: 'v1' } as const] }
  const split = forward({ hashPolicies: [header(':authority'), header('x-key')], clusters: [destination, weighted('b')] })
  t.equal(compute([], { over: { action: split } }).routeHash.used, 0b11)
})

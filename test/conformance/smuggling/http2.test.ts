// Request smuggling from HTTP/2 to HTTP/1.1: what would be read as a second request, or as another one, once it is written as lines. The stream is
// reset, or what was sent stays one request; no byte of another one reaches an upstream. RFC 9113 §10.3.
import type { Test } from 'tap'
import t from 'tap'
import { eventually } from '../../support/eventually.ts'
import { block, frame, WHOLE } from '../../support/http2-frames.ts'
import { type Fields, Http2Wire, pseudo } from '../../support/http2-wire.ts'
import { service, virtualService, yaml } from '../../support/mesh.ts'
import type { HeddleProcess } from '../../support/proxy.ts'
import { startProxy } from '../../support/proxy.ts'
import { Upstream } from '../../support/upstream.ts'

let upstream: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t, (e) => e.body().then(() => e.answer({ body: 'ok' })))
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 0 } }]),
    ),
  })
})

const HIDDEN = 'GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n'
const GET = pseudo('GET', '/', 'web')
const POST = pseudo('POST', '/', 'web')
const with_ = (...more: Fields): Fields => [...GET, ...more]
/** GET with one of its pseudo-headers replaced. */
const but = (name: string, value: string): Fields => GET.map(([n, v]) => [n, n === name ? value : v] as const)

const HEADS: readonly [name: string, fields: Fields][] = [
  ['H2.TE: transfer-encoding: chunked', with_(['transfer-encoding', 'chunked'])],
  ['H2.TE: transfer-encoding: identity', with_(['transfer-encoding', 'identity'])],
  ['H2.TE: te: chunked', with_(['te', 'chunked'])],
  ['H2.TE: te: trailers, chunked', with_(['te', 'trailers, chunked'])],
  ['connection: close', with_(['connection', 'close'])],
  ['connection: transfer-encoding', with_(['connection', 'transfer-encoding'])],
  ['upgrade: h2c', with_(['upgrade', 'h2c'])],
  ['keep-alive', with_(['keep-alive', 'timeout=5'])],
  ['proxy-connection', with_(['proxy-connection', 'keep-alive'])],
  ['CRLF in a value', with_(['x', 'a\r\nx-injected: 1'])],
  ['CRLF and a request in a value', with_(['x', `a\r\n\r\n${HIDDEN}`])],
  ['LF in a value', with_(['x', `a\n\n${HIDDEN}`])],
  ['CR in a value', with_(['x', 'a\rb'])],
  ['NUL in a value', with_(['x', 'a\0b'])],
  ['a blank before a value', with_(['x', ' a'])],
  ['a tab behind a value', with_(['x', 'a\t'])],
  ['CRLF in a name', with_(['x: 1\r\nx-injected', '1'])],
  ['a colon in a name', with_(['transfer-encoding: chunked\r\nx', '1'])],
  ['a colon at the end of a name', with_(['transfer-encoding:', 'chunked'])],
  ['a blank in a name', with_(['x y', '1'])],
  ['a name in capitals', with_(['Transfer-Encoding', 'chunked'])],
  ['an empty name', with_(['', 'x'])],
  ['a name outside ASCII', with_(['x\xe9', '1'])],
  ['a blank in :method', but(':method', 'GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\nGET')],
  ['a request line in :method', but(':method', 'GET /smuggled')],
  ['CRLF in :path', but(':path', `/ HTTP/1.1\r\nHost: web\r\n\r\n${HIDDEN}`)],
  ['a blank in :path', but(':path', '/ HTTP/1.1')],
  ['a tab in :path', but(':path', '/\tx')],
  ['a fragment in :path', but(':path', '/x#/smuggled')],
  ['an absolute :path', but(':path', 'http://other/')],
  ['an empty :path', but(':path', '')],
  ['a byte outside ASCII in :path', but(':path', '/\xe9')],
  ['CRLF in :authority', but(':authority', `web\r\n\r\n${HIDDEN}`)],
  ['a blank in :authority', but(':authority', 'web other')],
  ['a path in :authority', but(':authority', 'web/x')],
  ['a user in :authority', but(':authority', 'web@other')],
  ['CRLF in :scheme', but(':scheme', 'http\r\nx: y')],
  ['a URL in :scheme', but(':scheme', 'http://web/smuggled?')],
  ['an empty :method', but(':method', '')],
  [':path twice', [...GET, [':path', '/smuggled']]],
  [':method twice', [...GET, [':method', 'POST']]],
  [':authority twice', [...GET, [':authority', 'other']]],
  [':path behind a field', [...GET.slice(0, 2), GET[3]!, ['x', '1'], GET[2]!]],
  [':status in a request', [...GET, [':status', '200']]],
  ['an unknown pseudo-header', [...GET, [':host', 'other']]],
  ['host and :authority differ', with_(['host', 'other'])],
  ['host twice', [...GET.slice(0, 3), ['host', 'web'], ['host', 'other']]],
  ['no :path', GET.filter(([n]) => n !== ':path')],
  ['no :scheme', GET.filter(([n]) => n !== ':scheme')],
  ['no :method', GET.slice(1)],
  ['content-length twice, different', with_(['content-length', '0'], ['content-length', '5'])],
  ['content-length as a list', with_(['content-length', '0, 5'])],
  ['content-length with plus', with_(['content-length', '+0'])],
  ['content-length that is no number', with_(['content-length', 'x'])],
  ['content-length without a body', with_(['content-length', '5'])],
  ['content-length beyond 2^64', with_(['content-length', '18446744073709551616'])],
]

t.test('heads', async (t) => {
  for (const [name, fields] of HEADS) {
    const before = upstream.requests.length
    const wire = await Http2Wire.greeted(t, proxy.port())
    await wire.ask(1, fields)
    t.equal(await wire.untilTold(/^RST_STREAM|^GOAWAY|^HEADERS/), 'RST_STREAM 1 code 1', name)
    await wire.ask(3, pseudo('GET', '/next', 'web'))
    await wire.untilTold('DATA 3 2 end')
    wire.destroy()
    const came = upstream.requests.slice(before).map((r) => r.target)
    t.same(came, ['/next'], `${name}: nothing of it, and the connection goes on`)
  }
  t.notMatch(upstream.connections.map((c) => c.text).join(''), /smuggled|x-injected/, 'not a byte')
})

t.test('H2.CL: the body is longer than its content-length', async (t) => {
  const before = upstream.requests.length
  const wire = await Http2Wire.greeted(t, proxy.port())
  await wire.ask(1, [...POST, ['content-length', '3']], false)
  await wire.data(1, `abc${HIDDEN}`)
  await wire.untilTold('RST_STREAM 1 code 1')
  wire.destroy()
  const wire2 = await Http2Wire.greeted(t, proxy.port())
  await wire2.ask(1, [...POST, ['content-length', '3']], false)
  await wire2.data(1, 'abc', false)
  await wire2.data(1, HIDDEN)
  await wire2.untilTold(/RST_STREAM 1/)
  wire2.destroy()
  await noSecond(t, before)
})

t.test('H2.CL: the body is shorter, and its connection is not used again', async (t) => {
  const before = upstream.requests.length
  const wire = await Http2Wire.greeted(t, proxy.port())
  await wire.ask(1, [...POST, ['content-length', String(3 + HIDDEN.length)]], false)
  await eventually('it to be under way', () => upstream.connections.some((c) => c.text.includes(`: ${3 + HIDDEN.length}\r\n`)))
  await wire.data(1, 'abc')
  await wire.untilTold('RST_STREAM 1 code 1')
  await wire.ask(3, pseudo('GET', '/behind', 'web'))
  await wire.untilTold('DATA 3 2 end')
  wire.destroy()
  const connections = upstream.connections.filter((c) => c.text.includes(`content-length: ${3 + HIDDEN.length}`))
  t.equal(connections.length, 1, 'it did begin')
  for (const c of connections) t.notMatch(c.text, /behind/, 'the next request goes elsewhere')
  await noSecond(t, before)
})

t.test('H2.CL: content-length: 0 with a body', async (t) => {
  const before = upstream.requests.length
  const wire = await Http2Wire.greeted(t, proxy.port())
  await wire.ask(1, [...POST, ['content-length', '0']], false)
  await wire.data(1, HIDDEN)
  await wire.untilTold('RST_STREAM 1 code 1')
  wire.destroy()
  await noSecond(t, before)
})

t.test('a body that looks like chunks or like a request is a body', async (t) => {
  for (const body of [`0\r\n\r\n${HIDDEN}`, HIDDEN, `5\r\nabcde\r\n0\r\n\r\n`]) {
    const before = upstream.requests.length
    const wire = await Http2Wire.greeted(t, proxy.port())
    await wire.ask(1, POST, false)
    await wire.data(1, body)
    await wire.untilTold('DATA 1 2 end')
    wire.destroy()
    const came = upstream.requests.slice(before)
    t.equal(came.length, 1)
    t.equal(came[0]?.framing, 'chunked')
    t.equal(came[0]?.body.toString('latin1'), body)
  }
})

t.test('trailers that would be framing, routing or lines of their own', async (t) => {
  const rows: readonly [name: string, fields: Fields, passes: boolean][] = [
    ['a pseudo-header', [[':path', '/smuggled']], false],
    ['transfer-encoding', [['transfer-encoding', 'chunked']], false],
    ['CRLF in a value', [['x', `1\r\n\r\n${HIDDEN}`]], false],
    ['a colon in a name', [['x:y', '1']], false],
    ['content-length', [['content-length', '5']], true],
    ['host', [['host', 'other']], true],
  ]
  for (const [name, fields, passes] of rows) {
    const before = upstream.requests.length
    const wire = await Http2Wire.greeted(t, proxy.port())
    await wire.ask(1, POST, false)
    await wire.data(1, 'body', false)
    await wire.write(frame('HEADERS', WHOLE | 1, 1, block(...fields)))
    if (passes) {
      const end = await wire.untilTold(/^DATA 1 2 end|^RST_STREAM/)
      if (end.startsWith('DATA')) t.same(upstream.requests[before]?.trailers, [], `${name} is left out`)
      else t.equal(end, 'RST_STREAM 1 code 1', name)
    } else t.equal(await wire.untilTold(/^DATA|^RST_STREAM/), 'RST_STREAM 1 code 1', name)
    wire.destroy()
    await noSecond(t, before)
  }
})

t.test('CONNECT where it is not allowed: what follows is no request', async (t) => {
  const before = upstream.requests.length
  const wire = await Http2Wire.greeted(t, proxy.port())
  await wire.ask(
    1,
    [
      [':method', 'CONNECT'],
      [':authority', 'web:80'],
    ],
    false,
  )
  await wire.data(1, HIDDEN)
  await wire.untilTold(/^HEADERS 1 end/)
  wire.destroy()
  await noSecond(t, before)
})

async function noSecond(t: Test, before: number): Promise<void> {
  const wire = await Http2Wire.greeted(t, proxy.port())
  await wire.ask(1, pseudo('GET', '/canary', 'web'))
  await wire.untilTold('DATA 1 2 end')
  wire.destroy()
  const targets = upstream.requests.slice(before).map((r) => r.target)
  t.notOk(targets.includes('/smuggled'), `${targets.join(' ')}`)
  t.equal(targets.at(-1), '/canary')
}

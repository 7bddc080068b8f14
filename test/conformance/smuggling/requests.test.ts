// Request smuggling by class: each attack carries a second request that a laxer reading would find. It is refused with a status and a reason,
// the connection ends, and no byte of it reaches an upstream. RFC 9112 §11.2.
import t from 'tap'
import { eventually } from '../../support/eventually.ts'
import { service, virtualService, yaml } from '../../support/mesh.ts'
import type { HeddleProcess } from '../../support/proxy.ts'
import { startProxy } from '../../support/proxy.ts'
import { RawClient } from '../../support/raw-client.ts'
import { Upstream } from '../../support/upstream.ts'

const CODEC = 'http1.codec_error'
const BOTH = 'http1.content_length_and_chunked_not_allowed'
const CODING = 'http1.invalid_transfer_encoding'
const HIDDEN = 'GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n'

/** [class, bytes before the hidden request, status, response_code_details] */
type Row = readonly [string, string, number, string]

const post = (fields: string, body = '') => `POST / HTTP/1.1\r\nHost: web\r\n${fields}\r\n${body}`
const get = (fields: string) => `GET / HTTP/1.1\r\nHost: web\r\n${fields}\r\n`
const te = (value: string, name = 'Transfer-Encoding:') => post(`${name} ${value}\r\n`, '0\r\n\r\n')
const both = (value: string) => post(`Content-Length: 5\r\nTransfer-Encoding: ${value}\r\n`, '0\r\n\r\n')

const TWO_LENGTHS: readonly Row[] = [
  ['CL.TE', post('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\nX'), 400, BOTH],
  ['TE.CL', post('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', '5c\r\n'), 400, BOTH],
  ['CL.0', post('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400, BOTH],
  ['CL.TE in capitals', both('CHUNKED'), 400, BOTH],
  ['CL and a coding that is none', both('xchunked'), 400, BOTH],
  ['CL twice, equal', post('Content-Length: 3\r\nContent-Length: 3\r\n', 'abc'), 400, CODEC],
  ['CL twice, different', post('Content-Length: 3\r\nContent-Length: 0\r\n', 'abc'), 400, CODEC],
  ['CL twice, in two spellings', post('Content-Length: 3\r\ncontent-length: 3\r\n', 'abc'), 400, CODEC],
  ['CL as a list', post('Content-Length: 3, 3\r\n', 'abc'), 400, CODEC],
  ['CL as a list that differs', post('Content-Length: 3, 4\r\n', 'abc'), 400, CODEC],
  ['CL with plus', post('Content-Length: +3\r\n', 'abc'), 400, CODEC],
  ['CL with minus', post('Content-Length: -1\r\n'), 400, CODEC],
  ['CL in hexadecimal', post('Content-Length: 0x3\r\n', 'abc'), 400, CODEC],
  ['CL with a blank inside', post('Content-Length: 3 3\r\n', 'abc'), 400, CODEC],
  ['CL that is empty', post('Content-Length:\r\n'), 400, CODEC],
  ['CL with a comma', post('Content-Length: 3,\r\n', 'abc'), 400, CODEC],
  ['CL with a fraction', post('Content-Length: 3.0\r\n', 'abc'), 400, CODEC],
  ['CL with an exponent', post('Content-Length: 3e0\r\n', 'abc'), 400, CODEC],
  ['CL beyond 2^53', post('Content-Length: 9007199254740993\r\n', 'abc'), 400, CODEC],
  ['CL beyond 2^63', post('Content-Length: 9223372036854775808\r\n', 'abc'), 400, CODEC],
  ['CL that is 3 modulo 2^64', post('Content-Length: 18446744073709551619\r\n', 'abc'), 400, CODEC],
  ['CL with a NUL', post('Content-Length: 3\0\r\n', 'abc'), 400, CODEC],
  ['CL with a vertical tab', post('Content-Length: \x0b3\r\n', 'abc'), 400, CODEC],
]

const CODINGS: readonly Row[] = [
  ['TE.TE: two lines', te('chunked\r\nTransfer-Encoding: identity'), 501, CODING],
  ['TE.TE: two lines, the other order', te('identity\r\nTransfer-Encoding: chunked'), 501, CODING],
  ['TE.TE: chunked twice', te('chunked\r\nTransfer-Encoding: chunked'), 501, CODING],
  ['TE.TE: gzip, chunked', te('gzip, chunked'), 501, CODING],
  ['TE.TE: chunked, gzip', te('chunked, gzip'), 501, CODING],
  ['TE.TE: chunked, identity', te('chunked, identity'), 501, CODING],
  ['TE.TE: identity', te('identity'), 501, CODING],
  ['TE.TE: xchunked', te('xchunked'), 501, CODING],
  ['TE.TE: a parameter', te('chunked;q=1'), 501, CODING],
  ['TE.TE: a comma before', te(',chunked'), 501, CODING],
  ['TE.TE: a comma behind', te('chunked,'), 501, CODING],
  ['TE.TE: quoted', te('"chunked"'), 501, CODING],
  ['TE.TE: single quotes', te("'chunked'"), 501, CODING],
  ['TE.TE: a slash', te('chunked/1'), 501, CODING],
  ['TE.TE: obs-text behind', te('chunked\xff'), 501, CODING],
  ['TE.TE: empty', te(''), 501, CODING],
  ['TE.TE: a vertical tab before', te('\x0bchunked'), 400, CODEC],
  ['TE.TE: a vertical tab behind', te('chunked\x0b'), 400, CODEC],
  ['TE.TE: a NUL behind', te('chunked\0'), 400, CODEC],
  ['TE.TE: a blank before the colon', te('chunked', 'Transfer-Encoding :'), 400, CODEC],
  ['TE.TE: a tab before the colon', te('chunked', 'Transfer-Encoding\t:'), 400, CODEC],
  ['TE.TE: a NUL in the name', te('chunked', 'Transfer-Encoding\0:'), 400, CODEC],
  ['TE.TE: folded', te('\r\n chunked'), 400, CODEC],
  ['TE.TE: behind a bare LF', post('X: a\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400, CODEC],
  ['TE.TE: behind a bare CR', post('X: a\rTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400, CODEC],
  ['TE.TE: folded into the field before', post('X: a\r\n Transfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400, CODEC],
  ['TE in HTTP/1.0', te('chunked').replace('HTTP/1.1', 'HTTP/1.0'), 400, CODEC],
]

const LINES: readonly Row[] = [
  ['obs-fold', get('X: a\r\n b\r\n'), 400, CODEC],
  ['obs-fold of Host', 'GET / HTTP/1.1\r\nHost:\r\n web\r\n\r\n', 400, CODEC],
  ['bare CR', get('X: a\rY: b\r\n'), 400, CODEC],
  ['bare LF', 'GET / HTTP/1.1\nHost: web\n\n', 400, CODEC],
  ['bare LF in the middle', get('X: a\nY: b\r\n'), 400, CODEC],
  ['LF for the empty line', 'GET / HTTP/1.1\r\nHost: web\r\n\n', 400, CODEC],
  ['CR CR LF', 'GET / HTTP/1.1\r\r\nHost: web\r\n\r\n', 400, CODEC],
  ['NUL in a value', get('X: a\0b\r\n'), 400, CODEC],
  ['a control byte in a value', get('X: a\x1fb\r\n'), 400, CODEC],
  ['a blank before the colon', 'GET / HTTP/1.1\r\nHost : web\r\n\r\n', 400, CODEC],
  ['a blank in a name', get('X Y: a\r\n'), 400, CODEC],
  ['an empty name', get(': a\r\n'), 400, CODEC],
  ['no colon', get('X\r\n'), 400, CODEC],
  ['a blank before the first field', 'GET / HTTP/1.1\r\n Host: web\r\n\r\n', 400, CODEC],
  ['HTTP/0.9', 'GET /\r\n', 400, CODEC],
  ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: web\r\n\r\n', 400, CODEC],
  ['a blank behind the version', 'GET / HTTP/1.1 \r\nHost: web\r\n\r\n', 400, CODEC],
  ['a tab in the request line', 'GET\t/\tHTTP/1.1\r\nHost: web\r\n\r\n', 400, CODEC],
  ['a request in the target', 'GET / HTTP/1.1 /x HTTP/1.1\r\nHost: web\r\n\r\n', 400, CODEC],
  ['an unknown method', 'GETT / HTTP/1.1\r\nHost: web\r\n\r\n', 400, CODEC],
  ['a method in lower case', 'get / HTTP/1.1\r\nHost: web\r\n\r\n', 400, CODEC],
  ['a target without a slash', 'GET x HTTP/1.1\r\nHost: web\r\n\r\n', 400, CODEC],
  ['HTTP/2.0', 'GET / HTTP/2.0\r\nHost: web\r\n\r\n', 505, CODEC],
]

const WHO: readonly Row[] = [
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400, 'missing_host_header'],
  ['two Hosts', 'GET / HTTP/1.1\r\nHost: web\r\nHost: other\r\n\r\n', 400, CODEC],
  ['two Hosts, equal', 'GET / HTTP/1.1\r\nHost: web\r\nHost: web\r\n\r\n', 400, CODEC],
  ['two Hosts beside an absolute target', 'GET http://web/ HTTP/1.1\r\nHost: web\r\nHost: other\r\n\r\n', 400, CODEC],
  ['Host as a list', 'GET / HTTP/1.1\r\nHost: web, other\r\n\r\n', 400, CODEC],
  ['Host with a path', 'GET / HTTP/1.1\r\nHost: web/x\r\n\r\n', 400, CODEC],
  ['Host with a user', 'GET / HTTP/1.1\r\nHost: a@web\r\n\r\n', 400, CODEC],
  ['Host with a blank', 'GET / HTTP/1.1\r\nHost: web web\r\n\r\n', 400, CODEC],
  ['Host outside ASCII', 'GET / HTTP/1.1\r\nHost: web\xe9\r\n\r\n', 400, CODEC],
  ['a user in an absolute target', 'GET http://a@web/ HTTP/1.1\r\nHost: web\r\n\r\n', 400, CODEC],
  ['Host that Connection takes away', get('Connection: host\r\n'), 400, 'missing_host_header'],
  [
    'CL that Connection takes away',
    post('Connection: content-length\r\nContent-Length: 39\r\n'),
    400,
    'http1.connection_header_rejected',
  ],
  ['a CONNECT with a body', 'CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\nContent-Length: 5\r\n\r\nabcde', 400, CODEC],
  ['a chunked CONNECT', 'CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400, CODEC],
]

let upstream: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t, (ex) => ex.answer({ body: 'served' }))
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'denied', endpoints: [upstream] }),
      virtualService('denied', ['denied'], [{ directResponse: { status: 403 } }]),
    ),
  })
})

/** They keep their ports to the end: the access log knows them by these. */
const clients: RawClient[] = []

for (const [family, rows] of Object.entries({
  'lengths that disagree': TWO_LENGTHS,
  codings: CODINGS,
  lines: LINES,
  'who is meant': WHO,
})) {
  t.test(family, async (t) => {
    for (const [what, bytes, status, details] of rows) {
      const client = await RawClient.connect(t, proxy.port())
      await client.write(bytes + HIDDEN)
      await client.closed()
      t.equal(client.responses[0]?.status, status, `${what}: ${status}`)
      t.equal(client.responses.length, 1, `${what}: one answer`)
      const line = await proxy.logged({ downstream_remote_address: client.localAddress })
      t.equal(line['response_code_details'], details, `${what}: ${details}`)
      t.equal(upstream.exchanges.length, 0, `${what}: nothing reached the upstream`)
      clients.push(client)
    }
  })
}

/** Bodies break after their request has begun: what matters is that the upstream never takes it, or the hidden one, for complete. */
const CHUNKS: readonly (readonly [string, string])[] = [
  ['an empty size', '\r\n\r\n'],
  ['minus', '-1\r\nabc\r\n0\r\n\r\n'],
  ['plus', '+3\r\nabc\r\n0\r\n\r\n'],
  ['0x', '0x3\r\nabc\r\n0\r\n\r\n'],
  ['a blank behind the size', '3 \r\nabc\r\n0\r\n\r\n'],
  ['seventeen digits', '10000000000000003\r\nabc\r\n0\r\n\r\n'],
  ['bare LF behind the size', '3\nabc\r\n0\r\n\r\n'],
  ['bare LF behind the data', '3\r\nabc\n0\r\n\r\n'],
  ['bare LF behind the last size', '0\n\r\n'],
  ['bare LF in an extension', '3;a="\n"\r\nabc\r\n0\r\n\r\n'],
  ['bare CR in an extension', '3;a\rb\r\nabc\r\n0\r\n\r\n'],
  ['no CRLF behind the data', '3\r\nabcd\r\n0\r\n\r\n'],
  ['extensions without an end', `3;${'a'.repeat(20000)}\r\nabc\r\n0\r\n\r\n`],
  ['many extensions', `${`1;${'a'.repeat(500)}\r\nx\r\n`.repeat(40)}0\r\n\r\n`],
  ['a request in the trailers', `0\r\n${HIDDEN}`],
  ['a folded trailer', '0\r\nX: a\r\n b\r\n\r\n'],
  ['trailers without an end', `0\r\nX: ${'a'.repeat(20000)}\r\n\r\n`],
  ['too many trailers', `0\r\n${'X: a\r\n'.repeat(101)}\r\n`],
]

t.test('chunks', async (t) => {
  for (const [what, body] of CHUNKS) {
    const before = upstream.exchanges.length
    const client = await RawClient.connect(t, proxy.port())
    await client.write(post('Transfer-Encoding: chunked\r\n', body) + HIDDEN)
    await client.closed()
    t.equal(client.responses[0]?.status, 400, `${what}: 400`)
    const line = await proxy.logged({ downstream_remote_address: client.localAddress })
    t.match(line['response_code_details'], CODEC, `${what}: reason`)
    for (const { request, connection } of upstream.exchanges.slice(before)) {
      await connection.closed()
      t.equal(request.complete, false, `${what}: not complete at the upstream`)
    }
    t.notMatch(upstream.connections.map((c) => c.text).join(''), 'smuggled', `${what}: the hidden request stayed hidden`)
    client.destroy()
  }
})

t.test('what is taken, and what becomes of it', async (t) => {
  upstream.startAfresh()
  const served = async (what: string, bytes: string) => {
    const client = await RawClient.connect(t, proxy.port())
    await client.write(bytes)
    t.equal((await client.response()).status, 200, what)
    client.destroy()
    return upstream.exchanges.at(-1)?.request
  }
  const values = (name: string, request = upstream.exchanges.at(-1)?.request) =>
    (request?.headers ?? []).filter(([n]) => n.toLowerCase() === name).map(([, v]) => v)
  await served('an absolute target', 'GET http://web/x HTTP/1.1\r\nHost: other\r\n\r\n')
  t.same(values('host'), ['web'], 'its authority replaces Host (RFC 9112 §3.2.2)')
  const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'
  const ofTheOffer = () => [...values('upgrade'), ...values('http2-settings'), ...values('connection')]
  await served('h2c that another proxy has passed on', get(`Via: 1.1 front\r\n${offer}`))
  t.same(ofTheOffer(), [], 'is not taken, and ends here')
  const direct = await RawClient.connect(t, proxy.port())
  const before = upstream.exchanges.length
  await direct.write(get(offer))
  t.equal((await direct.response()).status, 101, 'h2c of a client is taken')
  await eventually('the request', () => upstream.exchanges.length > before)
  t.same(ofTheOffer(), [], 'and is not offered on')
  direct.destroy()
  await served('Upgrade in HTTP/1.0', get('Connection: Upgrade\r\nUpgrade: websocket\r\n').replace('HTTP/1.1', 'HTTP/1.0'))
  t.same(values('upgrade'), [], 'is ignored (RFC 9110 §7.8)')
  await served('chunked in capitals', te('CHUNKED'))
  t.same(values('transfer-encoding'), ['chunked'])
  await served('a length with leading zeros', post('Content-Length: 003\r\n', 'abc'))
  t.equal(upstream.exchanges.at(-1)?.request.body.toString(), 'abc')
  await served('a GET with a body that looks like a request', get(`Content-Length: ${HIDDEN.length}\r\n`) + HIDDEN)
  t.equal(upstream.exchanges.at(-1)?.request.body.toString(), HIDDEN)
  t.notOk(upstream.requests.some((r) => r.target === '/smuggled'))
})

t.test('trailers do not carry what belongs into a header section', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  const bad =
    'Content-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: other\r\nAuthorization: x\r\nCookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\n'
  await client.write(post('Transfer-Encoding: chunked\r\n', `3\r\nabc\r\n0\r\n${bad}X-Sum: 1\r\n\r\n`))
  t.equal((await client.response()).status, 200)
  t.same(upstream.exchanges.at(-1)?.request.trailers, [['X-Sum', '1']])
})

t.test('Expect', async (t) => {
  for (const value of ['x', '100-continue, x', '100-continue\r\nExpect: x']) {
    const before = upstream.exchanges.length
    const client = await RawClient.connect(t, proxy.port())
    await client.write(post(`Expect: ${value}\r\nContent-Length: ${HIDDEN.length}\r\n`) + HIDDEN)
    await client.closed()
    t.same(
      client.responses.map((r) => r.status),
      [417],
      `Expect: ${value}`,
    )
    const line = await proxy.logged({ downstream_remote_address: client.localAddress })
    t.equal(line['response_code_details'], 'unknown_expectation')
    t.equal(upstream.exchanges.length, before)
    client.destroy()
  }
})

t.test('50 requests in one write are answered in order', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  const from = upstream.exchanges.length
  await client.write(Array.from({ length: 50 }, (_, i) => `GET /n${i} HTTP/1.1\r\nHost: web\r\n\r\n`).join(''))
  for (let i = 0; i < 50; i++) t.equal((await client.response()).status, 200)
  t.same(
    upstream.requests.slice(from).map((r) => r.target),
    Array.from({ length: 50 }, (_, i) => `/n${i}`),
  )
})

t.test('an answer that does not wait for the body: the connection is not used again', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.write(`POST /x HTTP/1.1\r\nHost: denied\r\nContent-Length: 1000\r\n\r\nabc`)
  const answer = await client.response()
  t.equal(answer.status, 403)
  await client.write(HIDDEN)
  await client.closed()
  t.equal(client.responses.length, 1)
  t.notOk(upstream.requests.some((r) => r.target === '/smuggled'))
})

// What an upstream may not say. The client learns it as 502 or as a cut, and the connection on which it was said carries no other request:
// what is left on it would be taken for the answer to somebody else (response-queue poisoning).
import type { Test } from 'tap'
import t from 'tap'
import { service, yaml } from '../../support/mesh.ts'
import type { HeddleProcess } from '../../support/proxy.ts'
import { startProxy } from '../../support/proxy.ts'
import { RawClient } from '../../support/raw-client.ts'
import { Upstream } from '../../support/upstream.ts'

const DETAILS = 'upstream_reset_before_response_started{protocol_error}'
const POISON = 'HTTP/1.1 200 OK\r\nX-Poison: 1\r\nContent-Length: 6\r\n\r\npoison'

let upstream: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t)
  proxy = await startProxy(t, { resources: yaml(service({ host: 'web', endpoints: [upstream] })) })
})

/** After whatever happened, the next request gets a connection of its own and the answer to it. */
async function nextIsClean(t: Test, what: string, used: unknown): Promise<void> {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', target: '/next' })
  const exchange = await upstream.next()
  t.not(exchange.connection, used, `${what}: the connection is not used again`)
  await exchange.answer({ body: 'clean', close: true })
  t.equal((await client.response()).body.toString(), 'clean', `${what}: the next request gets its own answer`)
  client.destroy()
}

/** Refused before anything of it has reached the client. */
const REFUSED: readonly (readonly [string, string])[] = [
  ['CL and TE', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['CL twice', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc'],
  ['CL as a list', 'HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc'],
  ['CL with a sign', 'HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc'],
  ['TE gzip, chunked', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  ['TE twice', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['TE in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['obs-fold', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n'],
  ['bare LF', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
  ['NUL in a value', 'HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n'],
  ['a blank before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n'],
  ['four digits of status', 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n'],
  ['HTTP/2.0', 'HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n'],
  ['not HTTP', 'hello\r\n'],
  ['204 with a length', `HTTP/1.1 204 x\r\nContent-Length: 3\r\n\r\nabc${POISON}`],
  ['204 chunked', `HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${POISON}`],
  ['1xx with a length', `HTTP/1.1 103 x\r\nContent-Length: ${POISON.length}\r\n\r\n${POISON}`],
  ['1xx with a body', `HTTP/1.1 100 Continue\r\n\r\nabc${POISON}`],
  ['a 101 that nobody asked for', `HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n${POISON}`],
  ['a head that is too large', `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(200 * 1024)}\r\n\r\n`],
  ['too many fields', `HTTP/1.1 200 OK\r\n${'X: a\r\n'.repeat(101)}\r\n`],
]

t.test('what is no answer: 502 UPE', async (t) => {
  for (const [what, bytes] of REFUSED) {
    const client = await RawClient.connect(t, proxy.port())
    await client.send({ host: 'web', target: '/bad' })
    const exchange = await upstream.next()
    await exchange.write(bytes)
    const answer = await client.response()
    t.equal(answer.status, 502, `${what}: 502`)
    t.notMatch(client.text, 'X-Poison', `${what}: nothing of it`)
    const line = await proxy.logged({ downstream_remote_address: client.localAddress })
    t.equal(line['response_flags'], 'UPE', `${what}: UPE`)
    t.equal(line['response_code_details'], DETAILS, `${what}: reason`)
    await exchange.connection.closed()
    client.destroy()
    await nextIsClean(t, what, exchange.connection)
  }
})

/** An answer that is complete, and what comes behind it in the same write. */
const ANSWERS: readonly (readonly [string, string, string])[] = [
  ['by length', 'GET', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'],
  ['with length zero', 'GET', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
  ['chunked', 'GET', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'],
  ['204', 'GET', 'HTTP/1.1 204 x\r\n\r\n'],
  ['304', 'GET', 'HTTP/1.1 304 x\r\nContent-Length: 6\r\n\r\n'],
  ['to HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n'],
]

t.test('bytes behind an answer', async (t) => {
  for (const [what, method, bytes] of ANSWERS) {
    for (const [more, extra] of [
      ['one byte', 'x'],
      ['an empty line', '\r\n'],
      ['a whole answer', POISON],
      ['half an answer', POISON.slice(0, 20)],
    ] as const) {
      const client = await RawClient.connect(t, proxy.port())
      await client.send({ host: 'web', method, target: '/poisoned' })
      const exchange = await upstream.next()
      await exchange.write(bytes + extra)
      const { status } = await client.response()
      t.equal(status, Number(bytes.slice(9, 12)), `${what}, ${more}: the answer itself is good`)
      await exchange.connection.closed()
      t.notMatch(client.text, 'oison', `${what}, ${more}: nothing else reaches the client`)
      client.destroy()
      await nextIsClean(t, `${what}, ${more}`, exchange.connection)
    }
  }
})

t.test('with requests that wait for the connection, none of them gets the bytes behind an answer', async (t) => {
  const narrow = await Upstream.start(t)
  const one = await startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [narrow] }), {
      apiVersion: 'networking.istio.io/v1',
      kind: 'DestinationRule',
      metadata: { name: 'one', namespace: 'default' },
      spec: { host: 'web', trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } },
    }),
  })
  const first = await RawClient.connect(t, one.port())
  await first.send({ host: 'web', target: '/first' })
  const exchange = await narrow.next()
  const second = await RawClient.connect(t, one.port())
  await second.send({ host: 'web', target: '/second' })
  await one.metrics()
  await exchange.write(`HTTP/1.1 204 x\r\n\r\n${POISON}`)
  t.equal((await first.response()).status, 204)
  const other = await narrow.next()
  t.equal(other.request.target, '/second')
  t.not(other.connection, exchange.connection)
  await other.answer({ body: 'clean' })
  t.equal((await second.response()).body.toString(), 'clean')
})

t.test('an answer that nobody asked for, on an idle connection', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', target: '/good' })
  const exchange = await upstream.next()
  await exchange.answer({ body: 'good' })
  await client.response()
  await exchange.connection.write(POISON)
  await exchange.connection.closed()
  await nextIsClean(t, 'idle', exchange.connection)
})

t.test('an answer before the end of its request: neither connection is used again', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.write('POST /early HTTP/1.1\r\nHost: web\r\nContent-Length: 1000\r\n\r\nabc')
  const exchange = await upstream.next()
  await exchange.answerEarly({ status: 403, body: 'no' })
  t.equal((await client.response()).status, 403)
  await client.closed()
  await exchange.connection.closed()
  await nextIsClean(t, 'early', exchange.connection)
})

t.test('a length that the answer itself takes away stays', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', target: '/nominated' })
  const exchange = await upstream.next()
  await exchange.write('HTTP/1.1 200 OK\r\nConnection: content-length, x-mine\r\nX-Mine: 1\r\nContent-Length: 2\r\n\r\nok')
  const answer = await client.response()
  t.equal(answer.body.toString(), 'ok')
  t.notMatch(client.text, /x-mine/i)
})

t.test('trailers do not carry what belongs into a header section', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', target: '/trailers' })
  const exchange = await upstream.next()
  const trailers = {
    'Content-Length': '9',
    'Transfer-Encoding': 'gzip',
    'Set-Cookie': 'a=b',
    Connection: 'close',
    'grpc-status': '0',
  }
  await exchange.answer({ chunks: ['abc'], trailers })
  t.same((await client.response()).trailers, [['grpc-status', '0']])
})

t.test('a switch of protocols that is refused opens no tunnel', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.write(
    'GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /after HTTP/1.1\r\nHost: web\r\n\r\n',
  )
  const exchange = await upstream.next()
  t.equal(exchange.request.target, '/ws')
  await exchange.answer({ body: 'no tunnel' })
  t.equal((await client.response()).body.toString(), 'no tunnel')
  const after = await upstream.next()
  t.equal(after.request.target, '/after', 'what follows is a request')
  await after.answer({})
  t.equal((await client.response()).status, 200)
})

// Framing of messages and their ends: HTTP/1.0, bodies, trailers, early answers, and clients that end their side or go away.
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { chunked, RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'
import { DOWNSTREAM, HTTP1_BOTH, HTTP1_ONLY, HTTP1_UPSTREAM_ONLY, spelt, UPSTREAM } from '../support/versions.ts'

let upstream: Upstream
let proxy: HeddleProcess

const resources = () =>
  yaml(
    service({ host: 'web', endpoints: [upstream] }),
    virtualService(
      'web',
      ['web'],
      [
        { match: [{ uri: { prefix: '/fixed' } }], directResponse: { status: 200, body: { string: 'fixed' } } },
        { route: [{ destination: { host: 'web' } }], retries: { attempts: 0 } },
      ],
    ),
  )

t.before(async () => {
  upstream = await Upstream.start(t)
  proxy = await startProxy(t, { resources: resources() })
})

t.beforeEach(() => upstream.startAfresh())

const connect = (t: Teardown) => connectAny(t, proxy.port())

t.test('HTTP/1.0 downstream', { skip: HTTP1_ONLY }, async (t) => {
  await t.test('a body without length ends with the connection, never with chunks', async (t) => {
    const client = await connect(t)
    await client.send({ version: 'HTTP/1.0', host: 'web', headers: { Connection: 'keep-alive' } })
    await (await upstream.next()).answer({ chunks: ['one', 'two'], trailers: { 'X-T': '1' } })
    const response = await client.response()
    t.same(headerValues(response, 'transfer-encoding'), [])
    t.equal(header(response, 'connection'), 'close')
    t.equal(response.body.toString(), 'onetwo')
    t.equal(response.complete, true)
  })
  await t.test('keep-alive that is asked for is given when the length is known', async (t) => {
    const client = await connect(t)
    for (const target of ['/1', '/2']) {
      await client.send({ version: 'HTTP/1.0', host: 'web', target, headers: { Connection: 'Keep-Alive' } })
      await (await upstream.next()).answer({ body: target })
      const response = await client.response()
      t.equal(header(response, 'connection'), 'keep-alive')
      t.equal(response.body.toString(), target)
    }
  })
  await t.test('not asked for, the connection ends', async (t) => {
    const client = await connect(t)
    const response = await client.ask({ version: 'HTTP/1.0', host: 'web', target: '/fixed' })
    t.equal(header(response, 'connection'), 'close')
    t.equal(response.body.toString(), 'fixed')
    t.equal(await client.closed(), 'end')
  })
  await t.test('interim responses are not for it (RFC 9110 §15.2)', async (t) => {
    const client = await connect(t)
    await client.send({ version: 'HTTP/1.0', host: 'web' })
    const exchange = await upstream.next()
    await exchange.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n')
    await exchange.answer({ body: 'x' })
    t.same((await client.response()).informational, [])
  })
  await t.test('transfer-encoding in an HTTP/1.0 request is refused (RFC 9112 §6.1)', async (t) => {
    const client = await connect(t)
    await client.write(`POST / HTTP/1.0\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n${chunked('x')}`)
    t.equal((await client.response()).status, 400)
  })
})

t.test('HTTP/1.0 upstream', { skip: HTTP1_BOTH }, async (t) => {
  await t.test(
    'a body until the end of the connection becomes chunks for an HTTP/1.1 client, whose connection goes on',
    async (t) => {
      const client = await connect(t)
      await client.send({ host: 'web' })
      const exchange = await upstream.next()
      await exchange.write('HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\npart')
      const head = await client.responseHead()
      await exchange.write('s')
      exchange.end()
      await client.completed(head)
      t.equal(head.framing, 'chunked')
      t.equal(head.body.toString(), 'parts')
      t.equal((await client.ask({ host: 'web', target: '/fixed' })).body.toString(), 'fixed')
    },
  )
  await t.test('its connection is not used again, even with a length', async (t) => {
    const client = await connect(t)
    await client.send({ host: 'web' })
    const first = await upstream.next()
    await first.write('HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx')
    t.equal((await client.response()).body.toString(), 'x')
    await first.over()
    await client.send({ host: 'web' })
    const second = await upstream.next()
    t.not(second.connection, first.connection)
    await second.answer()
    await client.response()
  })
  await t.test('its version does not reach the client', async (t) => {
    const client = await connect(t)
    await client.send({ host: 'web' })
    await (await upstream.next()).write('HTTP/1.0 204 No Content\r\n\r\n')
    t.equal((await client.response()).version, 'HTTP/1.1')
  })
})

t.test('HEAD, 204 and 304', async (t) => {
  const client = await connect(t)
  const rows: readonly [method: string, answer: string, expected: Readonly<Record<string, string | undefined>>][] = [
    ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n', { 'content-length': '12' }],
    [
      'HEAD',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      { 'transfer-encoding': DOWNSTREAM === 'http1' ? 'chunked' : undefined, 'content-length': undefined },
    ],
    ['HEAD', 'HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n', { 'content-length': '3' }],
    ['GET', 'HTTP/1.1 204 No Content\r\n\r\n', { 'content-length': undefined, 'transfer-encoding': undefined }],
    ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: "a"\r\n\r\n', { etag: '"a"' }],
    ['GET', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', { 'content-length': '0' }],
  ]
  for (const [method, answer, expected] of rows) {
    await client.send({ method, host: 'web' })
    await (await upstream.next()).write(answer)
    const response = await client.response()
    t.equal(response.body.length, 0, answer)
    for (const [name, value] of Object.entries(expected)) t.equal(header(response, name), value, `${method} ${answer}: ${name}`)
  }
  await client.send({ host: 'web' })
  await (await upstream.next()).answer({ body: 'in step' })
  t.equal((await client.response()).body.toString(), 'in step')
})

t.test('trailers pass in both directions, also many and split', async (t) => {
  const client = await connect(t)
  client.expectMethod('POST')
  await client.writeBytewise(
    'POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTrailer: X-A, X-B\r\n\r\n1\r\nx\r\n0\r\nX-A: 1\r\nx-b:  2 \r\n\r\n',
  )
  const exchange = await upstream.next()
  await exchange.body()
  t.same(
    exchange.request.trailers,
    spelt([
      ['X-A', '1'],
      ['x-b', '2'],
    ]),
  )
  exchange.answered = true
  await exchange.trickle('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\nGrpc-Status: 0\r\nX-Z: z\r\n\r\n')
  t.same(
    (await client.response()).trailers,
    spelt([
      ['Grpc-Status', '0'],
      ['X-Z', 'z'],
    ]),
  )
})

t.test('Expect: 100-continue and an upstream that answers without 100', async (t) => {
  await t.test('finally, after the body', async (t) => {
    const client = await connect(t)
    client.expectMethod('POST')
    await client.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n')
    const exchange = await upstream.next()
    // A client may go on without having heard (RFC 9110 §10.1.1).
    await client.write('body')
    t.equal((await exchange.body()).toString(), 'body')
    await exchange.answer({ body: 'done' })
    const response = await client.response()
    t.same([response.status, response.informational.length], [200, 0])
  })
  await t.test('an unknown expectation: 417', async (t) => {
    t.equal((await askAny(t, proxy.port(), { host: 'web', target: '/e', headers: { Expect: 'more' } })).status, 417)
    t.match(await proxy.logged({ path: '/e' }), { response_code: 417 })
  })
})

t.test('an answer before the end of the request', async (t) => {
  await t.test(
    'that is complete ends the connection, and the rest of the request is not taken for another one',
    { skip: HTTP1_ONLY },
    async (t) => {
      const client = await connect(t)
      client.expectMethod('POST')
      await client.write('POST /early HTTP/1.1\r\nHost: web\r\nContent-Length: 1000\r\n\r\npart')
      const exchange = await upstream.next()
      await exchange.bodyBytes(4)
      await exchange.answerEarly({ status: 403, body: 'no' })
      t.equal((await client.response()).status, 403)
      await client.write('GET /fixed HTTP/1.1\r\nHost: web\r\n\r\n')
      await client.closed()
      t.equal(client.responses.length, 1)
      await exchange.over()
      t.match(await proxy.logged({ path: '/early' }), {
        response_code: 403,
        response_code_details: 'via_upstream',
        // Over HTTP/2 the end of the answer may come behind its last byte: what the client sends until then is its body.
        bytes_received: UPSTREAM === 'http2' ? Number : 4,
      })
    },
  )
  await t.test('that streams while the request goes on: both go on', async (t) => {
    const client = await connect(t)
    client.expectMethod('POST')
    await client.write('POST /both HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n')
    const exchange = await upstream.next()
    await exchange.bodyBytes(3)
    await exchange.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\neins\r\n')
    const response = await client.responseHead()
    await client.until('the first chunk', () => response.body.toString() === 'eins')
    await client.write('3\r\ntwo\r\n')
    await exchange.bodyBytes(6)
    await exchange.write('4\r\nzwei\r\n')
    await client.until('the second chunk', () => response.body.toString() === 'einszwei')
    await client.write('0\r\n\r\n')
    t.equal((await exchange.body()).toString(), 'onetwo')
    await exchange.write('0\r\n\r\n')
    await client.completed(response)
    t.equal((await client.ask({ host: 'web', target: '/fixed' })).body.toString(), 'fixed', 'the connection goes on')
  })
})

t.test('a client that ends its side', { skip: HTTP1_ONLY }, async (t) => {
  await t.test('after a complete request is answered', async (t) => {
    const client = await RawClient.connect(t, proxy.port())
    await client.send({ method: 'POST', host: 'web', body: 'all' })
    client.end()
    const exchange = await upstream.next()
    await exchange.answer({ body: 'still here' })
    t.equal((await client.response()).body.toString(), 'still here')
    t.equal(await client.closed(), 'end')
  })
  await t.test('in the middle of a request is gone: DC, and the upstream request is cancelled', async (t) => {
    const client = await RawClient.connect(t, proxy.port())
    await client.write('POST /half HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nhalf')
    const exchange = await upstream.next()
    await exchange.bodyBytes(4)
    client.end()
    await exchange.over()
    t.match(await proxy.logged({ path: '/half' }), {
      response_code: 0,
      response_flags: 'DC',
      response_code_details: 'downstream_remote_disconnect',
    })
  })
  await t.test('with http1.halfClose abort is gone: DC', async (t) => {
    const strict = await startProxy(t, { resources: resources(), bootstrap: { http1: { halfClose: 'abort' } } })
    const client = await RawClient.connect(t, strict.port())
    await client.send({ host: 'web', target: '/abort' })
    const exchange = await upstream.next()
    client.end()
    await exchange.over()
    t.match(await strict.logged({ path: '/abort' }), { response_code: 0, response_flags: 'DC' })
  })
})

t.test('a client that goes away cancels its request at the upstream', async (t) => {
  await t.test('before the answer', async (t) => {
    const client = await connect(t)
    await client.send({ host: 'web', target: '/gone' })
    const exchange = await upstream.next()
    client.reset()
    await exchange.over()
    t.match(await proxy.logged({ path: '/gone' }), { response_code: 0, response_flags: 'DC', bytes_sent: 0 })
  })
  await t.test('in the middle of the answer', async (t) => {
    const client = await connect(t)
    await client.send({ host: 'web', target: '/gone-later' })
    const exchange = await upstream.next()
    await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome')
    await client.responseHead()
    client.reset()
    await exchange.over()
    t.match(await proxy.logged({ path: '/gone-later' }), { response_code: 200, response_flags: 'DC' })
  })
})

t.test('what an upstream may not say', { skip: HTTP1_UPSTREAM_ONLY }, async (t) => {
  const rows: readonly [what: string, bytes: string, status: number, flags: string][] = [
    ['no HTTP', 'SSH-2.0-OpenSSH_9\r\n\r\n', 502, 'UPE'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx', 502, 'UPE'],
    ['length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 502, 'UPE'],
    ['an unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n', 502, 'UPE'],
  ]
  for (const [what, bytes, status, flags] of rows) {
    const target = `/${what.replaceAll(' ', '-')}`
    const asked = askAny(t, proxy.port(), { host: 'web', target })
    await (await upstream.next()).write(bytes)
    const answer = await asked
    t.equal(answer.status, status, what)
    t.equal(answer.body.toString(), 'upstream connect error or disconnect/reset before headers. reset reason: protocol error')
    t.match(await proxy.logged({ path: target }), { response_flags: flags })
  }
})

t.test(
  'bytes behind a complete answer poison nobody: the connection is not used again',
  { skip: HTTP1_UPSTREAM_ONLY },
  async (t) => {
    const client = await connect(t)
    await client.send({ host: 'web' })
    const exchange = await upstream.next()
    await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison')
    t.equal((await client.response()).body.toString(), 'ok')
    await exchange.over()
    await client.send({ host: 'web' })
    await (await upstream.next()).answer({ body: 'clean' })
    t.equal((await client.response()).body.toString(), 'clean')
  },
)

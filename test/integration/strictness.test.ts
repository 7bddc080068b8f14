// Requests that two parsers could read in two ways are refused, whole or byte by byte, and nothing of them reaches an upstream.
import t from 'tap'
import { service, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'

/** [what is wrong, the bytes, status] */
const BAD: readonly (readonly [string, string, number])[] = [
  [
    'Content-Length and Transfer-Encoding',
    'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  ['two lengths that differ', 'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', 400],
  ['a list of lengths', 'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2, 2\r\n\r\nab', 400],
  ['a signed length', 'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: +2\r\n\r\nab', 400],
  ['a hexadecimal length', 'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0x2\r\n\r\nab', 400],
  ['a blank before the colon', 'GET / HTTP/1.1\r\nHost : web\r\n\r\n', 400],
  ['obs-fold', 'GET / HTTP/1.1\r\nHost: web\r\nX: a\r\n b\r\n\r\n', 400],
  ['bare LF', 'GET / HTTP/1.1\nHost: web\n\n', 400],
  ['bare CR in a value', 'GET / HTTP/1.1\r\nHost: web\r\nX: a\rb\r\n\r\n', 400],
  ['NUL in a value', 'GET / HTTP/1.1\r\nHost: web\r\nX: a\0b\r\n\r\n', 400],
  ['two Hosts', 'GET / HTTP/1.1\r\nHost: web\r\nHost: other\r\n\r\n', 400],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ['two blanks in the request line', 'GET  / HTTP/1.1\r\nHost: web\r\n\r\n', 400],
  ['a tab in the request line', 'GET\t/ HTTP/1.1\r\nHost: web\r\n\r\n', 400],
  ['chunked not last', 'POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n', 501],
  [
    'chunked twice',
    'POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    501,
  ],
  ['identity', 'POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: identity\r\n\r\n', 501],
  ['chunked under HTTP/1.0', 'POST / HTTP/1.0\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
  ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400],
]

/** Bodies that break after a good head: the request has begun, so that all there is to do is to cut it. */
const BAD_CHUNKS: readonly (readonly [string, string])[] = [
  ['a size that is no number', 'xyz\r\nabc\r\n0\r\n\r\n'],
  ['a size with a sign', '+3\r\nabc\r\n0\r\n\r\n'],
  ['a chunk longer than its size', '2\r\nabc\r\n0\r\n\r\n'],
  ['bare LF after the size', '3\nabc\r\n0\r\n\r\n'],
  ['bare LF after the data', '3\r\nabc\n0\r\n\r\n'],
  ['a size beyond 53 bits', 'fffffffffffffffff\r\nabc\r\n0\r\n\r\n'],
]

let upstream: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t, (ex) => ex.answer({ body: 'served' }))
  proxy = await startProxy(t, { resources: yaml(service({ host: 'web', endpoints: [upstream] })) })
})

t.test('a bad head is answered and the connection closed', async (t) => {
  for (const [what, bytes, status] of BAD) {
    const before = upstream.exchanges.length
    for (const bytewise of [false, true]) {
      const client = await RawClient.connect(t, proxy.port())
      // What follows must not be taken for a request of its own.
      const smuggled = `${bytes}GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n`
      const written = bytewise ? client.writeBytewise(smuggled) : client.write(smuggled)
      await client.closed()
      await written
      t.equal(client.responses[0]?.status, status, `${what}${bytewise ? ', byte by byte' : ''}`)
      t.equal(client.responses.length, 1, `${what}: one answer`)
      client.destroy()
    }
    t.equal(upstream.exchanges.length, before, `${what}: nothing reached the upstream`)
  }
})

t.test('a bad chunk ends the request on both sides', async (t) => {
  for (const [what, body] of BAD_CHUNKS) {
    const client = await RawClient.connect(t, proxy.port())
    const before = upstream.exchanges.length
    await client.write(
      `POST /chunks HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n${body}GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n`,
    )
    await client.closed()
    const began = upstream.exchanges.slice(before)
    t.notOk(
      began.some((e) => e.request.complete || e.request.target === '/smuggled'),
      `${what}: no complete request reached the upstream`,
    )
    t.not(client.responses[0]?.status, 200, what)
    client.destroy()
  }
})

t.test('what a client may send after all', async (t) => {
  const good: readonly (readonly [string, string])[] = [
    ['empty lines before the request line (RFC 9112 §2.2)', '\r\nGET / HTTP/1.1\r\nHost: web\r\n\r\n'],
    ['chunk extensions', 'POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n'],
    [
      'chunk sizes with leading zeros',
      'POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n003\r\nabc\r\n000\r\n\r\n',
    ],
    ['an absolute target', 'GET http://web/ HTTP/1.1\r\nHost: web\r\n\r\n'],
    ['obs-text in a value', 'GET / HTTP/1.1\r\nHost: web\r\nX: caf\xe9\r\n\r\n'],
  ]
  for (const [what, bytes] of good) {
    const client = await RawClient.connect(t, proxy.port())
    await client.write(bytes)
    t.equal((await client.response()).status, 200, what)
  }
})

// Requests one after the other on one connection, answered in order whoever answers them (RFC 9112 §9.3).
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { flood } from '../support/flood.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'

let echo: EchoUpstream
let scripted: Upstream
let proxy: HeddleProcess

t.before(async () => {
  echo = await EchoUpstream.start(t)
  scripted = await Upstream.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'echo', endpoints: [echo] }),
      service({ host: 'scripted', endpoints: [scripted] }),
      service({ host: 'strict', endpoints: [echo] }),
      virtualService(
        'strict',
        ['strict'],
        [{ match: [{ uri: { exact: '/only' } }], route: [{ destination: { host: 'strict' } }] }],
      ),
      virtualService(
        'echo',
        ['echo'],
        [
          { match: [{ uri: { exact: '/fixed' } }], directResponse: { status: 203, body: { string: 'fixed' } } },
          { match: [{ uri: { exact: '/moved' } }], redirect: { uri: '/there' } },
          { route: [{ destination: { host: 'echo' } }] },
        ],
      ),
    ),
  })
})

t.beforeEach(() => scripted.startAfresh())

t.test('50 requests sent at once, some answered here and some forwarded, are answered in order', async (t) => {
  const kinds = ['forwarded', 'fixed', 'posted', 'moved', 'unknown', 'head'] as const
  const plan = Array.from({ length: 50 }, (_, i) => kinds[(i * 7 + (i >> 2)) % kinds.length] as (typeof kinds)[number])
  const text = plan.map((kind, i) => {
    const id = `X-Request-Id: n${i}\r\n`
    switch (kind) {
      case 'forwarded':
        return `GET /echo/${i} HTTP/1.1\r\nHost: echo\r\n${id}\r\n`
      case 'fixed':
        return `GET /fixed HTTP/1.1\r\nHost: echo\r\n${id}\r\n`
      case 'moved':
        return `GET /moved HTTP/1.1\r\nHost: echo\r\n${id}\r\n`
      case 'unknown':
        return `GET /${i} HTTP/1.1\r\nHost: strict\r\n${id}\r\n`
      case 'head':
        return `HEAD /echo/${i} HTTP/1.1\r\nHost: echo\r\n${id}\r\n`
      default: {
        const body = `body of ${i}`
        return i % 2 === 0
          ? `POST /echo/${i} HTTP/1.1\r\nHost: echo\r\n${id}Content-Length: ${body.length}\r\n\r\n${body}`
          : `POST /echo/${i} HTTP/1.1\r\nHost: echo\r\n${id}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
      }
    }
  })
  for (const way of ['at once', 'split'] as const) {
    const client = await RawClient.connect(t, proxy.port())
    for (const kind of plan) client.expectMethod(kind === 'head' ? 'HEAD' : kind === 'posted' ? 'POST' : 'GET')
    const bytes = text.join('')
    if (way === 'at once') await client.write(bytes)
    else
      await client.writeSplit(
        bytes,
        Array.from({ length: Math.floor(bytes.length / 97) }, (_, i) => (i + 1) * 97),
      )
    for (const [i, kind] of plan.entries()) {
      const r = await client.response()
      const what = `${way}: ${i} ${kind}`
      switch (kind) {
        case 'fixed':
          t.equal(`${r.status} ${r.body}`, '203 fixed', what)
          break
        case 'moved':
          t.equal(`${r.status} ${header(r, 'location')}`, '301 http://echo/there', what)
          break
        case 'unknown':
          t.equal(r.status, 404, what)
          break
        case 'head':
          t.equal(`${r.status} ${header(r, 'x-upstream')} ${r.body.length}`, '200 echo 0', what)
          break
        default: {
          const seen = JSON.parse(r.body.toString()) as { target: string; body: string }
          t.same([seen.target, seen.body], [`/echo/${i}`, kind === 'posted' ? `body of ${i}` : ''], what)
        }
      }
    }
  }
})

t.test('the answer to the first is awaited although the second would be quicker', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.write('GET /slow HTTP/1.1\r\nHost: scripted\r\n\r\nGET /fixed HTTP/1.1\r\nHost: echo\r\n\r\n')
  const exchange = await scripted.next()
  t.equal(client.responses.length, 0, 'nothing before the first')
  await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl')
  const first = await client.responseHead()
  await exchange.write('ow')
  await client.completed(first)
  t.equal(first.body.toString(), 'slow')
  t.equal((await client.response()).body.toString(), 'fixed')
})

t.test('pipelined requests that wait take bounded memory: reading stops', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.write('GET /first HTTP/1.1\r\nHost: scripted\r\n\r\n')
  const exchange = await scripted.next()
  const piece = Buffer.from('GET /fixed HTTP/1.1\r\nHost: echo\r\n\r\n'.repeat(4000))
  const taken = await flood(client, piece, 64 * 1024 * 1024)
  t.ok(taken < 32 * 1024 * 1024, `no more than the kernels hold: ${taken} bytes`)
  await exchange.answer({ body: 'first' })
  t.equal((await client.response()).body.toString(), 'first')
  client.destroy()
})

t.test('connections are kept on both sides over many requests', async (t) => {
  const before = scripted.connections.length
  const client = await RawClient.connect(t, proxy.port())
  for (let i = 0; i < 20; i++) {
    await client.send({ host: 'scripted', target: `/${i}` })
    await (await scripted.next()).answer({ body: String(i) })
    t.equal((await client.response()).body.toString(), String(i))
  }
  t.ok(scripted.connections.length - before <= 1)
})

t.test('`connection: close` of the client is obeyed and not forwarded', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'scripted', headers: { Connection: 'close' } })
  const exchange = await scripted.next()
  t.equal(header(exchange.request, 'connection'), undefined)
  await exchange.answer({ body: 'x' })
  const response = await client.response()
  t.equal(header(response, 'connection'), 'close')
  t.equal(await client.closed(), 'end')
  t.equal(exchange.connection.closedBy, null, 'the upstream connection is kept')
})

t.test('what follows a request with `connection: close` is not answered', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.write('GET /fixed HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\nGET /fixed HTTP/1.1\r\nHost: echo\r\n\r\n')
  await client.closed()
  t.equal(client.responses.length, 1)
})

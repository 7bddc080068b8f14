// What one client or one upstream may cost: header bytes, connections, time, memory. Each limit is small here, so that it is met.
import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { flood } from '../support/flood.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'
import { HTTP1_ONLY } from '../support/versions.ts'

const MIB = 1024 * 1024
const ALL = 100 * MIB
const PIECE = Buffer.alloc(64 * 1024, 'p')

async function proxyWith(
  t: Test,
  limits: Readonly<Record<string, unknown>>,
): Promise<{ proxy: HeddleProcess; upstream: Upstream }> {
  const upstream = await Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'fixed', endpoints: [upstream] }),
      virtualService('fixed', ['fixed'], [{ directResponse: { status: 200, body: { string: 'x'.repeat(64 * 1024) } } }]),
    ),
    bootstrap: { limits },
  })
  return { proxy, upstream }
}

t.test('header sections', { skip: HTTP1_ONLY }, async (t) => {
  const { proxy, upstream } = await proxyWith(t, { maxHeaders: 20, maxHeaderBytes: '2KiB' })
  const ask = async (head: string) => {
    const client = await connectAny(t, proxy.port())
    await client.write(head)
    const { status } = await client.response()
    await client.closed()
    const line = await proxy.logged({ downstream_remote_address: client.localAddress })
    client.destroy()
    return [status, line['response_flags'], line['response_code_details']]
  }
  const get = (fields: string) => `GET / HTTP/1.1\r\nHost: web\r\n${fields}\r\n`
  t.same(await ask(get('X: y\r\n'.repeat(20))), [431, 'DPE', 'http1.too_many_headers'], 'one field too many')
  t.same(await ask(get(`X: ${'y'.repeat(2048)}\r\n`)), [431, 'DPE', 'http1.headers_too_large'], 'too many bytes')
  t.same(await ask(`GET /${'y'.repeat(4096)}`), [431, 'DPE', 'http1.headers_too_large'], 'a target without an end')
  t.same(await ask(`GET / HTTP/1.1\r\n${'y'.repeat(4096)}`), [431, 'DPE', 'http1.headers_too_large'], 'a name without an end')
  t.equal(upstream.exchanges.length, 0, 'nothing reached the upstream')
  const client = await connectAny(t, proxy.port())
  await client.write(get('X: y\r\n'.repeat(19)))
  await (await upstream.next()).answer({})
  t.equal((await client.response()).status, 200, 'as many fields as are allowed')
})

t.test('time', async (t) => {
  const { proxy, upstream } = await proxyWith(t, {
    headerTimeout: '300ms',
    connectionIdleTimeout: '500ms',
    streamIdleTimeout: '500ms',
  })
  await t.test('a head that is never complete: 408, whatever trickles in', { skip: HTTP1_ONLY }, async (t) => {
    for (const drip of [false, true]) {
      const client = await connectAny(t, proxy.port())
      await client.write('GET / HTTP/1.1\r\nHost: web\r\nX: ')
      while (drip && client.closedBy === null && client.responses.length === 0) await client.writeBytewise('aaaaa')
      const answer = await client.response()
      t.equal(answer.status, 408)
      t.equal(header(answer, 'connection'), 'close')
      await client.closed()
      const line = await proxy.logged({ downstream_remote_address: client.localAddress })
      t.equal(line['response_code_details'], 'request_header_timeout')
      client.destroy()
    }
  })
  await t.test('a second head on the same connection has a limit too', { skip: HTTP1_ONLY }, async (t) => {
    const client = await connectAny(t, proxy.port())
    await client.send({ host: 'fixed' })
    t.equal((await client.response()).status, 200)
    await client.write('GET')
    t.equal((await client.response()).status, 408)
    await client.closed()
  })
  await t.test('half an empty line before a request is the begin of one', { skip: HTTP1_ONLY }, async (t) => {
    const client = await connectAny(t, proxy.port())
    await client.write('\r')
    t.equal((await client.response()).status, 408)
  })
  await t.test('an idle connection ends without a word', { skip: HTTP1_ONLY }, async (t) => {
    const fresh = await RawClient.connect(t, proxy.port())
    const used = await RawClient.connect(t, proxy.port())
    await used.send({ host: 'fixed' })
    await used.response()
    const { length } = used.received
    t.equal(await fresh.closed(), 'end')
    t.equal(await used.closed(), 'end')
    t.equal(fresh.received.length, 0)
    t.equal(used.received.length, length)
  })
  await t.test('a body that stops coming: 408 SI', async (t) => {
    const client = await connectAny(t, proxy.port())
    await client.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nabc')
    const exchange = await upstream.next()
    t.equal((await client.response()).status, 408)
    await exchange.over()
    t.equal((await proxy.logged({ downstream_remote_address: client.localAddress }))['response_flags'], 'SI')
  })
  await t.test('an upstream that says nothing: 504 SI', async (t) => {
    const client = await connectAny(t, proxy.port())
    await client.send({ host: 'web' })
    const exchange = await upstream.next()
    t.equal((await client.response()).status, 504)
    await exchange.over()
    t.equal((await proxy.logged({ downstream_remote_address: client.localAddress }))['response_flags'], 'SI')
  })
})

t.test('connections', { skip: HTTP1_ONLY }, async (t) => {
  const { proxy } = await proxyWith(t, { maxConnections: 2, maxRequestsPerConnection: 2 })
  const one = await RawClient.connect(t, proxy.port())
  const two = await RawClient.connect(t, proxy.port())
  await one.ask({ host: 'fixed' })
  await two.ask({ host: 'fixed' })
  const three = await RawClient.connect(t, proxy.port())
  await three.closed()
  t.equal(three.received.length, 0, 'one too many is closed at once')
  const last = await one.ask({ host: 'fixed' })
  t.equal(header(last, 'connection'), 'close', 'the last request of a connection is told')
  await one.closed()
  one.destroy()
  await proxy.logged({ downstream_remote_address: one.localAddress })
  let served = false
  for (let i = 0; i < 500 && !served; i++) {
    const again = await RawClient.connect(t, proxy.port())
    await again.send({ host: 'fixed' })
    served = await again.response().then(
      () => true,
      () => false,
    )
    again.destroy()
  }
  t.ok(served, 'a place that was given up is taken again')
  t.equal((await two.ask({ host: 'fixed' })).status, 200, 'the others were not disturbed')
})

/** Resident bytes of the whole process. */
function rss(proxy: HeddleProcess): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${proxy.pid}/status`, 'utf8'))?.[1]) * 1024
}

t.test('memory', { skip: process.platform === 'linux' ? false : 'reads /proc' }, async (t) => {
  const { proxy, upstream } = await proxyWith(t, {})
  const warm = await connectAny(t, proxy.port())
  await warm.ask({ host: 'fixed' })
  const before = rss(proxy)
  /** What is there anyway for garbage and blocks; a tenth of what comes if nobody stops it. */
  const GROWTH = 40 * MIB
  await t.test('100 MiB to an upstream that does not read', async (t) => {
    const client = await connectAny(t, proxy.port())
    await client.write(`POST / HTTP/1.1\r\nHost: web\r\nContent-Length: ${ALL}\r\n\r\n`)
    const exchange = await upstream.next()
    exchange.pause()
    t.ok((await flood(client, PIECE, ALL)) < ALL, 'the client is stopped')
    t.ok(rss(proxy) - before < GROWTH, `grown by ${(rss(proxy) - before) >> 20} MiB`)
    client.destroy()
    exchange.connection.destroy()
  })
  await t.test('100 MiB to a client that does not read', async (t) => {
    const client = await connectAny(t, proxy.port())
    client.pause()
    await client.send({ host: 'web' })
    const exchange = await upstream.next()
    await exchange.write(`HTTP/1.1 200 OK\r\nContent-Length: ${ALL}\r\n\r\n`)
    t.ok((await flood(exchange, PIECE, ALL)) < ALL, 'the upstream is stopped')
    t.ok(rss(proxy) - before < GROWTH, `grown by ${(rss(proxy) - before) >> 20} MiB`)
    client.destroy()
    exchange.connection.destroy()
  })
  await t.test('10000 requests of a client that reads no answer', { skip: HTTP1_ONLY }, async (t) => {
    const client = await RawClient.connect(t, proxy.port())
    client.pause()
    const asked = 10000
    const batch = Buffer.from('GET / HTTP/1.1\r\nHost: fixed\r\n\r\n'.repeat(100))
    const completed = async () => {
      const samples = (await proxy.metrics()).find('envoy_http_downstream_rq_completed')
      return samples.reduce((sum, s) => sum + s.value, 0)
    }
    const first = await completed()
    await flood(client, batch, batch.length * (asked / 100))
    // Its bytes come in a few reads; so many turns later they have been looked at.
    for (let i = 0; i < 50; i++) await warm.ask({ host: 'fixed' })
    const served = (await completed()) - first - 50
    t.ok(served > 0 && served < asked / 4, `answers are not made ahead: ${served}`)
    t.ok(rss(proxy) - before < 2 * GROWTH, `grown by ${(rss(proxy) - before) >> 20} MiB`)
    client.resume()
    for (let i = 0; i < served + 50; i++) await client.response()
    t.pass('once it reads it is served on')
    client.destroy()
  })
})

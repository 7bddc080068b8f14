// HTTP/2 by Upgrade (RFC 7540 §3.2): a request of HTTP/1.1 becomes stream 1 of its connection, and nothing of the offer goes further than this hop.
import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { within } from '../support/eventually.ts'
import { type HeaderPair, header, headerValues } from '../support/h1-reader.ts'
import { block, END, type Frame, frame, frames, PREFACE, settings, told, u32, WHOLE } from '../support/http2-frames.ts'
import { pseudo } from '../support/http2-wire.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient, requestBytes } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'

let upstream: Upstream
let echo: EchoUpstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t)
  echo = await EchoUpstream.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'echo', endpoints: [echo] }),
      service({ host: 'web', endpoints: [upstream] }),
      virtualService(
        'web',
        ['web'],
        [
          { match: [{ uri: { prefix: '/direct' } }], directResponse: { status: 418, body: { string: 'short and stout' } } },
          { match: [{ headers: { 'x-version': { exact: 'one' } } }], directResponse: { status: 404 } },
          { match: [{ headers: { 'x-version': { exact: 'two' } } }], route: [{ destination: { host: 'web' } }], name: 'two' },
          { route: [{ destination: { host: 'web' } }] },
        ],
      ),
    ),
    listeners: [{ name: 'out' }, { name: 'one', protocol: 'http1' }],
  })
})

t.beforeEach(() => upstream.startAfresh())

const seen = (target: string) => upstream.exchanges.filter((e) => e.request.target === target).length

/** SETTINGS_MAX_CONCURRENT_STREAMS 100, SETTINGS_INITIAL_WINDOW_SIZE 65535. */
const SETTINGS = 'AAMAAABkAAQAAP__'
const OFFER: readonly HeaderPair[] = [
  ['Connection', 'Upgrade, HTTP2-Settings'],
  ['Upgrade', 'h2c'],
  ['HTTP2-Settings', SETTINGS],
]

/** Of the client's side: what it has to send behind the 101. */
const GREETING = Buffer.concat([PREFACE, settings(), frame('SETTINGS', END, 0)])

interface Upgraded {
  readonly client: RawClient
  /** Frames that came behind the 101. */
  frames(): Frame[]
  until(what: string): Promise<void>
}

/** Asks, and waits for the 101. */
async function upgrade(t: Teardown, bytes: Buffer): Promise<Upgraded> {
  const client = await RawClient.connect(t, proxy.port('out'))
  await client.write(bytes)
  return switched(client)
}

async function switched(client: RawClient): Promise<Upgraded> {
  await client.until('a 101', () => client.text.includes('\r\n\r\n'))
  const from = client.text.indexOf('HTTP/1.1 101 ')
  if (from < 0) throw new Error(`no 101: ${client.text}`)
  const head = client.text.slice(from, client.text.indexOf('\r\n\r\n', from))
  t.equal(head.toLowerCase(), 'http/1.1 101 switching protocols\r\nconnection: upgrade\r\nupgrade: h2c')
  const all = () => frames(client.received.subarray(from + head.length + 4))
  return {
    client,
    frames: all,
    until: (what) => client.until(what, () => all().map(told).includes(what)),
  }
}

const offer = (more: readonly HeaderPair[] = [], rest: { method?: string; target?: string; host?: string } = {}) =>
  requestBytes({ host: 'web', ...rest, headers: [...OFFER, ...more] })

t.test('the request is stream 1, and the connection goes on as HTTP/2', async (t) => {
  const h2 = await upgrade(
    t,
    offer(
      [
        ['X-Version', 'two'],
        ['Cookie', 'a=b'],
      ],
      { target: '/one?x=y' },
    ),
  )
  await h2.client.write(GREETING)
  const exchange = await upstream.next()
  const { request } = exchange
  t.equal(request.startLine, 'GET /one?x=y HTTP/1.1')
  t.same(headerValues(request, 'host'), ['web'])
  t.same(headerValues(request, 'x-version'), ['two'])
  t.same(headerValues(request, 'cookie'), ['a=b'])
  for (const name of ['upgrade', 'http2-settings', 'connection']) t.equal(header(request, name), undefined, name)
  await exchange.answer({ body: 'first' })
  await h2.until('DATA 1 5 end')
  await h2.client.write(frame('HEADERS', END | WHOLE, 3, block(...pseudo('GET', '/two', 'web'))))
  await (await upstream.next()).answer({ body: 'second!' })
  await h2.until('DATA 3 7 end')
  t.equal(h2.frames()[0]?.type, 'SETTINGS', 'the server begins with SETTINGS (RFC 7540 §3.2)')
  t.match(await proxy.logged({ path: '/one?x=y' }), { protocol: 'HTTP/2', response_code: 200, route_name: 'two' })
  t.match(await proxy.logged({ path: '/two' }), { protocol: 'HTTP/2', response_code: 200 })
})

t.test('explain reads the fields of a request that became a stream, and of any other stream', async (t) => {
  const h2 = await upgrade(
    t,
    offer(
      [
        ['X-Version', 'two'],
        ['X-Request-Id', 'up-1'],
      ],
      { target: '/explained' },
    ),
  )
  await h2.client.write(
    Buffer.concat([
      GREETING,
      frame(
        'HEADERS',
        END | WHOLE,
        3,
        block(...pseudo('GET', '/explained', 'web'), ['x-version', 'two'], ['x-request-id', 'up-3']),
      ),
    ]),
  )
  for (const id of ['up-1', 'up-3']) {
    await (await upstream.next()).answer({ body: 'x' })
    await proxy.logged({ request_id: id })
    t.match(JSON.stringify(await proxy.explain(id)), /headers\[x-version\]: seen [^,]*two[^,]*, wanted exact [^,]*one/, id)
  }
})

t.test('an answer of our own needs nothing more of the client', async (t) => {
  const h2 = await upgrade(t, offer([], { target: '/direct' }))
  await h2.until('DATA 1 15 end')
  await h2.client.write(GREETING)
  await h2.until('SETTINGS ack')
})

t.test('HEAD, OPTIONS, a request behind another one, and bytes split anywhere', async (t) => {
  const head = await upgrade(t, offer([], { method: 'HEAD', target: '/direct' }))
  await head.until('HEADERS 1 end')
  const client = await RawClient.connect(t, proxy.port('out'))
  await client.send({ host: 'web', target: '/before' })
  await (await upstream.next()).answer({ body: 'over HTTP/1.1' })
  await client.response()
  await client.write(offer([], { method: 'OPTIONS', target: '/behind' }))
  await client.until('a 101', () => client.text.includes('HTTP/1.1 101'))
  const behind = await switched(client)
  const exchange = await upstream.next()
  t.equal(exchange.request.startLine, 'OPTIONS /behind HTTP/1.1')
  await exchange.answer({ body: 'x' })
  await behind.until('DATA 1 1 end')
  const split = await RawClient.connect(t, proxy.port('out'))
  for (const byte of Buffer.concat([offer([], { target: '/direct' }), GREETING])) await split.write(Buffer.from([byte]))
  const whole = await switched(split)
  await whole.until('DATA 1 15 end')
  await whole.until('SETTINGS ack')
})

t.test("the client's SETTINGS of the offer hold for stream 1", async (t) => {
  // SETTINGS_INITIAL_WINDOW_SIZE 4
  const small = Buffer.concat([Buffer.from([0, 4]), u32(4)]).toString('base64url')
  const h2 = await upgrade(
    t,
    requestBytes({ host: 'web', target: '/direct', headers: [...OFFER.slice(0, 2), ['HTTP2-Settings', small]] }),
  )
  await h2.until('DATA 1 4')
  await h2.client.write(
    Buffer.concat([PREFACE, settings([4, 4]), frame('SETTINGS', END, 0), frame('WINDOW_UPDATE', 0, 1, u32(100))]),
  )
  await h2.until('DATA 1 11 end')
})

t.test('what is sent behind the request has to be HTTP/2', async (t) => {
  const smuggled = requestBytes({ host: 'web', target: '/smuggled' })
  for (const bytes of [smuggled, Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n')]) {
    const h2 = await upgrade(t, Buffer.concat([offer([], { target: '/direct' }), bytes]))
    await h2.client.closed()
    t.match(h2.frames().map(told).at(-1), /^GOAWAY last 1 code 1$/)
  }
  t.equal(seen('/smuggled'), 0)
})

// Each is served over HTTP/1.1, and the offer ends here (RFC 9110 §7.8: a server may ignore Upgrade).
const IGNORED: readonly (readonly [string, readonly HeaderPair[]])[] = [
  ['no HTTP2-Settings', OFFER.slice(0, 2)],
  ['HTTP2-Settings twice', [...OFFER, ['HTTP2-Settings', SETTINGS]]],
  ['settings that are not base64url', [...OFFER.slice(0, 2), ['HTTP2-Settings', 'AAMAAABk/AQAAP==']]],
  ['settings cut off', [...OFFER.slice(0, 2), ['HTTP2-Settings', 'AAMAAA']]],
  ['a setting with a value that it may not have', [...OFFER.slice(0, 2), ['HTTP2-Settings', 'AAQAgAAAAA']]],
  ['Connection does not name HTTP2-Settings', [['Connection', 'Upgrade'], ...OFFER.slice(1)]],
  ['Connection does not name Upgrade', [['Connection', 'HTTP2-Settings'], ...OFFER.slice(1)]],
  ['the last request of its connection', [...OFFER, ['Connection', 'close']]],
  ['one that came through a proxy: X-Forwarded-For', [...OFFER, ['X-Forwarded-For', '192.0.2.1']]],
  ['one that came through a proxy: Via', [...OFFER, ['Via', '1.1 front']]],
  ['one that came through a proxy: Forwarded', [...OFFER, ['Forwarded', 'for=192.0.2.1']]],
]

t.test('offers that are not taken', async (t) => {
  for (const [what, headers] of IGNORED) {
    await t.test(what, async (t) => {
      const client = await RawClient.connect(t, proxy.port('out'))
      await client.send({ host: 'web', target: '/plain', headers })
      const exchange = await upstream.next()
      for (const name of ['upgrade', 'http2-settings', 'connection']) t.equal(header(exchange.request, name), undefined, name)
      await exchange.answer({ body: 'plain' })
      t.equal((await client.response()).body.toString(), 'plain')
    })
  }
  await t.test('a request with a body', async (t) => {
    const client = await RawClient.connect(t, proxy.port('out'))
    await client.send({ method: 'POST', host: 'web', headers: OFFER, body: 'payload' })
    const exchange = await upstream.next()
    t.equal((await exchange.body()).toString(), 'payload')
    t.equal(header(exchange.request, 'upgrade'), undefined)
    await exchange.answer({ body: 'plain' })
    t.equal((await client.response()).status, 200)
  })
  await t.test('a listener of HTTP/1 only', async (t) => {
    const client = await RawClient.connect(t, proxy.port('one'))
    await client.send({ host: 'web', headers: OFFER })
    const exchange = await upstream.next()
    for (const name of ['upgrade', 'http2-settings', 'connection']) t.equal(header(exchange.request, name), undefined, name)
    await exchange.answer({ body: 'plain' })
    t.equal((await client.response()).status, 200)
  })
  await t.test('HTTP/1.0', async (t) => {
    const client = await RawClient.connect(t, proxy.port('out'))
    await client.send({ host: 'web', version: 'HTTP/1.0', headers: OFFER })
    await (await upstream.next()).answer({ body: 'plain' })
    t.equal((await client.response()).status, 200)
  })
})

t.test('h2c among other protocols, and h2, are refused as any protocol but websocket is', async (t) => {
  for (const protocol of ['h2', 'h2c, websocket', 'websocket, h2c']) {
    const client = await RawClient.connect(t, proxy.port('out'))
    await client.send({
      host: 'web',
      target: '/refused',
      headers: [OFFER[0] as HeaderPair, ['Upgrade', protocol], OFFER[2] as HeaderPair],
    })
    t.equal((await client.response()).status, 403, protocol)
  }
  t.equal(seen('/refused'), 0)
})

t.test('what the request would be refused for over HTTP/1.1 it is refused for over HTTP/2', async (t) => {
  const nominated = await upgrade(
    t,
    requestBytes({
      host: 'web',
      target: '/refused',
      headers: [['Connection', 'Upgrade, HTTP2-Settings, X-Forwarded-Proto'], ...OFFER.slice(1)],
    }),
  )
  await nominated.client.until('an answer', () => nominated.frames().some((f) => f.type === 'HEADERS' && f.id === 1))
  t.match(await proxy.logged({ response_code_details: 'http1.connection_header_rejected' }), {
    response_code: 400,
    protocol: 'HTTP/2',
  })
  t.equal(seen('/refused'), 0)
})

t.test('an upgraded connection is counted once, and gone when it is gone', async (t) => {
  const value = async (name: string) => (await proxy.metrics()).value(`envoy_http_downstream_${name}`) ?? 0
  const before = await value('cx_total')
  const h2 = await upgrade(t, offer([], { target: '/direct' }))
  await h2.until('DATA 1 15 end')
  t.equal((await value('cx_total')) - before, 1)
  t.equal(await value('rq_active'), 0)
  h2.client.destroy()
})

/** A skip that nobody can overlook, or false. */
function missing(tool: string): string | false {
  if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined) return false
  process.stderr.write(`SKIPPED: ${tool} is not installed\n`)
  return `${tool} is not installed`
}

async function run(tool: string, ...args: readonly string[]) {
  const child = spawn(tool, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('latin1').on('data', (d: string) => {
    stdout += d
  })
  child.stderr.setEncoding('latin1').on('data', (d: string) => {
    stderr += d
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  const code = await within(`${tool} ${args.join(' ')}`, ended, 30_000, () => stderr)
  return { code, stdout, stderr }
}

const url = (target: string) => `http://127.0.0.1:${proxy.port('out')}${target}`

t.test('curl --http2', { skip: missing('curl') }, async (t) => {
  const got = await run('curl', '-sSv', '--http2', '-i', '-H', 'Host: echo', url('/curl'), url('/curl-2'))
  t.equal(got.code, 0)
  t.match(got.stdout, /^HTTP\/1\.1 101 Switching Protocols\r\n(.*\r\n)*\r\nHTTP\/2 200 \r\n/)
  t.equal(got.stdout.match(/HTTP\/2 200/g)?.length, 2)
  t.match(got.stderr, /Re-using existing connection/i)
  const body = path.join(proxy.dir, 'body')
  writeFileSync(body, 'x'.repeat(100_000))
  const posted = await run('curl', '-sS', '--http2', '-i', '-H', 'Host: echo', '--data-binary', `@${body}`, url('/curl-post'))
  t.equal(posted.code, 0)
  t.match(posted.stdout, /^HTTP\/1\.1 200 OK\r\n/, 'a request with a body goes on with HTTP/1.1')
})

t.test('nghttp -u', { skip: missing('nghttp') }, async (t) => {
  const got = await run('nghttp', '-nvu', '-H', 'Host: echo', url('/nghttp'))
  t.equal(got.code, 0)
  t.match(got.stdout, /HTTP Upgrade success/)
  t.match(got.stdout, /recv \(stream_id=1\) :status: 200/)
})

// The HTTP/2 codec on real sockets, against implementations that others wrote: Node's (which is nghttp2), and where they are installed curl, nghttp,
// h2load and nginx. What one side says, the other must have understood.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import type net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import * as grpc from '@grpc/grpc-js'
import fc from 'fast-check'
import t from 'tap'
import { CodecClient } from '../suite/h2-client.ts'
import { EchoServer } from '../suite/h2-echo.ts'
import { eventually, within } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'

const BODY = Buffer.alloc(3_000_000)
for (let i = 0; i < BODY.length; i += 4) BODY.writeUInt32LE(i, i)

let echo: EchoServer
t.before(async () => {
  echo = await EchoServer.listen({ extendedConnect: true })
})
t.teardown(() => echo.close())

const has = (tool: string, ...args: string[]) =>
  spawnSync(tool, args.length > 0 ? args : ['--version'], { stdio: 'ignore' }).error === undefined

/** A skip that nobody can overlook, or false. */
function missing(tool: string, ...args: string[]): string | false {
  if (has(tool, ...args)) return false
  process.stderr.write(`SKIPPED: ${tool} is not installed\n`)
  return `${tool} is not installed`
}

async function run(tool: string, args: readonly string[]): Promise<{ code: number | null; stdout: Buffer; stderr: string }> {
  const child = spawn(tool, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const parts: Buffer[] = []
  let stderr = ''
  child.stdout.on('data', (d: Buffer) => parts.push(d))
  child.stderr.setEncoding('utf8').on('data', (d: string) => {
    stderr += d
  })
  const [code] = (await within(`${tool} ${args.join(' ')}`, once(child, 'close'), 30_000)) as [number | null]
  return { code, stdout: Buffer.concat(parts), stderr }
}

interface Reply {
  readonly headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader
  readonly raw: readonly string[]
  readonly body: Buffer
  readonly trailers: http2.IncomingHttpHeaders
  readonly interim: readonly number[]
}

function nodeRequest(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body: Buffer | null = null,
  trailers: http2.OutgoingHttpHeaders | null = null,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === null, waitForTrailers: trailers !== null })
    const parts: Buffer[] = []
    const interim: number[] = []
    let head: Reply['headers'] = {}
    let raw: readonly string[] = []
    let tail: http2.IncomingHttpHeaders = {}
    stream.on('headers', (h: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader) => interim.push(h[':status'] as number))
    stream.on('response', (h, _flags, ...rest: unknown[]) => {
      head = h
      raw = (rest[0] as readonly string[] | undefined) ?? []
    })
    stream.on('trailers', (h) => {
      tail = h
    })
    if (trailers !== null) stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    stream.on('data', (d: Buffer) => parts.push(d))
    stream.on('error', reject)
    stream.on('end', () => resolve({ headers: head, raw, body: Buffer.concat(parts), trailers: tail, interim }))
    if (body !== null) stream.end(body)
  })
}

async function nodeSession(port: number): Promise<http2.ClientHttp2Session> {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  await once(session, 'connect')
  return session
}

t.test('Node as a client', async (t) => {
  const session = await nodeSession(echo.port)
  t.teardown(() => session.close())

  await t.test('requests, with bodies, trailers and interim responses', async (t) => {
    t.equal((await nodeRequest(session, { ':path': '/' })).body.toString(), 'It works over HTTP/2.\n')
    t.ok((await nodeRequest(session, { ':path': '/bytes/5000000' })).body.length === 5_000_000)
    const echoed = await nodeRequest(session, { ':path': '/echo', ':method': 'POST' }, BODY, { 'x-sum': '42' })
    t.ok(echoed.body.equals(BODY))
    t.equal(echoed.trailers['x-sum'], '42')
    t.match((await nodeRequest(session, { ':path': '/trailers' })).trailers, { 'x-checksum': '12345', 'grpc-status': '0' })
    t.same((await nodeRequest(session, { ':path': '/hints' })).interim, [103])
    t.equal((await nodeRequest(session, { ':path': '/status/204' })).headers[':status'], 204)
  })

  await t.test('ninety requests at once', async (t) => {
    const replies = await Promise.all(
      Array.from({ length: 90 }, (_, i) =>
        nodeRequest(session, { ':path': '/echo', ':method': 'POST' }, BODY.subarray(i * 1000, i * 1000 + 30_000)),
      ),
    )
    t.ok(replies.every((r, i) => r.body.equals(BODY.subarray(i * 1000, i * 1000 + 30_000))))
  })

  await t.test('a reset of ours', async (t) => {
    const stream = session.request({ ':path': '/reset' })
    await once(stream, 'close')
    t.equal(stream.rstCode, http2.constants.NGHTTP2_CANCEL)
    t.equal((await nodeRequest(session, { ':path': '/' })).headers[':status'], 200, 'costs its stream alone')
  })

  await t.test('a CONNECT', async (t) => {
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'x:80' })
    stream.end('through the tunnel')
    let text = ''
    stream.setEncoding('latin1').on('data', (d: string) => {
      text += d
    })
    await once(stream, 'end')
    t.equal(text, 'through the tunnel')
  })

  await t.test('a PING', async (t) => {
    await new Promise<void>((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())))
    t.pass('answered')
  })
})

const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
const text = fc.stringMatching(/^[!-~\u00a0-\u00ff]([ -~]{0,60}[!-~])?$/)
/** Names that Node has rules of its own for. */
const OWN = new Set(
  'connection upgrade host http2-settings keep-alive proxy-connection transfer-encoding te cookie age authorization date etag expires from location max-forwards referer'.split(
    ' ',
  ),
)
const fields = fc.dictionary(
  word.filter((n) => !OWN.has(n) && !n.startsWith('content-') && !n.startsWith('access-control') && !n.startsWith('if-')),
  text,
  { maxKeys: 15 },
)

t.test('HPACK beside that of nghttp2', async (t) => {
  await t.test('what Node encodes', async (t) => {
    const session = await nodeSession(echo.port)
    t.teardown(() => session.close())
    let wrong = ''
    const seed = Math.floor(Math.random() * 2 ** 31)
    const sets = fc.sample(fields, { numRuns: 150, seed })
    for (const set of [...sets, ...sets]) {
      const sensitive = Object.keys(set).slice(0, 1)
      const reply = await nodeRequest(session, {
        ':path': '/headers',
        ...set,
        [http2.sensitiveHeaders]: sensitive,
      } as http2.OutgoingHttpHeaders)
      const got = JSON.parse(reply.body.toString('latin1')) as [string, string][]
      const wanted = Object.entries(set)
      const seen = got.filter(([n]) => !n.startsWith(':'))
      if (JSON.stringify(seen.sort()) !== JSON.stringify(wanted.sort()))
        wrong ||= `${JSON.stringify(wanted)} became ${JSON.stringify(seen)}`
    }
    t.equal(wrong, '', `seed ${seed}`)
  })

  await t.test('what we encode, with and without Huffman coding', async (t) => {
    const seen: (readonly string[])[] = []
    const server = http2.createServer((_req, res) => res.end())
    server.on('stream', (...args: unknown[]) => seen.push(args[3] as string[]))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    for (const huffman of [false, true]) {
      const client = await CodecClient.connect((server.address() as net.AddressInfo).port, { huffman })
      const seed = Math.floor(Math.random() * 2 ** 31)
      const sets = fc.sample(fields, { numRuns: 100, seed })
      let wrong = ''
      for (const set of [...sets, ...sets, ...sets]) {
        const pairs = Object.entries(set).map(([n, v]) => [n, v.replace(/[^ -~]/g, 'x')] as const)
        const answer = await client.ask({ fields: pairs.map(([n, v]) => `${n.toUpperCase()}: ${v}\r\n`).join(''), path: '/p' })
        const wanted = [':method', 'GET', ':scheme', 'http', ':authority', 'a.example', ':path', '/p', ...pairs.flat()]
        if (answer.status !== 200 || JSON.stringify(seen.at(-1)) !== JSON.stringify(wanted))
          wrong ||= `${JSON.stringify(wanted)} became ${JSON.stringify(seen.at(-1))}`
      }
      t.equal(wrong, '', `seed ${seed}`)
      t.same(client.faults, [])
      client.close()
    }
  })
})

t.test('Node as a server', async (t) => {
  const server = http2.createServer({
    settings: { initialWindowSize: 20_000, maxConcurrentStreams: 50, enableConnectProtocol: true },
  })
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (s) => {
    sessions.add(s)
    s.on('error', () => {})
  })
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    const where = headers[':path']
    if (where === '/echo') {
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'yes' }))
      stream.pipe(stream)
    } else if (where === '/hints') {
      stream.additionalHeaders({ ':status': 103, link: '</a>' })
      stream.respond({ ':status': 200, 'content-length': 2 })
      stream.end('ok')
    } else if (where === '/refuse') stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)
    else if (where === '/push') {
      t.notOk(stream.pushAllowed, 'push is refused')
      stream.respond({ ':status': 204 }, { endStream: true })
    } else if (where === '/last') {
      stream.session?.goaway(0, 0)
      stream.respond({ ':status': 200, cookie: 'a' })
      stream.end('last')
    } else {
      stream.respond({ ':status': 200, 'content-type': 'text/plain', 'set-cookie': ['a=1', 'b=2'] })
      stream.end(BODY)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const s of sessions) s.destroy()
    server.close()
  })
  const { port } = server.address() as net.AddressInfo
  const client = await CodecClient.connect(port)

  const plain = await client.ask()
  t.ok(plain.body.equals(BODY))
  t.same(
    plain.fields.filter(([n]) => n === 'set-cookie'),
    [
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
    ],
  )
  t.ok((await client.ask({ slow: true })).body.equals(BODY), 'a slow reader')
  const echoed = await client.ask({ method: 'POST', path: '/echo', body: BODY, trailers: 'x-a: b\r\n' })
  t.ok(echoed.body.equals(BODY), 'a body both ways, through windows of 20,000 bytes')
  t.same(echoed.trailers, [['x-end', 'yes']])
  const many = await Promise.all(
    Array.from({ length: 40 }, (_, i) => client.ask({ method: 'POST', path: '/echo', body: BODY.subarray(i, 100_000 + i) })),
  )
  t.ok(
    many.every((a, i) => a.body.equals(BODY.subarray(i, 100_000 + i))),
    'forty at once',
  )
  t.same((await client.ask({ path: '/hints' })).interim, [103])
  t.equal((await client.ask({ path: '/refuse' })).reset, 7)
  t.equal((await client.ask({ path: '/push' })).status, 204)
  t.ok(client.h2.rttMs > 0)
  t.equal((await client.ask({ path: '/last' })).body.toString(), 'last')
  await eventually('GOAWAY', () => client.errors.includes('goaway 0'))
  t.notOk(client.h2.hasRoom)
  t.same(client.faults, [])
  client.close()
})

t.test('@grpc/grpc-js: unary and the three kinds of streaming', async (t) => {
  const client = new grpc.Client(`127.0.0.1:${echo.port}`, grpc.credentials.createInsecure())
  t.teardown(() => client.close())
  const same = (b: Buffer) => b
  const large = Buffer.alloc(1_000_000, 'g')
  const collected = async (
    call: NodeJS.ReadableStream & { on(event: 'status', listener: (s: grpc.StatusObject) => void): unknown },
  ) => {
    const got: Buffer[] = []
    let status: grpc.StatusObject | null = null
    call.on('status', (s) => {
      status = s
    })
    call.on('data', (d: Buffer) => got.push(d))
    await within('the end of a call', once(call, 'end'), 20_000)
    await eventually('a status', () => status !== null)
    return { got, code: (status as unknown as grpc.StatusObject).code }
  }

  for (const message of [Buffer.from('hello'), Buffer.alloc(0), large]) {
    const reply = await new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest('/grpc/Unary', same, same, message, (error, value) =>
        error ? reject(error) : resolve(value as Buffer),
      )
    })
    t.ok(reply.equals(message), `unary, ${message.length} bytes`)
  }

  const served = await collected(client.makeServerStreamRequest('/grpc/ServerStream', same, same, large))
  t.same([served.code, served.got.length, served.got[0]?.length], [0, 1, 1_000_000])

  const sent = await new Promise<Buffer>((resolve, reject) => {
    const call = client.makeClientStreamRequest('/grpc/ClientStream', same, same, (error, value) =>
      error ? reject(error) : resolve(value as Buffer),
    )
    call.write(Buffer.from('only'))
    call.end()
  })
  t.equal(sent.toString(), 'only')

  const bidi = client.makeBidiStreamRequest('/grpc/Bidi', same, same)
  const both = collected(bidi)
  for (let i = 0; i < 200; i++) bidi.write(Buffer.from(`message ${i}`))
  bidi.write(large)
  bidi.end()
  const { got, code } = await both
  t.same([code, got.length, got[7]?.toString(), got[200]?.length], [0, 201, 'message 7', 1_000_000])
})

t.test('an orderly end: Node finishes what it began', async (t) => {
  const session = await nodeSession(echo.port)
  const before = new Set(echo.connections)
  const slow = nodeRequest(session, { ':path': '/bytes/3000000' })
  await eventually('a stream', () => [...before].some((c) => c.streams.size > 0))
  echo.io.run('shutdown', () => {
    for (const c of before) c.shutdown()
  })
  t.equal((await slow).body.length, 3_000_000)
  await once(session, 'close')
  t.pass('and the connection closes')
})

const url = (target: string) => `http://127.0.0.1:${echo.port}${target}`

t.test('curl', { skip: missing('curl') }, async (t) => {
  const { stdout } = await run('curl', ['-sS', '-i', '--http2-prior-knowledge', '-b', 'a=1; b=2', url('/headers')])
  t.match(stdout.toString(), /^HTTP\/2 200/)
  t.match(stdout.toString(), /\["cookie","a=1; b=2"\]/)
  const folder = mkdtempSync(path.join(os.tmpdir(), 'h2-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(path.join(folder, 'body'), BODY)
  const echoed = await run('curl', [
    '-sS',
    '--http2-prior-knowledge',
    '--data-binary',
    `@${path.join(folder, 'body')}`,
    url('/echo'),
  ])
  t.ok(echoed.stdout.equals(BODY))
})

t.test('nghttp', { skip: missing('nghttp') }, async (t) => {
  const { code, stdout } = await run('nghttp', ['-v', '-m', '20', '-w', '14', '-W', '14', url('/trailers')])
  t.equal(code, 0)
  t.match(stdout.toString(), /grpc-status: 0/)
})

t.test('h2load', { skip: missing('h2load') }, async (t) => {
  for (const args of [
    ['-n', '4000', '-c', '4', '-m', '10', url('/')],
    ['-n', '400', '-c', '2', '-m', '50', '-w', '12', url('/bytes/100000')],
  ]) {
    const { stdout } = await run('h2load', args)
    t.match(stdout.toString(), new RegExp(`${args[1]} succeeded, 0 failed, 0 errored`), args.join(' '))
  }
})

t.test('nginx as a server', { skip: missing('nginx', '-v') }, async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'h2-nginx-'))
  const port = await freePort()
  writeFileSync(path.join(folder, 'body'), BODY)
  writeFileSync(
    path.join(folder, 'nginx.conf'),
    `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log; events {}
     http { access_log off; client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c; uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
       server { listen 127.0.0.1:${port} http2; root ${folder}; client_max_body_size 10m; location /discard { return 200 "taken"; } } }`,
  )
  spawnSync('chmod', ['-R', 'a+rX', folder])
  const child = spawn('nginx', ['-c', path.join(folder, 'nginx.conf'), '-e', path.join(folder, 'error.log')], { stdio: 'ignore' })
  t.teardown(async () => {
    child.kill('SIGTERM')
    await once(child, 'close')
    rmSync(folder, { recursive: true })
  })
  let client: CodecClient | null = null
  await eventually('nginx', async () => {
    client = await CodecClient.connect(port).catch(() => null)
    return client !== null
  })
  const c = client as unknown as CodecClient
  t.ok((await c.ask({ path: '/body' })).body.equals(BODY))
  t.ok((await c.ask({ path: '/body', slow: true })).body.equals(BODY))
  t.equal((await c.ask({ path: '/nothing' })).status, 404)
  const all = await Promise.all(Array.from({ length: 30 }, () => c.ask({ path: '/body' })))
  t.ok(all.every((a) => a.body.equals(BODY)))
  t.same([c.faults, c.errors], [[], []])
  c.close()
})

t.test('no exception at any boundary', async (t) => {
  t.same(echo.faults, [])
})

// heddle's gRPC client against servers of @grpc/grpc-js, and against node:http2 for what no gRPC library would do.
import { rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import grpc from '@grpc/grpc-js'
import t from 'tap'
import type { GrpcAddress, GrpcTls } from '../../lib/grpc/grpc-address.ts'
import type { GrpcCall } from '../../lib/grpc/grpc-call.ts'
import type { GrpcChannelOptions } from '../../lib/grpc/grpc-channel.ts'
import { GrpcChannel } from '../../lib/grpc/grpc-channel.ts'
import { GrpcError } from '../../lib/grpc/grpc-error.ts'
import { eventually, within } from '../support/eventually.ts'
import { refusingPort } from '../support/free-port.ts'
import { GrpcServer } from '../support/grpc.ts'
import { block, frame, PREFACE, settings, u32 } from '../support/http2-frames.ts'
import type { Http2Seen } from '../support/http2-upstream.ts'
import { framed, Http2Upstream, inTrailers, trailersOnly } from '../support/http2-upstream.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'

const UNARY = '/test.Echo/Unary'

function tcp(address: string): GrpcAddress {
  const at = address.lastIndexOf(':')
  return { kind: 'tcp', host: address.slice(0, at), port: Number(address.slice(at + 1)) }
}

function channel(t: Teardown, address: GrpcAddress, options: Partial<GrpcChannelOptions> = {}): GrpcChannel {
  const made = new GrpcChannel({ address, tls: null, ...options })
  t.teardown(() => made.close())
  return made
}

interface RawServer {
  readonly address: GrpcAddress
  readonly sockets: readonly net.Socket[]
}

/** Bytes by hand; `greet` also sends SETTINGS and the acknowledgement of the client's. */
async function rawServer(
  t: Teardown,
  onData: (socket: net.Socket, data: Buffer, connection: number) => void,
  greet = true,
): Promise<RawServer> {
  const sockets: net.Socket[] = []
  const server = net.createServer((s) => {
    const nth = sockets.push(s)
    s.on('error', () => {})
    s.on('data', (d: Buffer) => {
      if (greet && d.subarray(0, PREFACE.length).equals(PREFACE)) s.write(Buffer.concat([settings(), frame('SETTINGS', 1, 0)]))
      onData(s, d, nth)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const s of sockets) s.destroy()
    server.close()
  })
  return { address: { kind: 'tcp', host: '127.0.0.1', port: (server.address() as net.AddressInfo).port }, sockets }
}

/** A HEADERS frame on stream 1 is among the bytes. */
function hasRequest(bytes: Buffer): boolean {
  return bytes.some((type, i) => type === 1 && bytes.subarray(i + 2, i + 6).equals(u32(1)))
}

async function failure(promise: Promise<unknown>): Promise<GrpcError> {
  const outcome = await within(
    'a failure',
    promise.then(
      () => 'it succeeded',
      (error: unknown) => error,
    ),
  )
  if (outcome instanceof GrpcError) return outcome
  throw new Error(`expected a GrpcError, got ${outcome}`)
}

async function all(call: GrpcCall): Promise<string[]> {
  const messages: string[] = []
  for await (const message of call) messages.push(message.toString())
  return messages
}

t.test('unary calls share one connection; metadata, authority and deadline reach the server', async (t) => {
  const server = await GrpcServer.start(t, 'a')
  const calls = channel(t, tcp(server.address), { userAgent: 'me' })
  const answers = ['1', '2', '3'].map((m) =>
    calls.unary(UNARY, Buffer.from(m), { deadlineMs: 5000, metadata: { ClusterID: 'east', 'x-bin': Buffer.from([0, 255]) } }),
  )
  t.same((await Promise.all(answers)).map(String), ['a:1', 'a:2', 'a:3'])
  const metadata = server.calls[0]?.getMap()
  t.match(metadata, { clusterid: 'east', 'x-bin': Buffer.from([0, 255]), 'user-agent': 'me' })
  t.notOk(metadata?.['grpc-accept-encoding'])
})

t.test('the server knows the deadline, and both sides keep it', async (t) => {
  const server = await GrpcServer.start(t, 'a')
  const left: number[] = []
  const cancelled = new Promise<void>((resolve) => {
    server.moves.unary = (call) => {
      left.push(Number(call.getDeadline()) - Date.now())
      call.on('cancelled', resolve)
    }
  })
  const error = await failure(channel(t, tcp(server.address)).unary(UNARY, Buffer.from('x'), { deadlineMs: 300 }))
  t.match(error, { name: 'DEADLINE_EXCEEDED', fromServer: false })
  await within('the server to be told', cancelled)
  t.ok((left[0] as number) <= 300, `the server was given ${left[0]} ms`)
})

t.test('a status and its message come as the server said them', async (t) => {
  const server = await GrpcServer.start(t, 'a')
  server.moves.unary = (_, done) => done({ code: grpc.status.UNAUTHENTICATED, details: 'token “x”\nexpired 100%' })
  const error = await failure(channel(t, tcp(server.address)).unary(UNARY, Buffer.alloc(0)))
  t.match(error, { code: 16, name: 'UNAUTHENTICATED', message: 'token “x” expired 100%', fromServer: true })
  const missing = await failure(channel(t, tcp(server.address)).unary('/test.Echo/Nothing', Buffer.alloc(0)))
  t.match(missing, { name: 'UNIMPLEMENTED', fromServer: true })
})

t.test('streams: many messages each way, each answered before the next is sent', async (t) => {
  const server = await GrpcServer.start(t, 'a')
  const calls = channel(t, tcp(server.address))
  t.same(await all(calls.serverStream('/test.Echo/Expand', Buffer.from('m'))), ['a:m0', 'a:m1', 'a:m2'])
  const chat = calls.bidi('/test.Echo/Chat')
  for (const message of ['one', 'two', 'three']) {
    chat.send(Buffer.from(message))
    t.equal(String((await within('an answer', chat.next())).value), `a:${message}`)
  }
  chat.end()
  t.same(await chat.next(), { done: true, value: undefined })
  t.same(await chat.next(), { done: true, value: undefined }, 'and again')
})

t.test('messages that came before an error are read before it', async (t) => {
  const server = await GrpcServer.start(t, 'a')
  server.moves.expand = (call) => {
    call.write(Buffer.from('first'))
    call.emit('error', { code: grpc.status.UNAVAILABLE, details: 'no more' })
  }
  const call = channel(t, tcp(server.address)).serverStream('/test.Echo/Expand', Buffer.alloc(0))
  t.equal(String((await call.next()).value), 'first')
  t.match(await failure(call.next()), { name: 'UNAVAILABLE', message: 'no more', fromServer: true })
  t.match(await failure(call.next()), { name: 'UNAVAILABLE' }, 'and again')
})

t.test('megabytes both ways, more than a window, and a reader that comes late', async (t) => {
  const server = await GrpcServer.start(t, 'a')
  const big = Buffer.alloc(20_000_000, 7)
  const calls = channel(t, tcp(server.address))
  const answer = await within('the echo', calls.unary(UNARY, big), 20_000)
  t.equal(answer.length, big.length + 2)
  t.ok(answer.subarray(2).equals(big))
  const part = Buffer.alloc(500_000, 1)
  let sent = 0
  server.moves.expand = (call) => {
    const more = (): void => {
      while (sent < 40) {
        sent++
        if (!call.write(part)) return void call.once('drain', more)
      }
      call.end()
    }
    more()
  }
  const call = calls.serverStream('/test.Echo/Expand', Buffer.alloc(0))
  t.equal((await call.next()).value?.length, part.length)
  let count = 1
  for await (const message of call) {
    count++
    if (message.length !== part.length) t.fail('a part has another length')
  }
  t.equal(count, 40)
})

t.test('a reader that stops stops the server', async (t) => {
  const server = await GrpcServer.start(t, 'a')
  let sent = 0
  let waiting = false
  server.moves.expand = (call) => {
    const more = (): void => {
      waiting = false
      while (sent < 1000 && !call.cancelled) {
        sent++
        if (!call.write(Buffer.alloc(100_000))) {
          waiting = true
          return void call.once('drain', more)
        }
      }
      call.end()
    }
    more()
  }
  const call = channel(t, tcp(server.address)).serverStream('/test.Echo/Expand', Buffer.alloc(0))
  await call.next()
  let before = -1
  let still = 0
  await eventually('the server to send no more', () => {
    still = waiting && sent === before ? still + 1 : 0
    before = sent
    return still === 20 || sent >= 200
  })
  t.ok(sent < 200, `100 MB were wanted, ${sent / 10} MB were sent`)
  await call.return()
})

t.test('a message over the limit, and one over it that is announced only', async (t) => {
  const server = await GrpcServer.start(t, 'a')
  const calls = channel(t, tcp(server.address), { maxMessageBytes: 1000 })
  t.match(await failure(calls.unary(UNARY, Buffer.alloc(999))), { name: 'RESOURCE_EXHAUSTED', fromServer: false })
  t.equal((await calls.unary(UNARY, Buffer.alloc(998))).length, 1000)
})

t.test('cancelled by signal, by hand, by leaving the loop, and with the channel', async (t) => {
  const server = await GrpcServer.start(t, 'a')
  let told = 0
  server.moves.unary = (call) => void call.on('cancelled', () => told++)
  server.moves.chat = (call) => {
    call.write(Buffer.from('hi'))
    call.on('cancelled', () => told++)
    call.on('error', () => {})
  }
  const calls = channel(t, tcp(server.address))
  t.match(await failure(calls.unary(UNARY, Buffer.alloc(0), { signal: AbortSignal.abort() })), { name: 'CANCELLED' })
  t.equal(server.calls.length, 0)
  const abort = new AbortController()
  const unary = failure(calls.unary(UNARY, Buffer.alloc(0), { signal: abort.signal }))
  await eventually('the call', () => server.calls.length === 1)
  abort.abort()
  t.match(await unary, { name: 'CANCELLED' })
  for await (const message of calls.bidi('/test.Echo/Chat')) {
    t.equal(String(message), 'hi')
    break
  }
  await eventually('the server to be told of both', () => told === 2)
  const last = calls.bidi('/test.Echo/Chat')
  await last.next()
  const end = failure(last.next())
  calls.close()
  t.match(await end, { name: 'CANCELLED', message: 'the channel was closed' })
  t.match(await failure(calls.unary(UNARY, Buffer.alloc(0))), { name: 'CANCELLED' })
})

t.test('over a unix socket, and over IPv6', async (t) => {
  const socket = path.join(tmpdir(), `heddle-grpc-${process.pid}.sock`)
  t.teardown(() => rmSync(socket, { force: true }))
  await GrpcServer.start(t, 'unix', { listen: `unix:${socket}` })
  t.equal(String(await channel(t, { kind: 'unix', path: socket }).unary(UNARY, Buffer.from('x'))), 'unix:x')
  const six = await GrpcServer.start(t, 'six', { listen: '[::1]:0' })
  const port = Number(six.address.split(':')[1])
  t.equal(String(await channel(t, { kind: 'tcp', host: '::1', port }).unary(UNARY, Buffer.from('x'))), 'six:x')
})

t.test('nobody there', async (t) => {
  const port = await refusingPort()
  const error = await failure(channel(t, { kind: 'tcp', host: '127.0.0.1', port }).unary(UNARY, Buffer.alloc(0)))
  t.match(error, { name: 'UNAVAILABLE', fromServer: false, refused: false })
  t.match(error.message, `no connection to 127.0.0.1:${port}: connect ECONNREFUSED`)
  const local = await failure(channel(t, { kind: 'tcp', host: 'localhost', port }).unary(UNARY, Buffer.alloc(0)))
  t.match(local.message, /^no connection to localhost:\d+: .*ECONNREFUSED/)
  const unix = await failure(channel(t, { kind: 'unix', path: '/nowhere/api.sock' }).unary(UNARY, Buffer.alloc(0)))
  t.match(unix.message, /^no connection to unix:\/nowhere\/api\.sock: .*ENOENT/)
})

t.test('a server that says nothing, or speaks something else', async (t) => {
  const { address, sockets } = await rawServer(t, () => {}, false)
  const silent = await failure(channel(t, address, { connectTimeoutMs: 50 }).unary(UNARY, Buffer.alloc(0)))
  t.match(silent, { name: 'UNAVAILABLE', message: /it took longer than 50 ms$/ })
  const late = await failure(channel(t, address).unary(UNARY, Buffer.alloc(0), { deadlineMs: 50 }))
  t.match(late, { name: 'DEADLINE_EXCEEDED' })
  const other = failure(channel(t, address).unary(UNARY, Buffer.alloc(0)))
  await eventually('the third connection', () => sockets.length === 3)
  sockets[2]?.write('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
  t.match(await other, { name: 'UNAVAILABLE', message: /^no connection to / })
  const cut = failure(channel(t, address).unary(UNARY, Buffer.alloc(0)))
  await eventually('the fourth connection', () => sockets.length === 4)
  sockets[3]?.destroy()
  t.match(await cut, { name: 'UNAVAILABLE', message: /^no connection to / })
})

t.test('TLS: whose certificate it is, by which roots, with ALPN, and with ours', async (t) => {
  const [ca, other] = await Promise.all([SigningCa.root(t), SigningCa.root(t)])
  const [server, byIp, client, stranger, expired] = await Promise.all([
    ca.issue({ dnsNames: ['istiod.istio-system.svc'] }),
    ca.issue({ ips: ['127.0.0.1'] }),
    ca.issue({ uris: ['spiffe://cluster.local/ns/a/sa/b'] }),
    other.issue({ uris: ['spiffe://cluster.local/ns/a/sa/b'] }),
    ca.issue({ dnsNames: ['istiod.istio-system.svc'], lifetimeMs: -60_000 }),
  ])
  const start = (pair: { chain: string; key: string }, mutual: boolean): Promise<GrpcServer> =>
    GrpcServer.start(t, 'tls', {
      credentials: grpc.ServerCredentials.createSsl(
        Buffer.from(ca.rootPem),
        [{ cert_chain: Buffer.from(pair.chain), private_key: Buffer.from(pair.key) }],
        mutual,
      ),
    })
  const [plain, mutual, ip, old] = await Promise.all([
    start(server, false),
    start(server, true),
    start(byIp, false),
    start(expired, false),
  ])
  const mine = { chain: client.chain, key: client.key }
  const ask = (to: GrpcServer, terms: Partial<GrpcTls> = {}): Promise<Buffer> => {
    const tls: GrpcTls = { roots: ca.rootPem, serverName: 'istiod.istio-system.svc', client: null, ...terms }
    return within('an outcome', channel(t, tcp(to.address), { tls: async () => tls }).unary(UNARY, Buffer.from('x')))
  }
  t.equal(String(await ask(plain)), 'tls:x')
  t.equal(String(await ask(mutual, { client: mine })), 'tls:x')
  t.equal(String(await ask(ip, { serverName: '127.0.0.1' })), 'tls:x', 'an IP address is no SNI, but is checked')
  const wrong: readonly (readonly [string, () => Promise<Buffer>, RegExp])[] = [
    ['another name', () => ask(plain, { serverName: 'other.svc' }), /other\.svc/],
    ['another IP address', () => ask(ip, { serverName: '127.0.0.2' }), /127\.0\.0\.2/],
    ['other roots', () => ask(plain, { roots: other.rootPem }), /not signed by one of the given roots/],
    ['an expired certificate', () => ask(old), /the server's certificate has expired/],
    ['no client certificate', () => ask(mutual), /alert certificate required/],
    ['the client certificate of another CA', () => ask(mutual, { client: stranger }), /TLS: .*alert|the server closed/],
  ]
  for (const [name, ask, message] of wrong) t.match(await failure(ask()), { name: 'UNAVAILABLE', message }, name)
  const calls = channel(t, tcp(plain.address), { tls: () => Promise.reject(new Error('cannot read /etc/roots.pem')) })
  t.match(await failure(calls.unary(UNARY, Buffer.alloc(0))), { name: 'UNAVAILABLE', message: 'cannot read /etc/roots.pem' })
})

t.test('each new connection takes the roots that hold then', async (t) => {
  const [old, renewed] = await Promise.all([SigningCa.root(t), SigningCa.root(t)])
  const pair = await renewed.issue({ dnsNames: ['ca'] })
  const credentials = grpc.ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(pair.chain), private_key: Buffer.from(pair.key) },
  ])
  const server = await GrpcServer.start(t, 'tls', { credentials })
  let roots = old.rootPem
  const calls = channel(t, tcp(server.address), { tls: async () => ({ roots, serverName: 'ca', client: null }) })
  t.match(await failure(calls.unary(UNARY, Buffer.alloc(0))), { name: 'UNAVAILABLE' })
  roots = renewed.rootPem
  t.equal(String(await calls.unary(UNARY, Buffer.from('x'))), 'tls:x')
})

t.test('a server that drains: open calls end, new ones go to its successor', async (t) => {
  const server = await GrpcServer.start(t, 'old')
  const calls = channel(t, tcp(server.address))
  const chat = calls.bidi('/test.Echo/Chat')
  chat.send(Buffer.from('1'))
  await chat.next()
  const drained = server.drain()
  const successor = await eventually('the port', () => GrpcServer.start(t, 'new', { listen: server.address }))
  await eventually('the GOAWAY to arrive', async () => String(await calls.unary(UNARY, Buffer.from('x'))) === 'new:x')
  chat.send(Buffer.from('2'))
  t.equal(String((await chat.next()).value), 'old:2')
  chat.end()
  t.equal((await chat.next()).done, true)
  await within('the old server to be drained', drained)
  successor.stop()
})

t.test('a server that is cut off: its calls fail, the next call connects anew', async (t) => {
  const server = await GrpcServer.start(t, 'old')
  server.moves.unary = () => server.stop()
  const calls = channel(t, tcp(server.address))
  const error = await failure(calls.unary(UNARY, Buffer.alloc(0)))
  t.match(error, { name: 'UNAVAILABLE', fromServer: false, message: /^the connection ended: / })
  await eventually('the port', () => GrpcServer.start(t, 'new', { listen: server.address }))
  t.equal(String(await calls.unary(UNARY, Buffer.from('x'))), 'new:x')
})

const ODD: readonly (readonly [string, (seen: Http2Seen) => void, string, RegExp])[] = [
  ['trailers-only', ({ stream }) => trailersOnly(stream, 7, 'not%20you'), 'PERMISSION_DENIED', /^not you$/],
  ['trailers-only with OK, and no message', ({ stream }) => trailersOnly(stream, 0), 'UNIMPLEMENTED', /no message came/],
  ['an unknown status', ({ stream }) => trailersOnly(stream, 99), 'UNKNOWN', /99/],
  [
    'no status at all',
    ({ stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      stream.end(framed('x'))
    },
    'UNKNOWN',
    /without a grpc-status/,
  ],
  [
    'a status in headers that more follows',
    ({ stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '0' })
      stream.end(framed('x'))
    },
    'UNKNOWN',
    /without a grpc-status/,
  ],
  [
    'HTTP 503 of a proxy',
    ({ stream }) => stream.respond({ ':status': 503, 'content-type': 'text/plain' }, { endStream: true }),
    'UNAVAILABLE',
    /HTTP status 503/,
  ],
  [
    'HTTP 404',
    ({ stream }) => {
      stream.respond({ ':status': 404, 'content-type': 'text/html' })
      stream.end('<h1>')
    },
    'UNIMPLEMENTED',
    /HTTP status 404/,
  ],
  [
    'a page',
    ({ stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'text/html' })
      stream.end('<h1>')
    },
    'UNKNOWN',
    /text\/html/,
  ],
  [
    'a compressed message',
    ({ stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' })
      stream.end(Buffer.from([1, 0, 0, 0, 1, 0]))
    },
    'INTERNAL',
    /compressed/,
  ],
  [
    'half a message',
    ({ stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.end(Buffer.from([0, 0, 0, 0, 9, 1]))
    },
    'INTERNAL',
    /within a message/,
  ],
  [
    'two messages',
    ({ stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.end(Buffer.concat([framed('x'), framed('y')]))
    },
    'UNIMPLEMENTED',
    /more than one message/,
  ],
  ['a reset: INTERNAL_ERROR', ({ stream }) => stream.close(2), 'INTERNAL', /INTERNAL_ERROR/],
  ['a reset: CANCEL', ({ stream }) => stream.close(8), 'CANCELLED', /CANCEL/],
  ['a reset: ENHANCE_YOUR_CALM', ({ stream }) => stream.close(11), 'RESOURCE_EXHAUSTED', /ENHANCE_YOUR_CALM/],
  [
    'GOAWAY with an error',
    ({ stream }) => stream.session?.goaway(2, 0, Buffer.from('boom')),
    'UNAVAILABLE',
    /GOAWAY INTERNAL_ERROR "boom"/,
  ],
]

t.test('answers that no gRPC library gives', async (t) => {
  const upstream = await Http2Upstream.start(t)
  for (const [name, move, code, message] of ODD) {
    upstream.onStream = move
    t.match(await failure(channel(t, tcp(upstream.address)).unary(UNARY, Buffer.alloc(0))), { name: code, message }, name)
  }
})

t.test('content-type may have a suffix', async (t) => {
  const upstream = await Http2Upstream.start(t)
  upstream.onStream = ({ stream }) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(framed('yes'))
  }
  t.equal(String(await channel(t, tcp(upstream.address)).unary(UNARY, Buffer.alloc(0))), 'yes')
})

t.test('what the server refused is tried once more, and only once; what it reset otherwise is not', async (t) => {
  const upstream = await Http2Upstream.start(t)
  upstream.onStream = ({ stream }, nth) => (nth === 1 ? stream.close(7) : inTrailers(stream, 0, 'second'))
  t.equal(String(await channel(t, tcp(upstream.address)).unary(UNARY, Buffer.from('m'))), 'second')
  upstream.startAfresh()
  upstream.onStream = ({ stream }) => stream.close(7)
  const refused = await failure(channel(t, tcp(upstream.address)).unary(UNARY, Buffer.from('m')))
  t.match(refused, { name: 'UNAVAILABLE', refused: true, message: 'the server refused the call' })
  t.equal(upstream.seen.length, 2)
  upstream.startAfresh()
  upstream.onStream = ({ stream }) => stream.close(8)
  await failure(channel(t, tcp(upstream.address)).unary(UNARY, Buffer.from('m')))
  t.equal(upstream.seen.length, 1)
})

t.test('a reset after headers, and a connection that is cut within a call', async (t) => {
  const headers = frame('HEADERS', 4, 1, block([':status', '200'], ['content-type', 'application/grpc']))
  const reset = await rawServer(t, (s, d) => {
    if (hasRequest(d)) s.write(Buffer.concat([headers, frame('DATA', 0, 1, framed('x')), frame('RST_STREAM', 0, 1, u32(12))]))
  })
  const call = channel(t, reset.address).serverStream('/test.Echo/Expand', Buffer.alloc(0))
  t.match(await failure(all(call)), { name: 'PERMISSION_DENIED', message: 'the server reset the call with INADEQUATE_SECURITY' })
  for (const cut of ['destroy', 'resetAndDestroy', 'end'] as const) {
    const server = await rawServer(t, (s, d) => {
      if (hasRequest(d)) s.write(headers, () => s[cut]())
    })
    const error = await failure(channel(t, server.address).unary(UNARY, Buffer.alloc(0)))
    t.match(error, { name: 'UNAVAILABLE', message: /^the connection ended: / }, cut)
  }
})

t.test('no answer to a PING ends the connection and its calls', async (t) => {
  // SETTINGS and their acknowledgement, and then nothing more.
  const { address } = await rawServer(t, () => {})
  const calls = channel(t, address, { keepaliveMs: 20, keepaliveTimeoutMs: 30 })
  const error = await failure(calls.bidi('/test.Echo/Chat').next())
  t.match(error, { name: 'UNAVAILABLE', message: 'the connection ended: no answer to a PING in 30 ms' })
})

t.test('the windows are opened at the beginning', async (t) => {
  const got: Buffer[] = []
  const { address } = await rawServer(t, (_, d) => void got.push(d))
  const abort = new AbortController()
  const call = failure(channel(t, address).unary(UNARY, Buffer.alloc(0), { signal: abort.signal }))
  await eventually('the request', () => hasRequest(Buffer.concat(got)))
  const all = Buffer.concat(got)
  t.ok(all.includes(Buffer.concat([Buffer.from([0, 4]), u32(4 * 1024 * 1024)])), 'SETTINGS_INITIAL_WINDOW_SIZE')
  t.ok(all.includes(frame('WINDOW_UPDATE', 0, 0, u32(8 * 1024 * 1024 - 65535))), 'of the connection')
  abort.abort()
  await call
})

t.test('PINGs go out while a call is open, and their answers keep it open', async (t) => {
  const upstream = await Http2Upstream.start(t)
  let pings = 0
  upstream.onStream = ({ stream }) => {
    stream.session?.on('ping', () => {
      pings++
      if (pings === 3) inTrailers(stream, 0, 'still here')
    })
  }
  const calls = channel(t, tcp(upstream.address), { keepaliveMs: 20, keepaliveTimeoutMs: 5000 })
  t.equal(String(await within('an answer', calls.unary(UNARY, Buffer.alloc(0)))), 'still here')
})

t.test('a connection without calls is closed after a while; the next call makes another', async (t) => {
  const upstream = await Http2Upstream.start(t)
  upstream.onStream = ({ stream }) => inTrailers(stream, 0, 'x')
  const calls = channel(t, tcp(upstream.address), { idleMs: 20 })
  await calls.unary(UNARY, Buffer.alloc(0))
  await eventually('the connection to be closed', () => upstream.sessions.size === 0)
  t.equal(String(await calls.unary(UNARY, Buffer.alloc(0))), 'x')
})

t.test('streams behind the last one of a GOAWAY were refused and go to a new connection', async (t) => {
  const { address, sockets } = await rawServer(t, (s, d, nth) => {
    if (nth === 1 && hasRequest(d)) s.write(frame('GOAWAY', 0, 0, u32(0, 0)))
  })
  const abort = new AbortController()
  const call = failure(channel(t, address).unary(UNARY, Buffer.alloc(0), { signal: abort.signal }))
  await eventually('a second connection', () => sockets.length === 2)
  abort.abort()
  t.match(await call, { name: 'CANCELLED' })
})

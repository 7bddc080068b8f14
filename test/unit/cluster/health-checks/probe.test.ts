// Each probe against real servers, well-behaved ones and others: what is asked, and what is said of what came.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import net, { type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import type { CheckResult } from '../../../../lib/cluster/health-checks/attempt.ts'
import { healthRequest, healthResponse } from '../../../../lib/cluster/health-checks/grpc-probe.ts'
import { askedText, startCheck } from '../../../../lib/cluster/health-checks/probe.ts'
import type { HealthProbe } from '../../../../lib/state/health-check.ts'
import { eventually } from '../../../support/eventually.ts'
import { refusingPort } from '../../../support/free-port.ts'
import { GrpcHealthServer } from '../../../support/grpc-health-server.ts'
import type { Teardown } from '../../../support/teardown.ts'
import { checkOf, endpointAt } from './kit.ts'

t.setTimeout(60_000)

type HttpProbe = HealthProbe & { readonly kind: 'http' }

const HTTP: HttpProbe = {
  kind: 'http',
  tls: false,
  port: 0,
  path: '/healthz',
  host: '',
  headers: [],
  statuses: [{ from: 200, to: 299 }],
}
const TCP: HealthProbe = { kind: 'tcp', port: 0 }
const GRPC: HealthProbe = { kind: 'grpc', port: 0, service: '' }

/** Long enough that it never ends a check that is answered; those that are not say how long. */
function ask(probe: HealthProbe, port: number, timeoutMs = 20_000): Promise<CheckResult> {
  return startCheck(checkOf(probe, { timeoutMs }), endpointAt(port)).result
}

async function listen(t: Teardown, server: net.Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A server that sends these bytes to whoever has sent something, and then `after`. */
function raw(t: Teardown, bytes: string, after: (socket: Socket) => void = () => {}): Promise<number> {
  return listen(
    t,
    net.createServer((socket) => {
      socket.once('data', () => {
        socket.write(bytes)
        after(socket)
      })
    }),
  )
}

t.test('HTTP: what is asked', async (t) => {
  const seen: http.IncomingMessage[] = []
  const port = await listen(
    t,
    http.createServer((req, res) => {
      seen.push(req)
      res.end('fine')
    }),
  )
  t.same(await ask(HTTP, port), { passed: true, seen: 'answered 200', network: false })
  t.match(seen[0], { method: 'GET', url: '/healthz', httpVersion: '1.1' })
  t.match(seen[0]?.headers, { host: `127.0.0.1:${port}`, 'user-agent': 'heddle/health-check', connection: 'close' })
  const headers = [
    ['X-Probe', 'a b'],
    ['Connection', 'keep-alive'],
    ['User-Agent', 'me'],
  ] as const
  t.ok((await ask({ ...HTTP, port, host: 'r.example:1', path: '/a?b=c', headers }, 1)).passed, 'a port of its own')
  t.match(seen[1], { url: '/a?b=c' })
  t.match(seen[1]?.headers, { host: 'r.example:1', 'x-probe': 'a b', 'user-agent': 'me', connection: 'close' })
})

t.test('HTTP: statuses', async (t) => {
  const port = await listen(
    t,
    http.createServer((req, res) => res.writeHead(Number(req.url?.slice(1)), { location: '/200' }).end('x')),
  )
  const statuses = [
    { from: 200, to: 204 },
    { from: 404, to: 404 },
  ]
  const rows: [status: number, passed: boolean][] = [
    [200, true],
    [204, true],
    [205, false],
    [302, false],
    [404, true],
    [503, false],
  ]
  for (const [status, passed] of rows) {
    const result = await ask({ ...HTTP, path: `/${status}`, statuses }, port)
    const seen = passed ? `answered ${status}` : `answered ${status}, expected 200-204, 404`
    t.same(result, { passed, seen, network: false }, `${status}`)
  }
})

t.test('HTTP: interim answers are not the answer', async (t) => {
  const port = await raw(t, 'HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  t.match(await ask(HTTP, port), { passed: true, seen: 'answered 200' })
})

t.test('HTTPS: the certificate is not verified', async (t) => {
  const port = await listen(
    t,
    https.createServer({ key: KEY, cert: CERT }, (req, res) => res.end(req.headers.host)),
  )
  t.match(await ask({ ...HTTP, tls: true }, port), { passed: true, seen: 'answered 200' })
  t.match(await ask({ ...HTTP, tls: true, host: 'name.example:8443' }, port), { passed: true })
  t.match(await ask(HTTP, port), { passed: false }, 'not with plain HTTP')
  const plain = await raw(t, 'HTTP/1.1 400 Bad Request\r\n\r\n', (socket) => socket.end())
  t.match(await ask({ ...HTTP, tls: true }, plain), { passed: false, network: true }, 'nor a plain server with TLS')
})

t.test('HTTP: servers that do not answer as they should', async (t) => {
  const rows: [title: string, port: number, seen: RegExp][] = [
    ['closes at once', await raw(t, '', (s) => s.end()), /^got no answer: the connection was closed$/],
    ['resets', await raw(t, '', (s) => s.resetAndDestroy()), /^got no answer: ECONNRESET$/],
    ['speaks something else', await raw(t, '220 mail.example ESMTP\r\n'), /^got no answer: what came breaks the protocol \(H/],
    ['half a body', await raw(t, 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf', (s) => s.end()), /^got no answer: /],
  ]
  for (const [title, port, seen] of rows) t.match(await ask(HTTP, port), { passed: false, network: true, seen }, title)
  const refused = { passed: false, network: true, seen: 'could not connect: ECONNREFUSED' }
  t.same(await ask(HTTP, await refusingPort()), refused)
  t.same(await ask(TCP, await refusingPort()), refused)
  t.same(await ask(GRPC, await refusingPort()), refused)
})

t.test('the timeout is for all of it', async (t) => {
  const trickle = await raw(t, 'HTTP/1.1 200 OK\r\nx: ', (socket) => {
    const timer = setInterval(() => socket.write('y'), 5)
    socket.on('close', () => clearInterval(timer))
  })
  const silent = await listen(t, net.createServer())
  const stalls = await raw(t, 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf')
  const grpc = await GrpcHealthServer.start(t)
  grpc.hangs = true
  // On a machine that is busy elsewhere even connecting may take so long.
  const late = { passed: false, network: true, seen: /^(?:had no whole answer|could not connect) within 60 ms$/ }
  t.match(await ask(HTTP, trickle, 60), late, 'headers that trickle')
  t.match(await ask(HTTP, silent, 60), late, 'no answer')
  t.match(await ask({ ...HTTP, tls: true }, silent, 60), late, 'no TLS handshake')
  t.match(await ask(HTTP, stalls, 60), late, 'a body that stalls')
  t.match(await ask(GRPC, silent, 60), late, 'no HTTP/2')
  t.match(await ask(GRPC, grpc.port, 60), late, 'a stream without an answer')
})

t.test('headers without end and bodies without end cost little', async (t) => {
  /** Writes as long as the other side takes it; how much that was. */
  function flood(head: string, line: string) {
    const sent = { bytes: 0, closed: false }
    const server = net.createServer((socket) => {
      const pour = () => {
        while (!socket.destroyed) {
          sent.bytes += line.length
          if (!socket.write(line)) return
        }
      }
      socket.once('data', () => {
        socket.write(head)
        pour()
      })
      socket.on('drain', pour)
      socket.on('close', () => {
        sent.closed = true
      })
    })
    return { sent, server }
  }
  const headers = flood('HTTP/1.1 200 OK\r\n', `x-more: ${'y'.repeat(8000)}\r\n`)
  const result = await ask(HTTP, await listen(t, headers.server))
  t.same(result, { passed: false, network: true, seen: 'got no answer: the headers do not end' })
  await eventually('the connection to end', () => headers.sent.closed)
  const gigabyte = flood(`HTTP/1.1 200 OK\r\ncontent-length: ${2 ** 30}\r\n\r\n`, 'z'.repeat(65_536))
  t.match(await ask(HTTP, await listen(t, gigabyte.server)), { passed: true, seen: 'answered 200' }, 'its status is known')
  await eventually('the connection to end', () => gigabyte.sent.closed)
  const chunks = flood('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', `ffff\r\n${'z'.repeat(0xffff)}\r\n`)
  t.match(await ask(HTTP, await listen(t, chunks.server)), { passed: true })
  await eventually('the connection to end', () => chunks.sent.closed)
  // What fits into the buffers of the two sockets, and one write of the server.
  for (const { sent } of [headers, gigabyte, chunks]) t.ok(sent.bytes < 2 ** 25, `${sent.bytes} bytes were sent`)
})

t.test('TCP', async (t) => {
  const port = await listen(t, net.createServer())
  t.same(await ask(TCP, port), { passed: true, seen: 'connected', network: false })
  t.match(await ask({ ...TCP, port }, 1), { passed: true }, 'a port of its own')
})

t.test('gRPC against grpc-js', async (t) => {
  const server = await GrpcHealthServer.start(t)
  server.statuses.set('shop.Cart', 'SERVING')
  server.statuses.set('down', 'NOT_SERVING')
  server.statuses.set('who', 'SERVICE_UNKNOWN')
  server.statuses.set('zero', 'UNKNOWN')
  const long = 'a'.repeat(300)
  server.statuses.set(long, 'SERVING')
  const rows: [service: string, passed: boolean, seen: string][] = [
    ['', true, 'answered SERVING'],
    ['shop.Cart', true, 'answered SERVING'],
    [long, true, 'answered SERVING'],
    ['down', false, 'answered NOT_SERVING, expected SERVING'],
    ['who', false, 'answered SERVICE_UNKNOWN, expected SERVING'],
    ['zero', false, 'answered UNKNOWN, expected SERVING'],
    ['nobody', false, 'answered grpc-status 5 (NOT_FOUND)'],
  ]
  for (const [service, passed, seen] of rows)
    t.same(await ask({ ...GRPC, service }, server.port), { passed, seen, network: false }, service.slice(0, 20))
  t.same(
    server.asked,
    rows.map(([service]) => service),
  )
})

t.test('gRPC: other answers', async (t) => {
  const answers: ((stream: http2.ServerHttp2Stream) => void)[] = []
  const server = http2.createServer()
  server.on('stream', (stream) => {
    stream.on('error', () => {})
    answers.shift()?.(stream)
  })
  const port = await listen(t, server)
  const head = { ':status': 200, 'content-type': 'application/grpc' }
  const body = Buffer.from([0, 0, 0, 0, 2, 8, 1])
  const withTrailers = (message: Buffer, trailers: Record<string, string>) => (stream: http2.ServerHttp2Stream) => {
    stream.respond(head, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    stream.end(message)
  }
  const rows: [title: string, answer: (stream: http2.ServerHttp2Stream) => void, seen: RegExp, passed?: boolean][] = [
    ['well', withTrailers(body, { 'grpc-status': '0' }), /^answered SERVING$/, true],
    [
      'trailers only',
      (s) => s.respond({ ...head, 'grpc-status': '12' }, { endStream: true }),
      /^answered grpc-status 12 \(UNIMPLEMENTED\)$/,
    ],
    [
      'trailers only without a message',
      (s) => s.respond({ ...head, 'grpc-status': '0' }, { endStream: true }),
      /^answered with no health message/,
    ],
    ['no grpc-status', withTrailers(body, { other: '1' }), /^answered without a grpc-status$/],
    ['text for a grpc-status', withTrailers(body, { 'grpc-status': 'evil\tlog' }), /^answered grpc-status that does not exist$/],
    ['an HTTP status', (s) => s.respond({ ':status': 503 }, { endStream: true }), /^answered HTTP status 503$/],
    ['compressed', withTrailers(Buffer.from([1, 0, 0, 0, 2, 8, 1]), { 'grpc-status': '0' }), /^answered with no health message/],
    [
      'too much',
      (s) => {
        s.respond(head)
        s.write(Buffer.alloc(5000))
      },
      /^answered with more than one small message$/,
    ],
    ['a reset', (s) => s.close(http2.constants.NGHTTP2_INTERNAL_ERROR), /^got no answer: /],
    ['refused', (s) => s.close(http2.constants.NGHTTP2_REFUSED_STREAM), /^got no answer: /],
    ['cancelled', (s) => s.close(http2.constants.NGHTTP2_CANCEL), /^got no answer: /],
    [
      'cancelled after headers',
      (s) => {
        s.respond(head)
        s.close(http2.constants.NGHTTP2_CANCEL)
      },
      /^got no answer: |without a grpc-status/,
    ],
    ['GOAWAY', (s) => s.session?.destroy(), /^got no answer: /],
  ]
  for (const [title, answer, seen, passed = false] of rows) {
    answers.push(answer)
    t.match(await ask(GRPC, port), { passed, seen }, title)
  }
  const one = await raw(t, 'HTTP/1.1 400 Bad Request\r\n\r\n')
  t.match(await ask(GRPC, one), { passed: false, network: true, seen: /breaks the protocol/ }, 'HTTP/1.1')
})

t.test('gRPC messages', async (t) => {
  t.same([...healthRequest('')], [0, 0, 0, 0, 0])
  t.same([...healthRequest('ab')], [0, 0, 0, 0, 4, 0x0a, 2, 0x61, 0x62])
  t.same([...healthRequest('x'.repeat(300)).subarray(0, 8)], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 2])
  const framed = (...bytes: number[]) => Buffer.from([0, 0, 0, 0, bytes.length, ...bytes])
  const rows: [title: string, body: Buffer, status: number | null][] = [
    ['status 1', framed(8, 1), 1],
    ['nothing is the default', framed(), 0],
    ['the last one counts', framed(8, 2, 8, 1), 1],
    ['unknown fields are skipped', framed(0x12, 2, 8, 2, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x28, 0x96, 1, 8, 1), 1],
    ['a length beyond the end', framed(0x12, 9, 8), null],
    ['a number that does not end', framed(8, 0x80), null],
    ['a group', framed(0x13), null],
    ['no frame', Buffer.from([0, 0]), null],
    ['a frame that is too short', Buffer.from([0, 0, 0, 0, 3, 8, 1]), null],
    ['two frames', Buffer.concat([framed(8, 1), framed(8, 1)]), null],
    ['eleven bytes of a number', framed(8, ...Array.from({ length: 10 }, () => 0x80), 0), null],
  ]
  for (const [title, body, status] of rows) t.equal(healthResponse(body), status, title)
})

t.test('what was asked, in words', async (t) => {
  const six = { ...endpointAt(80), address: '::1' }
  t.equal(askedText(checkOf(HTTP), endpointAt(80)), 'GET http://127.0.0.1:80/healthz')
  t.equal(askedText(checkOf({ ...HTTP, tls: true, port: 8443 }), six), 'GET https://[::1]:8443/healthz')
  t.equal(askedText(checkOf(TCP), six), 'TCP check of [::1]:80')
  t.equal(askedText(checkOf(GRPC), endpointAt(80)), 'gRPC health check of 127.0.0.1:80')
  t.equal(askedText(checkOf({ ...GRPC, service: 'shop.Cart' }), endpointAt(80)), 'gRPC health check of shop.Cart at 127.0.0.1:80')
})

t.test('a check that is given up leaves nothing', async (t) => {
  const sockets: Socket[] = []
  const server = net.createServer((socket) => sockets.push(socket))
  const port = await listen(t, server)
  const attempts = [HTTP, GRPC, { ...HTTP, tls: true }].map((p) =>
    startCheck(checkOf(p, { timeoutMs: 20_000 }), endpointAt(port)),
  )
  await eventually('three connections', () => sockets.length === 3)
  for (const attempt of attempts) attempt.cancel()
  for (const attempt of attempts) t.match(await attempt.result, { passed: false, seen: 'was given up' })
  await eventually('them to end', () =>
    sockets.every((socket) => socket.destroyed || socket.readableEnded || socket.resume().readableEnded),
  )
  startCheck(checkOf(HTTP), endpointAt(port)).cancel()
  t.equal(sockets.length, 3, 'given up before the client was loaded')
})

// Self-signed for this test alone, valid until 2126.
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgoHQPovScigSWXRtc
fJFV5uyA6TFKH8znZk+vuas20EmhRANCAATyomgE6Wklf7nbpLa+Jni89jFMbyT/
VGU1JIPR5fgu50mG1jebshT7nPeW6owShZ4SYWq9WBzW9w7uMZ0b/oGB
-----END PRIVATE KEY-----
`
const CERT = `-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUIwaPA4vED7kZ/Y+5c+oXogZINt0wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjExMzQxMDlaGA8yMTI2MTAyODEzNDEw
OVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPKi
aATpaSV/uduktr4meLz2MUxvJP9UZTUkg9Hl+C7nSYbWN5uyFPuc95bqjBKFnhJh
ar1YHNb3Du4xnRv+gYGjUzBRMB0GA1UdDgQWBBQSbtZnHnO2elqAGg8rxI0lLU/O
fjAfBgNVHSMEGDAWgBQSbtZnHnO2elqAGg8rxI0lLU/OfjAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIAGrI0Za6R/kIGSr/m2RnV039seh2V/NpnWI
KK4VmGdBAiEAnRdHNn7DsnfTCQzhfyUkf2UoColY8XBzFp3UnyW3P94=
-----END CERTIFICATE-----
`

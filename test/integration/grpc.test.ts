// gRPC through the whole proxy: calls of all kinds, errors as clients see them, and what is told of them.
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { refusingPort } from '../support/free-port.ts'
import { GrpcClient, GrpcServer } from '../support/grpc.ts'
import { type Http2Seen, Http2Upstream, inTrailers, trailersOnly } from '../support/http2-upstream.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

let one: GrpcServer
let two: GrpcServer
let scripted: Http2Upstream
let proxy: HeddleProcess

t.before(async () => {
  one = await GrpcServer.start(t, 'one')
  two = await GrpcServer.start(t, 'two')
  scripted = await Http2Upstream.start(t)
  const dead = `127.0.0.1:${await refusingPort()}`
  const to = (host: string) => [{ destination: { host } }]
  const none = { attempts: 0 }
  const always = { percentage: { value: 100 } }
  const on = (name: string, more: object) => ({ match: [{ headers: { 'x-case': { exact: name } } }], ...more })
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'echo', protocol: 'GRPC', endpoints: [one, two] }),
      service({ host: 'scripted', protocol: 'GRPC', endpoints: [scripted] }),
      service({ host: 'empty', protocol: 'GRPC', endpoints: [] }),
      service({ host: 'dead', protocol: 'GRPC', endpoints: [{ address: dead }] }),
      service({ host: 'full', protocol: 'GRPC', endpoints: [scripted] }),
      service({ host: 'strict', protocol: 'GRPC', endpoints: [one] }),
      destinationRule('echo', 'echo', { trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' } } }),
      destinationRule('full', 'full', { trafficPolicy: { connectionPool: { http: { http2MaxRequests: 1 } } } }),
      virtualService(
        'scripted',
        ['scripted'],
        [on('timed', { timeout: '5s', route: to('scripted'), retries: none }), { route: to('scripted'), retries: none }],
      ),
      virtualService('strict', ['strict'], [on('found', { route: to('strict') })]),
      virtualService(
        'echo',
        ['echo'],
        [
          on('empty', { route: to('empty'), retries: none }),
          on('dead', { route: to('dead'), retries: none }),
          on('no cluster', { route: to('nowhere') }),
          on('full', { route: to('full'), retries: none }),
          on('timeout', { timeout: '60ms', route: to('scripted'), retries: none }),
          on('direct', { directResponse: { status: 503, body: { string: 'sötöt 100%' } } }),
          on('moved', { redirect: { uri: '/elsewhere' } }),
          on('abort http', { fault: { abort: { httpStatus: 401, ...always } }, route: to('echo') }),
          on('abort grpc', { fault: { abort: { grpcStatus: 'RESOURCE_EXHAUSTED', ...always } }, route: to('echo') }),
          { route: to('echo'), retries: none },
        ],
      ),
    ),
    bootstrap: { mesh: { outboundTrafficPolicy: 'REGISTRY_ONLY' } },
  })
})

t.beforeEach(() => {
  scripted.startAfresh()
  one.calls.length = 0
  two.calls.length = 0
})

const texts = (messages: readonly Buffer[]) => messages.map((m) => m.toString().replace(/^(one|two):/, ''))

t.test('unary, client streaming, server streaming and both ways', async (t) => {
  const client = new GrpcClient(t, proxy.port(), 'echo')
  const unary = await client.unary('hello')
  t.same([unary.code, texts(unary.messages)], [grpc.status.OK, ['hello']])
  const empty = await client.unary('')
  t.same([empty.code, texts(empty.messages)], [grpc.status.OK, ['']], 'a message without bytes')
  const collected = await client.collect(['a', 'b', 'c'])
  t.same([collected.code, texts(collected.messages)], [grpc.status.OK, ['abc']])
  const expanded = await client.expand('n')
  t.same([expanded.code, texts(expanded.messages)], [grpc.status.OK, ['n0', 'n1', 'n2']])
  const chat = client.chat()
  const heard: string[] = []
  chat.on('data', (d: Buffer) => heard.push(...texts([d])))
  const status = new Promise<grpc.StatusObject>((resolve) => chat.on('status', resolve))
  for (const word of ['1', '2', '3']) {
    chat.write(Buffer.from(word))
    await eventually(`the answer to ${word}`, () => heard.at(-1) === word)
  }
  chat.end()
  t.equal((await status).code, grpc.status.OK)
  t.same(heard, ['1', '2', '3'], 'each message was answered before the next was sent')
})

t.test('requests of one connection are balanced one by one', async (t) => {
  const before = (await proxy.metrics()).value('envoy_http_downstream_cx_total') ?? 0
  const client = new GrpcClient(t, proxy.port(), 'echo')
  for (let i = 0; i < 10; i++) await client.unary('x')
  t.same([one.calls.length, two.calls.length], [5, 5])
  const after = (await proxy.metrics()).value('envoy_http_downstream_cx_total') ?? 0
  t.equal(after - before, 1, 'one connection')
})

t.test('metadata passes in all directions, binary too', async (t) => {
  const blob = Buffer.from([0, 1, 2, 253, 254, 255])
  const answer = (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
    const initial = new grpc.Metadata()
    initial.set('x-initial', 'i')
    initial.set('x-initial-bin', blob)
    call.sendMetadata(initial)
    const trailing = new grpc.Metadata()
    trailing.set('x-trailing', 't')
    trailing.set('x-trailing-bin', blob)
    done(null, call.request, trailing)
  }
  for (const server of [one, two]) {
    const { unary } = server.moves
    server.moves.unary = answer
    t.teardown(() => {
      server.moves.unary = unary
    })
  }
  const client = new GrpcClient(t, proxy.port(), 'echo')
  const got = await client.unary('x', { metadata: { 'x-word': 'w', 'x-word-bin': blob } })
  const sent = [...one.calls, ...two.calls][0] as grpc.Metadata
  t.same([sent.get('x-word'), sent.get('x-word-bin')], [['w'], [blob]])
  t.same([got.initial?.get('x-initial'), got.initial?.get('x-initial-bin')], [['i'], [blob]])
  t.same([got.trailing.get('x-trailing'), got.trailing.get('x-trailing-bin')], [['t'], [blob]])
  t.match(got.initial?.get('x-envoy-upstream-service-time')[0], /^\d+$/)
})

t.test('a status passes as it is, in headers and in trailers, and is counted', async (t) => {
  const client = new GrpcClient(t, proxy.port(), 'scripted')
  const label = async (status: string) =>
    (await proxy.metrics()).value('istio_requests_total', {
      destination_service: 'scripted.default.svc.cluster.local',
      request_protocol: 'grpc',
      grpc_response_status: status,
      response_code: '200',
    })
  scripted.onStream = ({ stream }) => trailersOnly(stream, 5, 'not%20h%C3%A9re')
  const only = await client.unary('x', { metadata: { 'x-request-id': 'grpc-headers' } })
  t.same([only.code, only.details], [5, 'not hére'])
  t.equal(await label('5'), 1)
  scripted.onStream = ({ stream }) => inTrailers(stream, 10)
  const late = await client.expand('x', { metadata: { 'x-request-id': 'grpc-trailers' } })
  t.same([late.code, late.messages.length], [10, 1])
  t.equal(await label('10'), 1)
  // Envoy's and Istio's formats have no field for it: the log knows the HTTP response.
  for (const request_id of ['grpc-headers', 'grpc-trailers']) {
    const line = await proxy.logged({ request_id })
    t.match(line, { response_code: 200, response_flags: '-', response_code_details: 'via_upstream', protocol: 'HTTP/2' })
  }
})

t.test('an HTTP error of the upstream passes unchanged', async (t) => {
  scripted.onStream = ({ stream }) => stream.respond({ ':status': 503 }, { endStream: true })
  const client = new GrpcClient(t, proxy.port(), 'scripted')
  const got = await client.unary('x', { metadata: { 'x-request-id': 'grpc-503' } })
  t.equal(got.code, grpc.status.UNAVAILABLE, 'as the client maps it')
  t.match(await proxy.logged({ request_id: 'grpc-503' }), { response_code: 503, response_code_details: 'via_upstream' })
})

// Envoy maps the HTTP status of its replies: 404 to 12, 401 to 16, 502, 503 and 504 to 14; a fault says its own.
const REPLIES: readonly {
  readonly name: string
  readonly host?: string
  readonly code: number
  readonly flags: string
  readonly details?: RegExp
}[] = [
  { name: 'no route', host: 'strict', code: 12, flags: 'NR' },
  { name: 'unknown host', host: 'unknown.test', code: 14, flags: '-' },
  { name: 'empty', code: 14, flags: 'UH', details: /^no healthy upstream$/ },
  { name: 'dead', code: 14, flags: 'UF', details: /^upstream connect error or disconnect\/reset before headers\. / },
  { name: 'no cluster', code: 14, flags: 'NC' },
  { name: 'timeout', code: 14, flags: 'UT', details: /^upstream request timeout$/ },
  { name: 'direct', code: 14, flags: '-', details: /^sötöt 100%$/ },
  { name: 'moved', code: 2, flags: '-' },
  { name: 'abort http', code: 16, flags: 'FI', details: /^fault filter abort$/ },
  { name: 'abort grpc', code: 8, flags: 'FI', details: /^fault filter abort$/ },
]

for (const { name, host = 'echo', code, flags, details } of REPLIES) {
  t.test(`our own reply is a gRPC error: ${name}`, async (t) => {
    scripted.onStream = () => {}
    const client = new GrpcClient(t, proxy.port(), host)
    const got = await client.unary('x', { metadata: { 'x-case': name, 'x-request-id': `reply ${name}` } })
    t.equal(got.code, code)
    if (details !== undefined) t.match(got.details, details)
    t.match(await proxy.logged({ request_id: `reply ${name}` }), { response_code: 200, response_flags: flags })
    const counted = { grpc_response_status: String(code), response_code: '200', request_protocol: 'grpc', response_flags: flags }
    t.ok((await proxy.metrics()).value('istio_requests_total', counted), 'counted as gRPC')
  })
}

t.test('a call above http2MaxRequests', async (t) => {
  let held: Http2Seen | undefined
  scripted.onStream = (seen) => {
    held = seen
  }
  const client = new GrpcClient(t, proxy.port(), 'echo')
  const first = client.unary('x', { metadata: { 'x-case': 'full' } })
  await eventually('the first call', () => held)
  const second = await client.unary('x', { metadata: { 'x-case': 'full', 'x-request-id': 'over' } })
  t.equal(second.code, grpc.status.UNAVAILABLE)
  t.match(await proxy.logged({ request_id: 'over' }), { response_flags: 'UO' })
  trailersOnly((held as Http2Seen).stream, 0)
  t.equal((await first).code, grpc.status.OK)
})

// Route 5 s; what the client says lowers it, and the upstream is told.
const TIMEOUTS: readonly {
  readonly name: string
  readonly said?: string
  readonly route?: boolean
  readonly told: string | undefined
}[] = [
  { name: 'a shorter grpc-timeout counts', said: '2S', route: true, told: '2000m' },
  { name: 'a longer one is lowered to that of the route', said: '30S', route: true, told: '5000m' },
  { name: 'without one the route counts', route: true, told: '5000m' },
  { name: 'without a timeout of the route it counts', said: '3S', told: '3000m' },
  { name: 'without any nothing is said', told: undefined },
  { name: '0 means for ever', said: '0m', route: true, told: '5000m' },
]

for (const { name, said, route = false, told } of TIMEOUTS) {
  t.test(`grpc-timeout: ${name}`, async (t) => {
    scripted.onStream = ({ stream }) => trailersOnly(stream, 0)
    const client = new GrpcClient(t, proxy.port(), 'scripted')
    const metadata = { ...(said === undefined ? {} : { 'grpc-timeout': said }), ...(route ? { 'x-case': 'timed' } : {}) }
    t.equal((await client.unary('x', { metadata })).code, grpc.status.OK)
    t.equal(scripted.seen[0]?.headers['grpc-timeout'], told)
  })
}

t.test('a deadline that passes ends the call at the upstream too', async (t) => {
  scripted.onStream = () => {}
  const client = new GrpcClient(t, proxy.port(), 'scripted')
  const got = await client.unary('x', { metadata: { 'grpc-timeout': '50m', 'x-request-id': 'passed' } })
  t.same([got.code, got.details], [grpc.status.UNAVAILABLE, 'upstream request timeout'], 'as Envoy maps 504')
  t.equal(await scripted.seen[0]?.closed, 8, 'CANCEL')
  t.match(await proxy.logged({ request_id: 'passed' }), { response_flags: 'UT', response_code_details: 'response_timeout' })
})

t.test('a deadline of the client reaches the upstream', async (t) => {
  scripted.onStream = () => {}
  const client = new GrpcClient(t, proxy.port(), 'scripted')
  const got = await client.unary('x', { deadlineMs: 80 })
  t.ok([grpc.status.DEADLINE_EXCEEDED, grpc.status.UNAVAILABLE].includes(got.code), 'by the client or by the proxy, who is first')
  t.equal(await scripted.seen[0]?.closed, 8, 'CANCEL')
})

t.test('a call that the client cancels ends at the upstream', async (t) => {
  let cancelled = false
  for (const server of [one, two]) {
    const { chat } = server.moves
    server.moves.chat = (call) => {
      call.on('cancelled', () => {
        cancelled = true
      })
      chat(call)
    }
    t.teardown(() => {
      server.moves.chat = chat
    })
  }
  const client = new GrpcClient(t, proxy.port(), 'echo')
  const chat = client.chat({ metadata: { 'x-request-id': 'cancelled' } })
  const answered = new Promise((resolve) => chat.once('data', resolve))
  chat.on('error', () => {})
  chat.write(Buffer.from('x'))
  await answered
  chat.cancel()
  await eventually('the server to be told', () => cancelled)
  t.match(await proxy.logged({ request_id: 'cancelled' }), { response_flags: 'DR', response_code: 200 })
})

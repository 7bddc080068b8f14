// What is repeated of gRPC, what is not, and what endpoints and mirrors see of it. Every call is a POST: the guard decides.
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { type Ended, GrpcClient } from '../support/grpc.ts'
import { Http2Upstream, inTrailers, trailersOnly } from '../support/http2-upstream.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

let upstream: Http2Upstream
let other: Http2Upstream
let proxy: HeddleProcess

const ALL = 'cancelled,deadline-exceeded,internal,resource-exhausted,unavailable,refused-stream'

t.before(async () => {
  upstream = await Http2Upstream.start(t)
  other = await Http2Upstream.start(t)
  const to = (host: string) => [{ destination: { host } }]
  const retries = { attempts: 2, retryOn: ALL, backoff: '1ms' }
  const allowed = (object: object) => {
    const { metadata, ...rest } = object as { metadata: object }
    return { ...rest, metadata: { ...metadata, annotations: { 'heddle.io/unsafe-retries': 'allow' } } }
  }
  const outlierDetection = { consecutive5xxErrors: 2, interval: '1h', baseEjectionTime: '1h', maxEjectionPercent: 100 }
  const grpcService = (host: string, ...endpoints: Http2Upstream[]) => service({ host, protocol: 'GRPC', endpoints })
  proxy = await startProxy(t, {
    resources: yaml(
      grpcService('web', upstream),
      grpcService('guarded'),
      grpcService('allowed'),
      grpcService('default', upstream),
      grpcService('pair', upstream, other),
      grpcService('mirrored', upstream),
      grpcService('shadow', other),
      destinationRule('pair', 'pair', { trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' }, outlierDetection } }),
      virtualService('guarded', ['guarded'], [{ route: to('web'), retries }]),
      allowed(
        virtualService(
          'allowed',
          ['allowed'],
          [
            {
              match: [{ headers: { 'x-only': { exact: 'internal' } } }],
              route: to('web'),
              retries: { ...retries, retryOn: 'internal' },
            },
            { match: [{ headers: { 'x-only': { exact: '5xx' } } }], route: to('web'), retries: { ...retries, retryOn: '5xx' } },
            { route: to('web'), retries },
          ],
        ),
      ),
      virtualService('pair', ['pair'], [{ route: to('pair'), retries: { attempts: 0 } }]),
      virtualService('mirrored', ['mirrored'], [{ route: to('mirrored'), mirror: { host: 'shadow' }, retries: { attempts: 0 } }]),
    ),
  })
})

t.beforeEach(() => {
  for (const u of [upstream, other]) {
    u.startAfresh()
    u.onStream = ({ stream }) => trailersOnly(stream, 0)
  }
})

/** The status of each attempt; the last one counts for all that follow. */
const statuses = (list: readonly number[], how: typeof trailersOnly | typeof inTrailers = trailersOnly) => {
  upstream.onStream = ({ stream }, nth) => how(stream, list[Math.min(nth, list.length) - 1] as number)
}

const ask = (host: string, metadata: Record<string, string> = {}): Promise<Ended> =>
  new GrpcClient(t, proxy.port(), host).unary('x', { metadata })

for (const [name, status] of Object.entries({
  cancelled: 1,
  'deadline-exceeded': 4,
  'resource-exhausted': 8,
  internal: 13,
  unavailable: 14,
})) {
  t.test(`${name} in headers is repeated where the route allows it, and held back where it does not`, async (t) => {
    statuses([status, 0])
    t.equal((await ask('allowed')).code, grpc.status.OK)
    t.equal(upstream.seen.length, 2)
    upstream.startAfresh()
    statuses([status, 0])
    t.equal((await ask('guarded')).code, status)
    t.equal(upstream.seen.length, 1)
  })
}

const NOT_REPEATED: readonly {
  readonly name: string
  readonly status: number
  readonly late?: boolean
  readonly only?: string
}[] = [
  { name: 'a status that no keyword names', status: 2 },
  { name: 'a status that the route does not ask for', status: 14, only: 'internal' },
  { name: 'a status with 5xx asked for: the HTTP status is 200', status: 14, only: '5xx' },
  { name: 'a status in trailers behind a message', status: 14, late: true },
]

for (const { name, status, late = false, only } of NOT_REPEATED) {
  t.test(`not repeated: ${name}`, async (t) => {
    statuses([status, 0], late ? inTrailers : trailersOnly)
    const got = await ask('allowed', only === undefined ? {} : { 'x-only': only })
    t.equal(got.code, status)
    t.equal(upstream.seen.length, 1)
  })
}

t.test('attempts that are used up leave the last status', async (t) => {
  statuses([14])
  const got = await ask('allowed', { 'x-request-id': 'used-up' })
  t.equal(got.code, 14)
  t.same(
    upstream.seen.map(({ headers }) => headers['x-envoy-attempt-count']),
    ['1', '2', '3'],
  )
  t.match(await proxy.logged({ request_id: 'used-up' }), { response_flags: 'URX', response_code: 200 })
})

t.test('explain says what the guard has held back', async (t) => {
  statuses([14])
  await ask('guarded', { 'x-request-id': 'held-back' })
  await proxy.logged({ request_id: 'held-back' })
  t.match(JSON.stringify(await proxy.explain('held-back')), /POST/)
})

for (const host of ['guarded', 'default']) {
  t.test(`REFUSED_STREAM is repeated, since nothing was done: ${host}`, async (t) => {
    upstream.onStream = ({ stream }, nth) => (nth === 1 ? stream.close(7) : trailersOnly(stream, 0))
    t.equal((await ask(host)).code, grpc.status.OK)
    t.equal(upstream.seen.length, 2)
  })
}

t.test('a stream above the last one of a GOAWAY is repeated on another connection', async (t) => {
  const sessions: unknown[] = []
  upstream.onStream = ({ stream }, nth) => {
    sessions.push(stream.session)
    // Those of other tests stand before it on the connection; Node takes 0 for the last that it has seen.
    if (nth === 1) stream.session?.goaway(0, (stream.id as number) - 2)
    else trailersOnly(stream, 0)
  }
  t.equal((await ask('guarded')).code, grpc.status.OK)
  t.equal(sessions.length, 2)
  t.not(sessions[0], sessions[1])
})

t.test('statuses in headers are mapped for outlier detection: UNAVAILABLE twice ejects', async (t) => {
  const client = new GrpcClient(t, proxy.port(), 'pair')
  upstream.onStream = ({ stream }) => trailersOnly(stream, 14)
  for (let i = 0; i < 4; i++) await client.unary('x')
  await eventually('the endpoint to be ejected', async () => /failed_outlier_check/.test((await proxy.admin('/clusters')).body))
  upstream.startAfresh()
  const codes: number[] = []
  for (let i = 0; i < 4; i++) codes.push((await client.unary('x')).code)
  t.same(codes, [0, 0, 0, 0])
  t.equal(upstream.seen.length, 0)
})

t.test('statuses of clients in headers do not eject', async (t) => {
  const client = new GrpcClient(t, proxy.port(), 'pair')
  other.onStream = ({ stream }) => trailersOnly(stream, 5)
  for (let i = 0; i < 4; i++) t.equal((await client.unary('x')).code, 5)
})

t.test('a mirror gets a whole copy, and its status is nobody’s', async (t) => {
  let copied = Buffer.alloc(0)
  other.onStream = ({ stream }) => {
    const pieces: Buffer[] = []
    stream.on('data', (d: Buffer) => pieces.push(d))
    stream.on('end', () => {
      copied = Buffer.concat(pieces)
      trailersOnly(stream, 13)
    })
  }
  t.equal((await ask('mirrored', { 'x-word': 'w' })).code, grpc.status.OK)
  await eventually('the copy', () => copied.length > 0)
  t.equal(copied.toString('latin1'), '\0\0\0\0\x01x')
  const { headers } = other.seen[0] as (typeof other.seen)[number]
  t.match(headers, { ':path': '/test.Echo/Unary', 'content-type': 'application/grpc', te: 'trailers', 'x-word': 'w' })
  t.match(headers[':authority'], /^mirrored-shadow/)
})

// Which outcomes are tried again, how often, where and with what (Istio HTTPRetry and Envoy retry state and Envoy retry back-off).
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { refusingPort } from '../support/free-port.ts'
import { header } from '../support/h1-reader.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import type { RequestSpec } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { type AnswerSpec, type Exchange, Upstream } from '../support/upstream.ts'
import { HTTP1_ONLY, spelt, UPSTREAM } from '../support/versions.ts'

/** What the upstream does with each try: the last entry is repeated. */
type Move = AnswerSpec | 'close' | 'reset' | 'garbage'

let upstream: Upstream
let moves: readonly Move[] = []
let tries: Exchange[] = []

const play = async (e: Exchange) => {
  const move = moves[Math.min(tries.length, moves.length - 1)] as Move
  tries.push(e)
  if (typeof move === 'object') await e.answer(move)
  else {
    await e.body()
    if (move === 'close') e.end()
    else if (move === 'reset') e.reset()
    else await e.write('garbage\r\n\r\n')
  }
}

/** prefix → retries. */
const ROUTES: Readonly<Record<string, object | null>> = {
  '/default/': null,
  '/empty/': {},
  '/none/': { attempts: 0 },
  '/words/': { attempts: 2, backoff: '1ms' },
  '/5xx/': { attempts: 2, retryOn: '5xx', backoff: '1ms' },
  '/gateway-error/': { attempts: 2, retryOn: 'gateway-error', backoff: '1ms' },
  '/reset/': { attempts: 2, retryOn: 'reset', backoff: '1ms' },
  '/unsent/': { attempts: 2, retryOn: 'reset-before-request', backoff: '1ms' },
  '/connect/': { attempts: 2, retryOn: 'connect-failure', backoff: '1ms' },
  '/4xx/': { attempts: 2, retryOn: 'retriable-4xx', backoff: '1ms' },
  '/limited/': { attempts: 2, retryOn: 'envoy-ratelimited', backoff: '1ms' },
  '/codes/': { attempts: 2, retryOn: '418,503', backoff: '1ms' },
  '/grpc/': { attempts: 2, retryOn: 'cancelled,unavailable,resource-exhausted,deadline-exceeded,internal', backoff: '1ms' },
  '/one-grpc/': { attempts: 2, retryOn: 'unavailable', backoff: '1ms' },
  '/many/': { attempts: 6, retryOn: '5xx', backoff: '1ms' },
}

let proxy: HeddleProcess
let dead: string

t.before(async () => {
  upstream = await Upstream.start(t, play)
  dead = `127.0.0.1:${await refusingPort()}`
  const routes = (host: string) =>
    Object.entries(ROUTES).map(([prefix, retries]) => ({
      match: [{ uri: { prefix } }],
      route: [{ destination: { host } }],
      ...(retries === null ? {} : { retries }),
    }))
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'dead', endpoints: [{ address: dead }] }),
      virtualService('web', ['web'], routes('web')),
      virtualService('dead', ['dead'], routes('dead')),
    ),
    bootstrap: { retries: 'exact', limits: { bufferBytes: '64KiB' } },
  })
})

async function ask(t: Teardown, script: readonly Move[], request: RequestSpec) {
  moves = script
  tries = []
  const response = await askAny(t, proxy.port(), { host: 'web', ...request })
  // A line comes a while after its answer: who wants it asks for it.
  return { response, line: () => proxy.logged({ path: request.target ?? '/' }), tries: tries.length }
}

const OK: Move = { body: 'fine' }
const grpc = (status: number): Move => ({ headers: { 'Content-Type': 'application/grpc', 'Grpc-Status': String(status) } })

let serial = 0

t.test('each keyword, each outcome: how many tries', async (t) => {
  const rows: readonly [prefix: string, move: Move, tries: number][] = [
    ['/default/', { status: 503 }, 1],
    ['/default/', 'close', 1],
    ['/default/', grpc(14), 3],
    ['/default/', grpc(1), 3],
    ['/default/', grpc(13), 1],
    ['/default/', { headers: { 'grpc-status': '14' } }, 3],
    ['/default/', { headers: { 'grpc-status': '13' } }, 1],
    ['/empty/', grpc(14), 1],
    ['/none/', grpc(14), 1],
    ['/none/', 'close', 1],
    ['/words/', grpc(14), 3],
    ['/words/', { status: 503 }, 1],
    ['/5xx/', { status: 500 }, 3],
    ['/5xx/', { status: 599 }, 3],
    ['/5xx/', { status: 499 }, 1],
    ['/5xx/', 'close', 3],
    ['/5xx/', 'reset', 3],
    ['/5xx/', 'garbage', 3],
    ['/5xx/', { status: 503, headers: { 'x-envoy-ratelimited': 'true' } }, 1],
    ['/gateway-error/', { status: 500 }, 1],
    ['/gateway-error/', { status: 502 }, 3],
    ['/gateway-error/', { status: 503 }, 3],
    ['/gateway-error/', { status: 504 }, 3],
    ['/gateway-error/', 'close', 3],
    ['/reset/', 'close', 3],
    ['/reset/', 'reset', 3],
    ['/reset/', { status: 503 }, 1],
    ['/unsent/', 'close', 1],
    ['/unsent/', 'reset', 1],
    ['/connect/', 'close', 1],
    ['/connect/', { status: 503 }, 1],
    ['/4xx/', { status: 409 }, 3],
    ['/4xx/', { status: 404 }, 1],
    ['/4xx/', { status: 503 }, 1],
    ['/limited/', { status: 503, headers: { 'x-envoy-ratelimited': 'true' } }, 3],
    ['/limited/', { status: 429, headers: { 'x-envoy-ratelimited': 'true' } }, 3],
    ['/limited/', { status: 503 }, 1],
    ['/codes/', { status: 418 }, 3],
    ['/codes/', { status: 503 }, 3],
    ['/codes/', { status: 500 }, 1],
    ['/codes/', 'close', 1],
    ['/grpc/', grpc(1), 3],
    ['/grpc/', grpc(4), 3],
    ['/grpc/', grpc(8), 3],
    ['/grpc/', grpc(13), 3],
    ['/grpc/', grpc(14), 3],
    ['/grpc/', grpc(2), 1],
    ['/one-grpc/', grpc(8), 1],
    [
      '/one-grpc/',
      { headers: { 'Content-Type': 'application/grpc' }, chunks: ['message'], trailers: { 'Grpc-Status': '14' } },
      1,
    ],
  ]
  const lines: (() => Promise<void>)[] = []
  for (const [prefix, move, expected] of rows) {
    const target = `${prefix}${serial++}`
    // A grpc-status counts whatever the request was.
    const request = JSON.stringify(move).includes('application/grpc')
      ? { method: 'POST', headers: { 'Content-Type': 'application/grpc' } }
      : {}
    const { response, line, tries } = await ask(t, [move], { target, ...request })
    const what = `${prefix} ${JSON.stringify(move)}`
    t.equal(tries, expected, what)
    if (typeof move === 'object') t.equal(response.status, move.status ?? 200, what)
    else {
      t.equal(response.status, move === 'garbage' ? 502 : 503, what)
      t.match(response.body.toString(), expected === 3 ? /retried and the latest reset reason/ : /headers\. reset reason/)
    }
    lines.push(async () => {
      const { response_flags, response_code_details } = await line()
      if (typeof move === 'object') {
        t.equal(String(response_flags).includes('URX'), expected === 3, `${what}: URX when tries are used up`)
        t.equal(response_code_details, 'via_upstream')
      } else t.equal(response_flags, `${expected === 3 ? 'URX,' : ''}${move === 'garbage' ? 'UPE' : 'UC'}`, what)
    })
  }
  for (const check of lines) await check()
})

t.test('an endpoint that refuses connections', async (t) => {
  const rows: readonly [prefix: string, tries: number][] = [
    ['/default/', 3],
    ['/words/', 3],
    ['/empty/', 1],
    ['/none/', 1],
    ['/5xx/', 3],
    ['/gateway-error/', 3],
    ['/reset/', 3],
    ['/unsent/', 3],
    ['/connect/', 3],
    ['/4xx/', 1],
    ['/codes/', 1],
  ]
  const failures = async () =>
    (await proxy.metrics()).value('envoy_cluster_upstream_cx_connect_fail', {
      cluster_name: 'outbound|80||dead.default.svc.cluster.local',
    }) ?? 0
  const lines: (() => Promise<unknown>)[] = []
  for (const [prefix, expected] of rows) {
    const before = await failures()
    const target = `${prefix}${serial++}`
    const { response, line } = await ask(t, [OK], { host: 'dead', target })
    t.equal(response.status, 503, prefix)
    t.equal((await failures()) - before, expected, prefix)
    lines.push(async () => t.match(await line(), { response_flags: expected === 3 ? 'URX,UF' : 'UF' }, prefix))
  }
  for (const check of lines) await check()
})

t.test('the first good answer ends it, and the client sees nothing of the others', async (t) => {
  const { response, line, tries } = await ask(t, [{ status: 503, body: 'no' }, 'close', OK], { target: '/5xx/good' })
  t.same([response.status, response.body.toString(), tries], [200, 'fine', 3])
  t.match(await line(), { response_flags: '-', response_code: 200 })
})

t.test('x-envoy-attempt-count tells each try; x-request-id stays', async (t) => {
  await ask(t, [{ status: 503 }], { target: '/5xx/count' })
  t.same(
    tries.map((e) => header(e.request, 'x-envoy-attempt-count')),
    ['1', '2', '3'],
  )
  t.equal(new Set(tries.map((e) => header(e.request, 'x-request-id'))).size, 1)
})

t.test('the body is sent again, whole, framed as before', async (t) => {
  const body = 'b'.repeat(50_000)
  await ask(t, [{ status: 503 }], { method: 'POST', target: '/5xx/body', body })
  t.same(
    tries.map((e) => e.request.body.toString()),
    [body, body, body],
  )
  t.same(
    tries.map((e) => header(e.request, 'content-length')),
    ['50000', '50000', '50000'],
  )
})

t.test('chunks and trailers are sent again', async (t) => {
  moves = [{ status: 503 }, OK]
  tries = []
  const client = await connectAny(t, proxy.port())
  client.expectMethod('POST')
  await client.writeSplit(
    'POST /5xx/chunks HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-T: 1\r\n\r\n',
    [70, 75, 80, 85],
  )
  t.equal((await client.response()).status, 200)
  t.same(
    tries.map((e) => [e.request.body.toString(), e.request.trailers]),
    [
      ['abcdefg', spelt([['X-T', '1']])],
      ['abcdefg', spelt([['X-T', '1']])],
    ],
  )
})

t.test('a body beyond the buffer limit goes through once and is not tried again', async (t) => {
  const { response, tries: n } = await ask(t, [{ status: 503 }], {
    method: 'POST',
    target: '/5xx/large',
    body: 'x'.repeat(300_000),
  })
  t.same([response.status, n], [503, 1])
  t.equal(tries[0]?.request.body.length, 300_000)
})

t.test(
  'an answer before the end of the request is tried again with what has come, and the rest follows',
  { skip: HTTP1_ONLY },
  async (t) => {
    const early = await Upstream.start(t)
    const own = await startProxy(t, {
      resources: yaml(
        service({ host: 'web', endpoints: [early] }),
        virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 1, retryOn: '5xx' } }]),
      ),
      bootstrap: { retries: 'exact' },
    })
    const client = await connectAny(t, own.port())
    client.expectMethod('POST')
    await client.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 8\r\n\r\nhalf')
    const first = await early.next()
    await first.bodyBytes(4)
    await first.answerEarly({ status: 503 })
    const second = await early.next()
    await second.bodyBytes(4)
    await client.write('rest')
    t.equal((await second.body()).toString(), 'halfrest')
    await second.answer({ body: 'ok' })
    t.equal((await client.response()).status, 200)
  },
)

t.test('nothing is tried again once the answer has begun', async (t) => {
  moves = [OK]
  tries = []
  const cut = await Upstream.start(t)
  const own = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [cut] }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 3, retryOn: '5xx' } }]),
    ),
  })
  const client = await connectAny(t, own.port())
  await client.send({ host: 'web', target: '/cut' })
  const exchange = await cut.next()
  await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
  await client.responseHead()
  exchange.reset()
  await client.over()
  t.equal(cut.exchanges.length, 1)
  t.match(await own.logged({ path: '/cut' }), {
    response_code: 200,
    // A body that ends too early breaks the rules of HTTP/1; streams of HTTP/2 go with their connection.
    ...(UPSTREAM === 'http2'
      ? { response_flags: 'UC', response_code_details: 'upstream_reset_after_response_started{connection_termination}' }
      : { response_flags: 'UPE', response_code_details: 'upstream_reset_after_response_started{protocol_error}' }),
  })
})

t.test('another try goes to the same destination, and there to another endpoint', async (t) => {
  const seen: string[] = []
  const at = (name: string) => (e: Exchange) => {
    seen.push(name)
    return e.answer({ status: 503 })
  }
  const [a1, a2, b1, b2] = await Promise.all(['a1', 'a2', 'b1', 'b2'].map((n) => Upstream.start(t, at(n))))
  const own = await startProxy(t, {
    resources: yaml(
      service({ host: 'a', endpoints: [a1 as Upstream, a2 as Upstream] }),
      service({ host: 'b', endpoints: [b1 as Upstream, b2 as Upstream] }),
      destinationRule('a', 'a', { trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' } } }),
      destinationRule('b', 'b', { trafficPolicy: { loadBalancer: { simple: 'RANDOM' } } }),
      service({ host: 'web', endpoints: [] }),
      virtualService(
        'web',
        ['web'],
        [
          {
            route: [
              { destination: { host: 'a' }, weight: 50 },
              { destination: { host: 'b' }, weight: 50 },
            ],
            retries: { attempts: 1, retryOn: '5xx', backoff: '1ms' },
          },
        ],
      ),
    ),
  })
  const first = new Set<string>()
  for (let i = 0; i < 40; i++) {
    seen.length = 0
    await askAny(t, own.port(), { host: 'web' })
    t.equal(seen.length, 2)
    t.equal(seen[0]?.[0], seen[1]?.[0], `the same destination: ${seen}`)
    first.add(seen[0]?.[0] as string)
    if (seen[0]?.startsWith('a')) t.not(seen[0], seen[1], 'round robin and previous hosts: another endpoint')
  }
  t.same([...first].sort(), ['a', 'b'], 'both destinations are drawn')
})

t.test('retries are counted', async (t) => {
  const value = async (name: string) =>
    (await proxy.metrics()).value(`envoy_cluster_upstream_${name}`, {
      cluster_name: 'outbound|80||web.default.svc.cluster.local',
    }) ?? 0
  const before = [await value('rq_retry'), await value('rq_retry_limit_exceeded')]
  await ask(t, [{ status: 503 }], { target: '/many/counted' })
  t.equal((await value('rq_retry')) - (before[0] as number), 6)
  t.equal((await value('rq_retry_limit_exceeded')) - (before[1] as number), 1)
})

t.test('a retry that ends well is counted as one, a retry that does not is none', async (t) => {
  const value = async () =>
    (await proxy.metrics()).value('envoy_cluster_upstream_rq_retry_success', {
      cluster_name: 'outbound|80||web.default.svc.cluster.local',
    }) ?? 0
  const before = await value()
  await ask(t, [OK], { target: '/5xx/at-once' })
  await ask(t, [{ status: 503 }], { target: '/5xx/never' })
  t.equal(await value(), before)
  await ask(t, [{ status: 503 }, 'close', OK], { target: '/5xx/in-the-end' })
  t.equal(await value(), before + 1)
  await ask(t, [{ status: 503 }, { status: 404 }], { target: '/5xx/another-end' })
  t.equal(await value(), before + 2, 'what nobody repeats has ended the retries')
})

t.test('what a client says of retries is taken out and not heeded', async (t) => {
  const headers = {
    'x-envoy-retry-on': '5xx',
    'x-envoy-retry-grpc-on': 'unavailable',
    'x-envoy-max-retries': '5',
    'x-envoy-retriable-status-codes': '503',
    'x-envoy-retriable-header-names': 'x-again',
    'x-envoy-hedge-on-per-try-timeout': 'true',
    'x-envoy-upstream-rq-per-try-timeout-ms': '1',
  }
  const again = { status: 503, headers: { 'x-again': 'yes' } }
  t.equal((await ask(t, [again], { target: '/default/client', headers })).tries, 1)
  for (const name of Object.keys(headers)) t.equal(header(tries[0]!.request, name), undefined, name)
  t.equal((await ask(t, [again], { target: '/5xx/client', headers })).tries, 3, 'the policy’s own number')
})

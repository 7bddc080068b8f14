// The guard: whatever a policy asks for, what the upstream may have carried out reaches it once, unless somebody who knows better has said so. Counted at
// the upstream.
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { refusingPort } from '../support/free-port.ts'
import { header } from '../support/h1-reader.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { RequestSpec } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { type AnswerSpec, type Exchange, Upstream } from '../support/upstream.ts'
import { UPSTREAM } from '../support/versions.ts'

/** What the upstream does with each try: the last entry is repeated. */
type Move = AnswerSpec | 'close' | 'reset' | 'garbage' | 'silence'

let upstream: Upstream
let proxy: HeddleProcess
let exact: HeddleProcess
let moves: readonly Move[] = []
let tries: Exchange[] = []

async function play(e: Exchange): Promise<void> {
  const move = moves[Math.min(tries.length, moves.length - 1)] as Move
  tries.push(e)
  await act(e, move)
}

async function act(e: Exchange, move: Move): Promise<void> {
  if (typeof move === 'object') return e.answer(move)
  await e.body()
  if (move === 'close') e.end()
  else if (move === 'reset') e.reset()
  else if (move === 'garbage') await e.write('garbage\r\n\r\n')
}

const ALL = '5xx,gateway-error,reset,retriable-4xx,connect-failure,refused-stream,503,unavailable,cancelled,internal'
const retries = { attempts: 1, retryOn: ALL, backoff: '1ms' }
const ANNOTATION = 'heddle.io/unsafe-retries'

t.before(async () => {
  upstream = await Upstream.start(t, play)
  const dead = `127.0.0.1:${await refusingPort()}`
  const route = (host: string, more: object = {}) => ({ route: [{ destination: { host } }], ...more })
  const annotated = (object: object, value: string) => {
    const { metadata, ...rest } = object as { metadata: object }
    return { ...rest, metadata: { ...metadata, annotations: { [ANNOTATION]: value } } }
  }
  const resources = yaml(
    service({ host: 'web', endpoints: [upstream] }),
    service({ host: 'plain', endpoints: [upstream] }),
    service({ host: 'half', endpoints: [upstream, { address: dead }] }),
    destinationRule('half', 'half', { trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' } } }),
    ...['held', 'slow', 'allowed', 'some', 'half-held'].map((host) => service({ host, endpoints: [] })),
    virtualService('held', ['held'], [route('web', { name: 'h', retries })]),
    virtualService('slow', ['slow'], [route('web', { retries: { ...retries, perTryTimeout: '60ms' } })]),
    annotated(virtualService('allowed', ['allowed'], [route('web', { retries })]), 'allow'),
    annotated(
      virtualService(
        'some',
        ['some'],
        [route('web', { name: 'yes', match: [{ uri: { prefix: '/yes' } }], retries }), route('web', { name: 'no', retries })],
      ),
      'allow: yes',
    ),
    virtualService('half-held', ['half-held'], [route('half', { retries: { ...retries, attempts: 3 } })]),
  )
  proxy = await startProxy(t, { resources, bootstrap: { limits: { bufferBytes: '64KiB' } } })
  exact = await startProxy(t, { resources, bootstrap: { retries: 'exact' } })
})

let serial = 0

async function ask(t: Teardown, script: readonly Move[], request: RequestSpec, of: HeddleProcess = proxy) {
  moves = script
  tries = []
  const id = `unsafe-${serial++}`
  const response = await askAny(t, of.port(), { ...request, headers: { ...request.headers, 'x-request-id': id } })
  // A line comes a while after its answer: who wants it asks for it.
  return { response, line: () => of.logged({ request_id: id }), tries: tries.length, id }
}

const POST = { method: 'POST', body: 'once' }
const heldBack = async () =>
  (await proxy.metrics()).value('heddle_retries_held_back_total', {
    cluster_name: 'outbound|80||web.default.svc.cluster.local',
  }) ?? 0

const FAILURES: readonly (readonly [name: string, move: Move, status: number, flags: string])[] = [
  ['500', { status: 500 }, 500, '-'],
  ['503', { status: 503, body: 'no' }, 503, '-'],
  ['409', { status: 409 }, 409, '-'],
  ['grpc-status 14', { headers: { 'grpc-status': '14' } }, 200, '-'],
  ['reads it and closes', 'close', 503, 'UC'],
  ['reads it and resets', 'reset', 503, 'UC'],
  ['no HTTP', 'garbage', 502, 'UPE'],
]

t.test('POST: whatever becomes of it, the upstream sees it once, and the client gets what came of it', async (t) => {
  const lines: (() => Promise<unknown>)[] = []
  for (const [name, move, status, flags] of FAILURES) {
    const before = await heldBack()
    const { response, line, tries: n } = await ask(t, [move, { body: 'twice!' }], { host: 'held', ...POST })
    t.same([n, response.status], [1, status], name)
    lines.push(async () => t.equal((await line())['response_flags'], flags, name))
    t.equal(await heldBack(), before + 1, `${name} is counted`)
    if (typeof move === 'string') t.match(response.body.toString(), /headers\. reset reason/, name)
  }
  for (const check of lines) await check()
})

t.test('POST with the annotation, or with retries: exact: as the policy says, twice', async (t) => {
  for (const [name, move] of FAILURES) {
    const before = await heldBack()
    for (const [host, of] of [
      ['allowed', proxy],
      ['held', exact],
    ] as const) {
      const { response, tries: n } = await ask(t, [move, { body: 'twice' }], { host, ...POST }, of)
      t.same([n, response.status, response.body.toString()], [2, 200, 'twice'], `${name}, ${host}`)
      t.same(
        tries.map((e) => e.request.body.toString()),
        ['once', 'once'],
      )
    }
    t.equal(await heldBack(), before, `${name}: nothing is held back`)
  }
})

t.test('the annotation may name routes', async (t) => {
  t.equal((await ask(t, [{ status: 503 }, {}], { host: 'some', target: '/yes', ...POST })).tries, 2)
  t.equal((await ask(t, [{ status: 503 }, {}], { host: 'some', target: '/no', ...POST })).tries, 1)
})

t.test('methods and keys', async (t) => {
  const rows: readonly [method: string, headers: Record<string, string>, tries: number][] = [
    ['GET', {}, 2],
    ['HEAD', {}, 2],
    ['OPTIONS', {}, 2],
    ['TRACE', {}, 2],
    ['PUT', {}, 2],
    ['DELETE', {}, 2],
    ['POST', {}, 1],
    ['PATCH', {}, 1],
    ['PURGE', {}, 1],
    ['POST', { 'Idempotency-Key': '"8e03978e"' }, 2],
    ['PATCH', { 'idempotency-key': 'k' }, 2],
    ['POST', { 'Idempotency-Key': '' }, 1],
    ['POST', { 'X-Idempotency-Key': 'k' }, 1],
  ]
  for (const [method, headers, expected] of rows) {
    for (const move of [{ status: 503 }, 'close'] as const) {
      const { tries: n } = await ask(t, [move, {}], { host: 'held', method, headers })
      t.equal(n, expected, `${method} ${JSON.stringify(headers)} ${JSON.stringify(move)}`)
    }
  }
})

t.test('a per-try timeout of a POST ends it', async (t) => {
  const { response, line, tries: n } = await ask(t, ['silence'], { host: 'slow', ...POST })
  t.same([n, response.status], [1, 504])
  t.match(await line(), { response_flags: 'UT', response_code_details: 'upstream_per_try_timeout' })
  t.equal((await ask(t, ['silence'], { host: 'slow' })).tries, 2, 'GET')
})

t.test('a POST whose connection could not be made is tried elsewhere', async (t) => {
  const before = (await proxy.metrics()).value('envoy_cluster_upstream_cx_connect_fail', {
    cluster_name: 'outbound|80||half.default.svc.cluster.local',
  })
  for (let i = 0; i < 6; i++) {
    const { response, tries: n } = await ask(t, [{ body: 'fine' }], { host: 'half-held', ...POST })
    t.same([n, response.status, tries[0]?.request.body.toString()], [1, 200, 'once'])
  }
  const after = (await proxy.metrics()).value('envoy_cluster_upstream_cx_connect_fail', {
    cluster_name: 'outbound|80||half.default.svc.cluster.local',
  })
  t.ok((after ?? 0) > (before ?? 0), 'some began at the endpoint that refuses')
})

t.test(
  'a POST on a kept connection that the upstream closes after reading it is not sent again by the pool either',
  async (t) => {
    for (const host of ['plain', 'held']) {
      await ask(t, [{ body: 'keeps' }], { host })
      const kept = tries[0]?.connection
      for (const move of ['close', 'reset'] as const) {
        const { response, tries: n } = await ask(t, [move, {}], { host, ...POST })
        t.same([n, response.status], [1, 503], `${host} ${move}`)
        if (move === 'close') t.equal(tries[0]?.connection, kept, 'it went over the kept connection')
        await ask(t, [{}], { host })
      }
    }
  },
)

t.test('a part of a POST has left: the rest does not follow somewhere else', async (t) => {
  const own = await Upstream.start(t)
  const p = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [own] }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries }]),
    ),
  })
  for (const early of [{ status: 503 }, null]) {
    const before = own.exchanges.length
    const client = await connectAny(t, p.port())
    client.expectMethod('POST')
    await client.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 8\r\n\r\nhalf')
    const exchange = await own.next()
    await exchange.bodyBytes(4)
    if (early === null) exchange.reset()
    else await exchange.answerEarly(early)
    t.equal((await client.response()).status, 503)
    t.equal(own.exchanges.length - before, 1)
  }
})

t.test(
  'gRPC under the default policy: a call that was refused in headers is held back, one that never left is not',
  async (t) => {
    const call = { host: 'plain', method: 'POST', headers: { 'Content-Type': 'application/grpc' } }
    const unavailable = { headers: { 'Content-Type': 'application/grpc', 'Grpc-Status': '14' } }
    const { response, tries: n } = await ask(t, [unavailable], call)
    t.same([n, header(response, 'grpc-status')], [1, '14'])
    t.equal((await ask(t, [unavailable], call, exact)).tries, 3)
  },
)

t.test('who asked for it is logged, once in a while', async (t) => {
  await ask(t, [{ status: 503 }], { host: 'held', ...POST })
  await ask(t, [{ status: 503 }], { host: 'held', ...POST })
  const stderr = await proxy.said(/held back a retry/)
  const lines = stderr.split('\n').filter((l) => l.includes('held back a retry') && l.includes('route=h'))
  t.equal(lines.length, 1)
  t.match(lines[0], /method=POST/)
  t.match(lines[0], /retries="VirtualService default\/held \(.*:\d+:\d+\)"/)
  t.match(lines[0], /cluster="?outbound\|80\|\|web\.default\.svc\.cluster\.local/)
})

interface Attempt {
  readonly number: number
  readonly status: number
  readonly outcome: string
  readonly written: boolean
  readonly retry: string
}

t.test('explain tells of each attempt why it was repeated, or not', async (t) => {
  const attemptsOf = async (id: string) => ((await proxy.adminJson(`/explain?id=${id}`)) as { attempts: Attempt[] }).attempts
  const held = await ask(t, [{ status: 503 }], { host: 'held', ...POST })
  t.match(await attemptsOf(held.id), [
    {
      number: 1,
      endpoint: upstream.address,
      status: 503,
      written: true,
      retry: 'not repeated: 5xx fits, but it is held back: POST is not idempotent, and the upstream may have done it',
    },
  ])
  const keyed = await ask(t, ['close', {}], { host: 'held', ...POST, headers: { 'Idempotency-Key': 'k' } })
  const [first, second, ...none] = await attemptsOf(keyed.id)
  t.match(first, {
    outcome: 'closed-before-response',
    written: true,
    retry: /^repeated after 0 ms on reset: safe, the request has an/,
  })
  t.match(second, { number: 2, status: 200, retry: '' })
  t.same(none, [])
  const used = await ask(t, [{ status: 503 }], { host: 'held' })
  t.match(await attemptsOf(used.id), [
    { retry: /^repeated after 0 ms on 5xx: safe, GET is idempotent$/ },
    { retry: 'not repeated: 5xx fits, but the attempts are used up' },
  ])
  const other = await ask(t, [{ status: 404 }], { host: 'held' })
  t.match(await attemptsOf(other.id), [{ status: 404, retry: 'not repeated: no condition of retryOn fits' }])
  const allowed = await ask(t, [{ status: 503 }, {}], { host: 'allowed', ...POST })
  t.match(await attemptsOf(allowed.id), [{ retry: /on 5xx: not known to be safe, but allowed$/ }, { status: 200 }])
  const large = await ask(t, [{ status: 503 }], { host: 'allowed', method: 'PUT', body: 'x'.repeat(300_000) })
  t.match(await attemptsOf(large.id), [{ retry: 'not repeated: 5xx fits, but the body was too large to be kept' }])
  const text = ((await proxy.adminJson(`/explain?id=${held.id}`)) as { steps: { text: string }[] }).steps.map((s) => s.text)
  t.ok(text.some((s) => s.startsWith('attempt 1 is not repeated: 5xx fits')))
})

t.test('hundreds of POSTs to an upstream that fails in every way: each arrives once', async (t) => {
  const seen = new Map<string, number>()
  const ways: readonly Move[] = [
    { status: 503 },
    'close',
    'reset',
    'garbage',
    { body: 'ok' },
    { status: 500 },
    { body: 'ok', close: true },
  ]
  const wild = await Upstream.start(t, async (e) => {
    const key = e.request.target
    seen.set(key, (seen.get(key) ?? 0) + 1)
    await act(e, ways[Number(key.slice(1)) % ways.length] as Move)
  })
  const p = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [wild, { address: `127.0.0.1:${await refusingPort()}` }] }),
      destinationRule('web', 'web', { trafficPolicy: { loadBalancer: { simple: 'RANDOM' } } }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { ...retries, attempts: 3 } }]),
    ),
    bootstrap: { concurrency: 2 },
  })
  const COUNT = 280
  let next = 0
  const run = async () => {
    for (let n = next++; n < COUNT; n = next++) {
      const asked = askAny(t, p.port(), { host: 'web', target: `/${n}`, ...POST })
      await (UPSTREAM === 'http2' ? asked.catch(() => {}) : asked)
    }
  }
  await Promise.all(Array.from({ length: 8 }, run))
  t.same(
    [...seen].filter(([, n]) => n !== 1),
    [],
    'none arrived twice',
  )
  // A connection of HTTP/2 that is cut takes requests of others with it: they are lost, and not repeated.
  if (UPSTREAM === 'http1') t.equal(seen.size, COUNT, 'and none was lost to the endpoint that refuses')
})

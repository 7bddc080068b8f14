// Sentences 5 to 15 of those about Istio's traffic management that are easy to get wrong: retries and timeouts, with Istio's own retries. What heddle
// holds back by itself is in unsafe-retries.test.ts.
import t from 'tap'
import { Rng } from '../../lib/base/rng.ts'
import { SAFE_BY_METHOD } from '../../lib/decide/retry-steps.ts'
import { KINDS, Limiter } from '../../lib/pool/limiter.ts'
import type { RetryPolicy } from '../../lib/state/route.ts'
import { RetryState } from '../../lib/upstream/retry-state.ts'
import { answering } from '../support/answering.ts'
import { askAny, connectAny } from '../support/any-client.ts'
import { pause } from '../support/eventually.ts'
import { refusingPort } from '../support/free-port.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import type { RequestSpec } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

let a: Upstream
let b: Upstream
let proxy: HeddleProcess

const to = (host: string, more: object = {}) => ({ destination: { host }, ...more })

t.before(async () => {
  a = await Upstream.start(t)
  b = await Upstream.start(t)
  const rules: Readonly<Record<string, readonly object[]>> = {
    s5: [{ route: [to('a', { weight: 50 }), to('b', { weight: 50 })], retries: { attempts: 2, retryOn: '5xx', backoff: '1ms' } }],
    s6: [{ route: [to('a')], retries: { attempts: 2, retryOn: '5xx', backoff: '1ms' } }],
    s7: [
      { match: [{ uri: { exact: '/words' } }], route: [to('a')], retries: { attempts: 1, backoff: '1ms' } },
      { match: [{ uri: { exact: '/refused' } }], route: [to('refusing')], retries: { attempts: 1, backoff: '1ms' } },
      { match: [{ uri: { exact: '/refused-once' } }], route: [to('refusing')], retries: { attempts: 0 } },
      { route: [to('a')], retries: { attempts: 0 } },
    ],
    s8: ['default', '5xx', 'gateway-error', 'reset'].map((on) => ({
      match: [{ uri: { exact: `/${on}` } }],
      route: [to('a')],
      retries: { attempts: 1, perTryTimeout: '80ms', backoff: '1ms', ...(on === 'default' ? {} : { retryOn: on }) },
    })),
    s9: [{ route: [to('a')] }],
    s10: [{ route: [to('a')], retries: { attempts: 1, retryOn: 'retriable-4xx', backoff: '1ms' } }],
    s11: [{ route: [to('a')], retries: { attempts: 1, retryOn: '5xx', backoff: '1ms' } }],
    s12: [{ route: [to('a')], retries: { attempts: 1, retryOn: 'unavailable', backoff: '1ms' } }],
    s14: [{ route: [to('a')], timeout: '200ms', retries: { attempts: 3, perTryTimeout: '300ms', retryOn: '5xx' } }],
    s15: [{ route: [to('a')], timeout: '200ms' }],
  }
  const hosts = Object.keys(rules)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'a', endpoints: [a] }),
      service({ host: 'b', endpoints: [b] }),
      service({ host: 'refusing', endpoints: [{ address: `127.0.0.1:${await refusingPort()}` }] }),
      ...hosts.map((host) => service({ host, endpoints: [] })),
      ...hosts.map((host) => virtualService(host, [host], rules[host] as never)),
    ),
    bootstrap: { retries: 'exact' },
  })
})

t.beforeEach(() => {
  a.startAfresh()
  b.startAfresh()
})

const ask = (t: Teardown, request: RequestSpec) => askAny(t, proxy.port(), request)

const GRPC = { method: 'POST', headers: { 'Content-Type': 'application/grpc' } }

t.test('5: a retry goes to the destination that was drawn', async (t) => {
  const drawn = new Set<boolean>()
  for (let i = 0; i < 30; i++) {
    const { seen } = await answering(t, proxy.port(), [a, b], { status: 503 }, { host: 's5' })
    t.equal(seen.length, 3)
    t.equal(new Set(seen.map((e) => a.exchanges.includes(e))).size, 1)
    drawn.add(a.exchanges.includes(seen[0] as Exchange))
  }
  t.equal(drawn.size, 2, 'both are drawn now and then')
})

t.test('6: attempts: 2 makes three requests at most', async (t) => {
  t.equal((await answering(t, proxy.port(), [a], { status: 503 }, { host: 's6' })).seen.length, 3)
})

t.test('7: retries without retryOn keeps the default list; attempts: 0 switches all off', async (t) => {
  const unavailable = { headers: { 'Content-Type': 'application/grpc', 'Grpc-Status': '14' } }
  t.equal((await answering(t, proxy.port(), [a], unavailable, { host: 's7', target: '/words', ...GRPC })).seen.length, 2)
  t.equal((await answering(t, proxy.port(), [a], { status: 503 }, { host: 's7', target: '/words' })).seen.length, 1)
  t.equal((await answering(t, proxy.port(), [a], unavailable, { host: 's7', target: '/none', ...GRPC })).seen.length, 1)
  // URX: there was a retry, and no other one may follow.
  for (const [target, response_flags] of [
    ['/refused', 'URX,UF'],
    ['/refused-once', 'UF'],
  ] as const) {
    t.equal((await ask(t, { host: 's7', target })).status, 503)
    t.match(await proxy.logged({ path: target }), { response_flags })
  }
})

t.test('8: a per-try timeout ends in 504 under the default list, and is retried by 5xx, gateway-error and reset', async (t) => {
  for (const [on, tries] of [
    ['default', 1],
    ['5xx', 2],
    ['gateway-error', 2],
    ['reset', 2],
  ] as const) {
    const before = a.exchanges.length
    t.equal((await ask(t, { host: 's8', target: `/${on}` })).status, 504)
    t.equal(a.exchanges.length - before, tries, on)
  }
})

t.test('9: the default policy does not retry a 503 of the application', async (t) => {
  const { response, seen } = await answering(t, proxy.port(), [a], { status: 503, body: 'mine' }, { host: 's9' })
  t.same([response.status, response.body.toString(), seen.length], [503, 'mine', 1])
})

t.test('10: retriable-4xx means 409', async (t) => {
  for (const status of [400, 404, 408, 409, 425, 429]) {
    const { seen } = await answering(t, proxy.port(), [a], { status }, { host: 's10' })
    t.equal(seen.length, status === 409 ? 2 : 1, String(status))
  }
})

t.test('11: what is rate limited is not retried under 5xx', async (t) => {
  const limited = { status: 503, headers: { 'x-envoy-ratelimited': 'true' } }
  t.equal((await answering(t, proxy.port(), [a], limited, { host: 's11' })).seen.length, 1)
})

t.test('12: a gRPC status in trailers behind a message is not retried', async (t) => {
  const late = { headers: { 'Content-Type': 'application/grpc' }, chunks: ['message'], trailers: { 'Grpc-Status': '14' } }
  t.equal((await answering(t, proxy.port(), [a], late, { host: 's12', ...GRPC })).seen.length, 1)
  const early = { headers: { 'Content-Type': 'application/grpc', 'Grpc-Status': '14' } }
  t.equal((await answering(t, proxy.port(), [a], early, { host: 's12', ...GRPC })).seen.length, 2)
})

t.test('13: back-off: the first below 25 ms, the fifth below 250 ms, uniform from 0', (t) => {
  const policy = {
    attempts: 5,
    on: ['5xx'],
    statusCodes: [],
    responseHeaders: [],
    baseIntervalMs: 25,
    maxIntervalMs: 250,
  } as unknown as RetryPolicy
  const bounds = [25, 50, 100, 200, 250]
  const largest = bounds.map(() => 0)
  const smallest = bounds.map(() => 1000)
  const rng = new Rng(7)
  for (let n = 0; n < 2000; n++) {
    const retry = new RetryState(policy, new Limiter(new Int32Array(2 * KINDS), 0, KINDS), rng)
    for (const [i, bound] of bounds.entries()) {
      retry.claim(SAFE_BY_METHOD)
      const ms = retry.delayMs
      if (ms < 0 || ms >= bound || !Number.isInteger(ms)) t.fail(`retry ${i + 1}: ${ms} ms`)
      largest[i] = Math.max(largest[i] as number, ms)
      smallest[i] = Math.min(smallest[i] as number, ms)
    }
  }
  for (const [i, bound] of bounds.entries()) {
    t.ok((largest[i] as number) >= bound * 0.95, `retry ${i + 1} comes near to ${bound}`)
    t.ok((smallest[i] as number) <= bound * 0.05, `retry ${i + 1} comes near to 0`)
  }
  t.end()
})

t.test('14: a per-try timeout above the overall one does nothing', async (t) => {
  const before = a.exchanges.length
  t.equal((await ask(t, { host: 's14', target: '/14' })).status, 504)
  t.equal(a.exchanges.length - before, 1)
  t.match(await proxy.logged({ path: '/14' }), { response_code_details: 'response_timeout', response_flags: 'UT' })
})

t.test('15: a slow upload is not timed out: the clock starts at the end of the request', async (t) => {
  const client = await connectAny(t, proxy.port())
  client.expectMethod('POST')
  await client.write('POST / HTTP/1.1\r\nHost: s15\r\nContent-Length: 5\r\n\r\n')
  const exchange = await a.next()
  for (const c of 'abcde') {
    // More than twice the timeout altogether: slowness is what this is about.
    await pause(100)
    await client.write(c)
  }
  await exchange.answer({ body: 'in time' })
  t.equal((await client.response()).body.toString(), 'in time')
})

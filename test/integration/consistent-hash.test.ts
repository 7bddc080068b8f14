// Endpoints chosen by a hash of the request: header, cookie, query parameter, the client's address.
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { refusingPort } from '../support/free-port.ts'
import { header } from '../support/h1-reader.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { askOnce, type RequestSpec } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { ONCE } from '../support/versions.ts'

let all: EchoUpstream[]
let proxy: HeddleProcess

const HASHES: Readonly<Record<string, object>> = {
  header: { httpHeaderName: 'x-user' },
  maglev: { httpHeaderName: 'x-user', maglev: { tableSize: 251 } },
  cookie: {
    httpCookie: { name: 'sess', path: '/', ttl: '60s', attributes: [{ name: 'SameSite', value: 'Lax' }] },
    ringHash: { minimumRingSize: 2048 },
  },
  keyless: { httpCookie: { name: 'sess' } },
  query: { httpQueryParameterName: 'user' },
  ip: { useSourceIp: true },
}
const KEYS = Array.from({ length: 12 }, (_, i) => `user-${i}`)

const hashed = (host: string, consistentHash: object) =>
  destinationRule(host, host, { trafficPolicy: { loadBalancer: { consistentHash } } })
const to = (endpoints: readonly { readonly address: string }[]) =>
  Object.keys(HASHES).flatMap((host) => [service({ host, endpoints }), hashed(host, HASHES[host] as object)])

t.before(async () => {
  all = await Promise.all([1, 2, 3, 4, 5].map((n) => EchoUpstream.start(t, { name: `e${n}` })))
  const gone = { address: `127.0.0.1:${await refusingPort()}` }
  proxy = await startProxy(t, {
    resources: {
      'hashed.yaml': yaml(...to(all)),
      'more.yaml': yaml(
        service({ host: 'gone', endpoints: [gone] }),
        hashed('gone', HASHES['cookie'] as object),
        service({ host: 'retried', endpoints: all }),
        hashed('retried', HASHES['cookie'] as object),
        virtualService(
          'retried',
          ['retried'],
          [{ route: [{ destination: { host: 'retried' } }], retries: { attempts: 2, retryOn: '5xx' } }],
        ),
        service({ host: 'sticky', port: 5432, protocol: 'TCP', endpoints: all }),
        hashed('sticky', { useSourceIp: true }),
      ),
    },
    listeners: [{ name: 'out' }, { name: 'tcp', protocol: 'tcp', destination: 'sticky.default.svc.cluster.local:5432' }],
    bootstrap: { concurrency: 2 },
  })
})

/** Each request on a connection of its own, so that both workers get some. */
async function answeredBy(t: Teardown, request: RequestSpec, from = '127.0.0.1'): Promise<string> {
  const response = await askAny(t, { port: proxy.port('out'), localAddress: from }, request)
  return header(response, 'x-upstream') ?? `status ${response.status}`
}

async function sticky(ask: (key: string) => Promise<string>): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for (const key of KEYS) {
    const answers = await Promise.all([ask(key), ask(key), ask(key), ask(key)])
    const first = answers[0] as string
    if (answers.some((a) => a !== first)) throw new Error(`${key}: ${answers.join()}`)
    found.set(key, first)
  }
  return found
}

for (const host of ['header', 'maglev']) {
  t.test(`${host}: the same value goes to the same endpoint, whichever worker has the connection`, async (t) => {
    const found = await sticky((key) => answeredBy(t, { host, headers: { 'X-User': key } }))
    t.ok(new Set(found.values()).size >= 3, `${[...found.values()].join()}`)
  })
}

t.test('without the header every endpoint gets some', async (t) => {
  const client = await connectAny(t, proxy.port('out'))
  const found = new Set<string | undefined>()
  for (let i = 0; i < 80; i++) found.add(header(await client.ask({ host: 'header' }), 'x-upstream'))
  t.equal(found.size, 5)
})

t.test('a query parameter', async (t) => {
  const found = await sticky((key) => answeredBy(t, { host: 'query', target: `/a?x=1&user=${key}&user=other` }))
  t.ok(new Set(found.values()).size >= 3)
})

t.test("the client's address, which may have been forwarded", async (t) => {
  const found = await sticky((key) => answeredBy(t, { host: 'ip' }, `127.0.0.${KEYS.indexOf(key) + 2}`))
  t.ok(new Set(found.values()).size >= 3)
  for (const key of KEYS) {
    const address = `127.0.0.${KEYS.indexOf(key) + 2}`
    t.equal(await answeredBy(t, { host: 'ip', headers: { 'x-forwarded-for': `1.1.1.1, ${address}` } }), found.get(key))
  }
})

t.test('TCP connections by the address of the client', { skip: ONCE }, async (t) => {
  const over = async (localAddress: string) => {
    const response = await askOnce(t, { port: proxy.port('tcp'), localAddress }, { headers: { connection: 'close' } })
    return header(response, 'x-upstream') as string
  }
  const found = await sticky((key) => over(`127.0.0.${KEYS.indexOf(key) + 2}`))
  t.ok(new Set(found.values()).size >= 3)
})

const MADE = /^sess="([0-9a-f]{16})"; Max-Age=60; Path=\/; SameSite=Lax; HttpOnly$/

t.test('a cookie is made once and honoured after that', async (t) => {
  for (let i = 0; i < 6; i++) {
    const client = await connectAny(t, proxy.port('out'))
    const first = await client.ask({ host: 'cookie' })
    const value = MADE.exec(header(first, 'set-cookie') ?? '')?.[1]
    t.ok(value, header(first, 'set-cookie') ?? 'none')
    t.equal(
      MADE.exec(header(await client.ask({ host: 'cookie' }), 'set-cookie') ?? '')?.[1],
      value,
      'requests of one connection that race get the same',
    )
    const later = await askAny(t, proxy.port('out'), { host: 'cookie', headers: { cookie: `a=b; sess="${value}"` } })
    t.equal(header(later, 'set-cookie'), undefined)
    t.equal(header(later, 'x-upstream'), header(first, 'x-upstream'))
  }
  t.equal(header(await askAny(t, proxy.port('out'), { host: 'keyless' }), 'set-cookie'), undefined, 'without a ttl none is made')
})

t.test('a cookie comes with the answer of an endpoint, once, and not with one of ours', async (t) => {
  const retried = await askAny(t, proxy.port('out'), { host: 'retried', headers: { 'x-status': '503' } })
  t.equal(retried.status, 503)
  t.equal(retried.headers.filter(([name]) => name.toLowerCase() === 'set-cookie').length, 1)
  t.match(await proxy.logged({ upstream_cluster: 'outbound|80||retried.default.svc.cluster.local' }), { response_flags: 'URX' })
  const names = all
    .filter((e) => e.seen.some((s) => s.headers.some(([n, v]) => n.toLowerCase() === 'host' && v === 'retried')))
    .map((e) => e.name)
  t.same(names.length, 1, 'retries stay with the endpoint')
  const own = await askAny(t, proxy.port('out'), { host: 'gone' })
  t.same([own.status, header(own, 'set-cookie')], [503, undefined])
})

t.test('explain says what was hashed, and when nothing was', async (t) => {
  const rows: [request: RequestSpec, sentence: RegExp][] = [
    [{ host: 'header', headers: { 'x-user': 'u1' } }, /^the hash of header x-user chooses the endpoint$/],
    [{ host: 'header' }, /^nothing to hash, there is no header x-user: the endpoint is drawn$/],
    [
      { host: 'cookie' },
      /^the hash of cookie sess, which the request did not bring and the response sets, chooses the endpoint$/,
    ],
    [{ host: 'ip' }, /^the hash of the client's address chooses the endpoint$/],
  ]
  for (const [i, [request, sentence]] of rows.entries()) {
    const id = `explained-${i}`
    await askAny(t, proxy.port('out'), { ...request, headers: { ...(request.headers as object), 'x-request-id': id } })
    const { steps } = (await proxy.explain(id)) as { steps: { step: string; text: string }[] }
    t.match(steps.find((s) => s.step === 'hash')?.text, sentence)
  }
})

t.test('a reload moves nobody; an endpoint that goes moves its own users and few others', async (t) => {
  const ask = (key: string) => answeredBy(t, { host: 'header', headers: { 'x-user': key } })
  const before = await sticky(ask)
  await proxy.reload({ 'unrelated.yaml': yaml(service({ host: 'unrelated', endpoints: all })) })
  t.same(await sticky(ask), before)
  const [one, ...others] = all as [EchoUpstream, ...EchoUpstream[]]
  await proxy.reload({ 'hashed.yaml': yaml(...to(others)) })
  const after = await sticky(ask)
  t.notOk([...after.values()].includes(one.name))
  await proxy.reload({ 'hashed.yaml': yaml(...to(all)) })
  t.same(await sticky(ask), before, 'it comes back, and so do they')
})

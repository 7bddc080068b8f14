// The server's side: one application behind the listener, whoever is asked for.
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { refusingPort } from '../support/free-port.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'
import { ONCE } from '../support/versions.ts'

let app: Upstream
let raw: Upstream
let proxy: HeddleProcess

t.before(async () => {
  app = await Upstream.start(t)
  raw = await Upstream.start(t, { raw: true })
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [] }),
      // For clients only: nothing of it may happen on the server's side.
      virtualService(
        'web',
        ['web'],
        [{ fault: { abort: { httpStatus: 500, percentage: { value: 100 } } }, route: [{ destination: { host: 'web' } }] }],
      ),
    ),
    listeners: [
      { name: 'in', direction: 'inbound', forwardTo: app.address },
      { name: 'gone', direction: 'inbound', forwardTo: `127.0.0.1:${await refusingPort()}` },
      { name: 'tcp', direction: 'inbound', protocol: 'tcp', forwardTo: raw.address },
    ],
  })
})

t.beforeEach(() => app.startAfresh())

t.test('any authority reaches the application, with Host as it came', async (t) => {
  const client = await connectAny(t, proxy.port('in'))
  for (const host of ['web', 'web.default.svc.cluster.local:9080', '10.0.0.1', 'unknown.example']) {
    await client.send({ host, target: '/a' })
    const exchange = await app.next()
    t.equal(header(exchange.request, 'host'), host)
    t.equal(header(exchange.request, 'x-envoy-attempt-count'), undefined)
    await exchange.answer({ headers: { Server: 'mine' } })
    const answer = await client.response()
    t.equal(header(answer, 'server'), 'istio-envoy')
    t.match(header(answer, 'x-envoy-upstream-service-time'), /^\d+$/)
  }
  const port = app.address.split(':')[1]
  t.match(await proxy.logged({ authority: 'unknown.example' }), {
    upstream_cluster: `inbound|${port}||`,
    upstream_host: app.address,
  })
})

t.test('an application that is not there: 503 UF', async (t) => {
  const answer = await askAny(t, proxy.port('gone'), { host: 'web', target: '/gone' })
  t.equal(answer.status, 503)
  t.equal(header(answer, 'server'), 'istio-envoy')
  t.match(await proxy.logged({ path: '/gone' }), { response_code: 503 })
})

t.test('an answer that fails is not asked for again', async (t) => {
  const client = await connectAny(t, proxy.port('in'))
  await client.send({ host: 'web', target: '/failing' })
  const exchange = await app.next()
  await exchange.answer({ status: 503 })
  t.equal((await client.response()).status, 503)
  await client.send({ host: 'web', target: '/closing' })
  ;(await app.next()).end()
  t.equal((await client.response()).status, 503)
  t.match(await proxy.logged({ path: '/closing' }), { response_flags: 'UC' })
  t.equal(app.exchanges.filter((e) => e.request.target === '/closing').length, 1)
})

t.test('counted by the destination', async (t) => {
  const count = async () =>
    (await proxy.metrics()).value('istio_requests_total', { reporter: 'destination', response_code: '299' }) ?? 0
  const client = await connectAny(t, proxy.port('in'))
  for (let i = 0; i < 3; i++) {
    await client.send({ host: 'web' })
    await (await app.next()).answer({ status: 299 })
    await client.response()
  }
  t.equal(await count(), 3)
  t.equal((await proxy.metrics()).value('istio_requests_total', { reporter: 'source' }), null)
})

t.test('TCP', { skip: ONCE }, async (t) => {
  const client = await RawClient.connect(t, proxy.port('tcp'))
  const side = await raw.nextConnection()
  await client.write('in')
  await side.untilReceived('in')
  await side.write('out')
  await client.untilReceived('out')
  client.end()
  t.equal(await side.closed(), 'end')
})

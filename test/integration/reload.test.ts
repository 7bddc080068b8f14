// Changing files under load: no request is lost, a broken file changes nothing and is reported.
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { Upstream } from '../support/upstream.ts'

const routeTo = (host: string) => yaml(virtualService('web', ['web'], [{ route: [{ destination: { host } }] }]))

t.test('requests keep flowing over one connection while the route changes', async (t) => {
  const one = await EchoUpstream.start(t, { name: 'one' })
  const two = await EchoUpstream.start(t, { name: 'two' })
  const services = yaml(...['web', 'one', 'two'].map((host) => service({ host, endpoints: [host === 'two' ? two : one] })))
  const proxy = await startProxy(t, {
    resources: { 'services.yaml': services, 'route.yaml': routeTo('one') },
    bootstrap: { concurrency: 2 },
  })
  const client = await connectAny(t, proxy.port())
  const seen: string[] = []
  let done = false
  const load = (async () => {
    while (!done) {
      const response = await client.ask({ host: 'web' })
      seen.push(response.status === 200 ? (header(response, 'x-upstream') as string) : String(response.status))
    }
  })()
  for (const host of ['two', 'one', 'two']) {
    await proxy.reload({ 'route.yaml': routeTo(host) })
    await eventually(`an answer of ${host}`, () => seen.at(-1) === host)
  }
  done = true
  await load
  t.same([...new Set(seen)].sort(), ['one', 'two'], `${seen.length} requests, each answered by one of the two`)
  t.equal(client.closedBy, null, 'on a connection that was never cut')
})

t.test('a request finishes on the snapshot that it began with', async (t) => {
  const slow = await Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: { 'web.yaml': yaml(service({ host: 'web', endpoints: [slow] })) },
    bootstrap: { mesh: { outboundTrafficPolicy: 'REGISTRY_ONLY' } },
  })
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web' })
  const exchange = await slow.next()
  await proxy.reload({ 'web.yaml': yaml(service({ host: 'other', endpoints: [slow] })) })
  await exchange.answer({ body: 'old world' })
  t.equal((await client.response()).body.toString(), 'old world')
  t.equal((await client.ask({ host: 'web' })).status, 502, 'the next one finds the new world')
})

t.test('a broken file leaves the last good configuration in force, and says so', async (t) => {
  const echo = await EchoUpstream.start(t)
  const proxy = await startProxy(t, { resources: { 'web.yaml': yaml(service({ host: 'web', endpoints: [echo] })) } })
  proxy.writeResources({ 'web.yaml': 'kind: ServiceEntry\n  spec: [broken\n' })
  await eventually('the metric of a refused reload', async () => {
    const metrics = await proxy.metrics()
    return (
      (metrics.value('heddle_config_reload_failure_total') ?? 0) > 0 &&
      metrics.value('heddle_config_last_reload_successful') === 0
    )
  })
  t.match(await proxy.said(/web\.yaml:\d+/), /web\.yaml:\d+/, 'the log names file and line')
  t.equal((await askAny(t, proxy.port(), { host: 'web' })).status, 200)
  t.equal((await proxy.admin('/ready')).status, 200)
  await proxy.reload({ 'web.yaml': yaml(service({ host: 'web', endpoints: [echo] })) })
  t.equal((await proxy.metrics()).value('heddle_config_last_reload_successful'), 1)
})

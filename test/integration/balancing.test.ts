// Balancing as clients of a real proxy see it: localities, failover, latency.
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { destinationRule, service, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { Upstream } from '../support/upstream.ts'

const HERE = 'us/us-a'
const at = (upstream: { readonly address: string }, locality: string) => ({ address: upstream.address, locality })
const bootstrap = { concurrency: 1, workload: { locality: HERE } }

t.test('distribute: 70 of 100 requests stay, 30 go to the other region', async (t) => {
  const [near, far, elsewhere] = [await EchoUpstream.start(t), await EchoUpstream.start(t), await EchoUpstream.start(t)]
  const distribute = [{ from: 'us/*', to: { 'us/*': 70, eu: 30 } }]
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [at(near, HERE), at(far, 'eu/eu-a'), at(elsewhere, 'ap')] }),
      destinationRule('web', 'web', { trafficPolicy: { loadBalancer: { localityLbSetting: { distribute } } } }),
    ),
    bootstrap,
  })
  const client = await connectAny(t, proxy.port())
  for (let i = 0; i < 200; i++) await client.ask({ host: 'web' })
  // Turns are spread evenly, so the shares are exact, but for where they started.
  t.ok(Math.abs(near.seen.length - 140) <= 1, `${near.seen.length} of 200 stayed`)
  t.equal(near.seen.length + far.seen.length, 200)
  t.equal(elsewhere.seen.length, 0)
})

t.test('failover: the other region takes over when the local endpoint is ejected', async (t) => {
  const [near, far] = [await EchoUpstream.start(t), await EchoUpstream.start(t)]
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [at(near, HERE), at(far, 'eu/eu-a')] }),
      destinationRule('web', 'web', {
        trafficPolicy: { outlierDetection: { consecutive5xxErrors: 3, maxEjectionPercent: 100, baseEjectionTime: '1h' } },
      }),
    ),
    bootstrap,
  })
  const client = await connectAny(t, proxy.port())
  for (let i = 0; i < 3; i++) t.equal((await client.ask({ host: 'web', headers: { 'x-status': '500' } })).status, 500)
  t.equal(near.seen.length, 3, 'everything stayed as long as it could')
  for (let i = 0; i < 5; i++) t.equal((await client.ask({ host: 'web', headers: { 'x-request-id': 'after' } })).status, 200)
  t.equal(far.seen.length, 5)
})

t.test('PEAK_EWMA prefers the faster of two upstreams', async (t) => {
  const [fast, slow] = [await EchoUpstream.start(t), await Upstream.start(t)]
  const rule = destinationRule('web', 'web', { trafficPolicy: { connectionPool: { tcp: { connectTimeout: '5s' } } } })
  const annotations = { 'heddle.io/load-balancer': 'PEAK_EWMA' }
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [fast, slow] }), {
      ...rule,
      metadata: { ...(rule['metadata'] as object), annotations },
    }),
    bootstrap: { concurrency: 1 },
  })
  const [busy, free] = [await connectAny(t, proxy.port()), await connectAny(t, proxy.port())]
  // Whoever is unknown is tried first: the second request goes to the slow one at the latest.
  await busy.send({ host: 'web' })
  await eventually('somebody to have it', () => fast.seen.length + slow.exchanges.length === 1)
  if (slow.exchanges.length === 0) {
    await busy.response()
    await busy.send({ host: 'web' })
  }
  const held = await slow.next()
  // Held for so long that an answer of the other one which a busy machine delays is still the faster.
  for (let i = 0, begun = Date.now(); i < 20 || Date.now() - begun < 1000; i++) await free.ask({ host: 'web' })
  t.equal(slow.exchanges.length, 1, 'while its only request is not answered, it gets no other')
  await held.answer()
  await busy.response()
  for (let i = 0; i < 20; i++) await free.ask({ host: 'web' })
  t.equal(slow.exchanges.length, 1, 'now that it is known, the other one is better')
  const askedSlow = () => slow.exchanges.length
  // A gateway error counts as slow, however fast it came, each further one twice as slow: soon the slow one is better.
  for (let i = 0; i < 10 && askedSlow() === 1; i++) {
    const before = fast.seen.length
    await free.send({ host: 'web', headers: { 'x-status': '503' } })
    await eventually('somebody to have it', () => fast.seen.length > before || askedSlow() === 2)
    if (askedSlow() === 2) await slow.exchanges[1]?.answer()
    await free.response()
  }
  t.equal(askedSlow(), 2)
})

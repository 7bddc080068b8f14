// Endpoints that are names: asked of a DNS server, followed as their TTL says, in all workers.
import t from 'tap'
import { DnsServer } from '../support/dns-server.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { service, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { askOnce, RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

/** Two upstreams on one port of two loopback addresses, as a name that moves has them. */
async function twoAddresses(t: Teardown): Promise<[EchoUpstream, EchoUpstream]> {
  const here = await EchoUpstream.start(t, { name: 'here', host: '127.0.0.71' })
  return [here, await EchoUpstream.start(t, { name: 'there', host: '127.0.0.72', port: here.port })]
}

const start = (t: Teardown, dns: DnsServer, resources: string) =>
  startProxy(t, { resources, bootstrap: { concurrency: 2, mesh: { dnsServers: [dns.address] } } })

/** Who answers connections of their own, enough for both workers to have some. */
async function upstreams(t: Teardown, proxy: HeddleProcess, host: string): Promise<string[]> {
  const answers = await Promise.all(Array.from({ length: 16 }, () => askOnce(t, proxy.port(), { host })))
  return [...new Set(answers.map((a) => header(a, 'x-upstream') ?? String(a.status)))].sort()
}

t.test('a name is followed to its new address in all workers; connections of clients stay', async (t) => {
  const [here, there] = await twoAddresses(t)
  const dns = await DnsServer.start(t, {
    'moves.example': { addresses: [here.host], ttl: 1 },
    'stays.example': { addresses: [here.host], ttl: 3600 },
  })
  const proxy = await start(
    t,
    dns,
    yaml(
      service({ host: 'moves', resolution: 'DNS', endpoints: [{ address: `moves.example:${here.port}` }] }),
      service({ host: 'stays', resolution: 'DNS', endpoints: [{ address: `stays.example:${here.port}` }] }),
    ),
  )
  const client = await RawClient.connect(t, proxy.port())
  t.equal(header(await client.ask({ host: 'moves' }), 'x-upstream'), 'here')
  t.same(await upstreams(t, proxy, 'moves'), ['here'])
  t.same(await upstreams(t, proxy, 'stays'), ['here'])
  const version = await proxy.version()
  dns.records.set('moves.example', { addresses: [there.host], ttl: 1 })
  await eventually('all workers to follow', async () => (await upstreams(t, proxy, 'moves')).join() === 'there', 10_000)
  t.equal(header(await client.ask({ host: 'moves' }), 'x-upstream'), 'there', 'on the connection of before')
  t.match(JSON.stringify(await proxy.clusters()), there.host, 'the admin page shows the addresses of now')
  dns.records.set('moves.example', { addresses: [here.host, there.host], ttl: 1 })
  await eventually('both addresses', async () => (await upstreams(t, proxy, 'moves')).join() === 'here,there', 10_000)
  t.equal(dns.times('stays.example'), 1, 'an answer that holds an hour is not asked for again')
  t.ok(dns.times('moves.example') > 2)
  t.equal(await proxy.version(), version, 'and all that without a new configuration')
})

t.test('an address among names is an endpoint like the others', async (t) => {
  const [here, there] = await twoAddresses(t)
  const dns = await DnsServer.start(t, { 'web.example': { addresses: [here.host], ttl: 3600 } })
  const endpoints = [{ address: `web.example:${here.port}` }, { address: there.address }]
  const only = service({ host: 'only', resolution: 'DNS', endpoints: [{ address: there.address }] })
  const proxy = await start(t, dns, yaml(service({ host: 'web', resolution: 'DNS', endpoints }), only))
  t.same(await upstreams(t, proxy, 'web'), ['here', 'there'])
  t.same(await upstreams(t, proxy, 'only'), ['there'])
})

t.test('a failure keeps the last addresses, says so once, and is over when the name resolves again', async (t) => {
  const [here, there] = await twoAddresses(t)
  const dns = await DnsServer.start(t, { 'web.example': { addresses: [here.host], ttl: 1 } })
  const proxy = await start(
    t,
    dns,
    yaml(service({ host: 'web', resolution: 'DNS', endpoints: [{ address: `web.example:${here.port}` }] })),
  )
  t.same(await upstreams(t, proxy, 'web'), ['here'])
  dns.records.set('web.example', 'fail')
  await proxy.said(/DNS: web\.example cannot be resolved \(ESERVFAIL\); keeping 127\.0\.0\.71/, 10_000)
  const asked = dns.times('web.example')
  await eventually('another attempt', () => dns.times('web.example') > asked, 10_000)
  t.same(await upstreams(t, proxy, 'web'), ['here'])
  dns.records.delete('web.example')
  const again = dns.times('web.example')
  await eventually('one that is answered NXDOMAIN', () => dns.times('web.example') > again, 20_000)
  t.same(await upstreams(t, proxy, 'web'), ['here'], 'not even a name that is gone takes its addresses away')
  dns.records.set('web.example', { addresses: [there.host], ttl: 1 })
  await proxy.said(/DNS: web\.example resolves again/, 20_000)
  t.same(await upstreams(t, proxy, 'web'), ['there'])
  t.equal(proxy.stderr.split('cannot be resolved').length - 1, 1, 'the failure was told once')
})

t.test('a name that does not resolve yet is 503 UH, and serves as soon as it does', async (t) => {
  const [here] = await twoAddresses(t)
  const dns = await DnsServer.start(t, {})
  const proxy = await start(
    t,
    dns,
    yaml(service({ host: 'web', resolution: 'DNS', endpoints: [{ address: `web.example:${here.port}` }] })),
  )
  const refused = await askOnce(t, proxy.port(), { host: 'web', headers: { 'x-request-id': 'too-early' } })
  t.equal(refused.status, 503)
  t.match(await proxy.logged({ request_id: 'too-early' }), { response_flags: 'UH' })
  t.match(proxy.stderr, /DNS: web\.example cannot be resolved \(ENOTFOUND\); it has no address yet/)
  dns.records.set('web.example', { addresses: [here.host], ttl: 3600 })
  await eventually('it to serve', async () => (await upstreams(t, proxy, 'web')).join() === 'here', 10_000)
})

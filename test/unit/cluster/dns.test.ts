import t from 'tap'
import { DnsRefresher } from '../../../lib/cluster/dns.ts'
import { type DnsAnswer, type DnsSystem, dnsSource } from '../../../lib/cluster/dns-source.ts'
import type { Cluster, DnsFamily } from '../../../lib/state/cluster.ts'
import type { Snapshot } from '../../../lib/state/snapshot.ts'
import { aCluster, anEndpoint, aSnapshot } from '../../support/nouns.ts'

const ENDPOINT = anEndpoint({ address: 'a.example', port: 80 })

function dnsCluster(name: string, hosts: readonly string[], more: Partial<Cluster> = {}): Cluster {
  const dnsNames = hosts.map((host) => ({ host, port: 8000, endpoint: { ...ENDPOINT, address: host, weight: 7 } }))
  return aCluster({ name, type: 'DNS', dnsNames, port: 80, ...more })
}

const snapshotOf = (clusters: readonly Cluster[]): Snapshot => aSnapshot({ clusters })

/** A refresher whose answers, timers and log the test holds in its hands. */
function harness() {
  const answers = new Map<string, DnsAnswer | Error>()
  const asked: string[] = []
  const timers: { callback: () => void; delayMs: number }[] = []
  const told: [cluster: string, addresses: string[]][] = []
  const log: string[] = []
  const refresher = new DnsRefresher({
    source: {
      async resolve(host) {
        asked.push(host)
        const answer = answers.get(host) ?? Object.assign(new Error('none'), { code: 'ENOTFOUND' })
        if (answer instanceof Error) throw answer
        return answer
      },
    },
    refreshMs: 60_000,
    onEndpoints: (cluster, endpoints) => told.push([cluster, endpoints.map((e) => e.address)]),
    log: { info: (m) => log.push(m), warning: (m) => log.push(m) },
    schedule: (callback, delayMs) => {
      const timer = { callback, delayMs }
      timers.push(timer)
      return () => {
        const index = timers.indexOf(timer)
        if (index >= 0) timers.splice(index, 1)
      }
    },
  })
  const fire = async () => {
    for (const timer of timers.splice(0)) timer.callback()
    await new Promise(setImmediate)
  }
  return { refresher, answers, asked, timers, told, log, fire, delays: () => timers.map((x) => x.delayMs) }
}

t.test('a name is looked up once, also for several clusters, and again after its TTL', async (t) => {
  const h = harness()
  h.answers.set('a.example', { addresses: ['10.0.0.1', '10.0.0.2'], ttlMs: 30_000 })
  h.refresher.update([dnsCluster('one', ['a.example']), dnsCluster('two', ['a.example', '192.0.2.1'])])
  await h.refresher.settled(1000)
  t.same(h.asked, ['a.example'], 'an address needs no look-up')
  t.same(h.told, [
    ['one', ['10.0.0.1', '10.0.0.2']],
    ['two', ['10.0.0.1', '10.0.0.2', '192.0.2.1']],
  ])
  t.same(h.delays(), [30_000])
  h.answers.set('a.example', { addresses: ['10.0.0.2', '10.0.0.1'], ttlMs: 30_000 })
  await h.fire()
  t.same(h.told.length, 2, 'a rotated answer is no change')
  h.answers.set('a.example', { addresses: ['10.0.0.3'], ttlMs: 30_000 })
  await h.fire()
  t.same(h.told.slice(2), [
    ['one', ['10.0.0.3']],
    ['two', ['10.0.0.3', '192.0.2.1']],
  ])
})

t.test('how long an answer holds', async (t) => {
  const cases: [ttlMs: number | null, delayMs: number][] = [
    [0, 1000],
    [500, 1000],
    [5000, 5000],
    [null, 60_000],
    [1e12, 86_400_000],
  ]
  for (const [ttlMs, delayMs] of cases) {
    const h = harness()
    h.answers.set('a.example', { addresses: ['10.0.0.1'], ttlMs })
    h.refresher.update([dnsCluster('one', ['a.example'])])
    await h.refresher.settled(1000)
    t.same(h.delays(), [delayMs], String(ttlMs))
  }
})

t.test('a failure keeps the last addresses, backs off and is told once', async (t) => {
  const h = harness()
  h.answers.set('a.example', { addresses: ['10.0.0.1'], ttlMs: 5000 })
  const cluster = dnsCluster('one', ['a.example'])
  h.refresher.update([cluster])
  await h.refresher.settled(1000)
  h.answers.set('a.example', Object.assign(new Error('timeout'), { code: 'ETIMEOUT' }))
  const delays: number[] = []
  for (let i = 0; i < 8; i++) {
    await h.fire()
    delays.push(...h.delays())
  }
  t.same(delays, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000])
  t.same(h.log, ['DNS: a.example cannot be resolved (ETIMEOUT); keeping 10.0.0.1'])
  t.same(h.told.length, 1)
  t.same(h.refresher.inject(snapshotOf([cluster])).clusters[0]?.endpoints[0]?.address, '10.0.0.1')
  h.answers.set('a.example', { addresses: ['10.0.0.1'], ttlMs: 5000 })
  await h.fire()
  t.same(h.log.slice(1), ['DNS: a.example resolves again'])
  t.same(h.delays(), [5000])
})

t.test('LOGICAL_DNS uses the first address and follows it', async (t) => {
  const h = harness()
  h.answers.set('a.example', { addresses: ['10.0.0.1', '10.0.0.2'], ttlMs: 1000 })
  h.refresher.update([dnsCluster('one', ['a.example'], { firstAddressOnly: true })])
  await h.refresher.settled(1000)
  h.answers.set('a.example', { addresses: ['10.0.0.2', '10.0.0.1'], ttlMs: 1000 })
  await h.fire()
  t.same(h.told, [
    ['one', ['10.0.0.1']],
    ['one', ['10.0.0.2']],
  ])
})

t.test('LOGICAL_DNS with both families: one endpoint with further addresses', async (t) => {
  const h = harness()
  h.answers.set('a.example', { addresses: ['10.0.0.1', '::1'], ttlMs: 1000 })
  const cluster = dnsCluster('one', ['a.example'], { firstAddressOnly: true, dnsFamily: 'ALL' })
  h.refresher.update([cluster])
  await h.refresher.settled(1000)
  const found = (): unknown =>
    h.refresher.inject(snapshotOf([cluster])).clusters[0]?.endpoints.map((e) => [e.address, e.otherAddresses])
  t.same(found(), [['10.0.0.1', ['::1']]])
  h.answers.set('a.example', { addresses: ['10.0.0.1', '::2'], ttlMs: 1000 })
  await h.fire()
  t.same(found(), [['10.0.0.1', ['::2']]])
})

t.test('one name, two families', async (t) => {
  const h = harness()
  h.answers.set('a.example', { addresses: ['10.0.0.1'], ttlMs: 1000 })
  h.refresher.update([
    dnsCluster('one', ['a.example'], { dnsFamily: 'V4_ONLY' }),
    dnsCluster('two', ['a.example'], { dnsFamily: 'V6_ONLY' }),
    dnsCluster('three', ['a.example'], { dnsFamily: 'V6_ONLY' }),
  ])
  await h.refresher.settled(1000)
  t.same(h.asked, ['a.example', 'a.example'], 'asked once for each')
  t.same(h.told.map(([name]) => name).toSorted(), ['one', 'three', 'two'])
})

t.test('which family of addresses (Envoy DnsLookupFamily)', async (t) => {
  const none = async () => Promise.reject(new Error('NXDOMAIN'))
  const v4 = async () => [{ address: '10.0.0.1', ttl: 30 }]
  const v6 = async () => [{ address: '2001:db8::1', ttl: 9 }]
  const both = ['10.9.9.9', '::1']
  const rows: readonly (readonly [family: DnsFamily, both: string[], only4: string[], only6: string[], system: string[]])[] = [
    ['V4_PREFERRED', ['10.0.0.1'], ['10.0.0.1'], ['2001:db8::1'], ['10.9.9.9']],
    ['AUTO', ['2001:db8::1'], ['10.0.0.1'], ['2001:db8::1'], ['::1']],
    ['V4_ONLY', ['10.0.0.1'], ['10.0.0.1'], [], ['10.9.9.9']],
    ['V6_ONLY', ['2001:db8::1'], [], ['2001:db8::1'], ['::1']],
    ['ALL', ['10.0.0.1', '2001:db8::1'], ['10.0.0.1'], ['2001:db8::1'], both],
  ]
  const ask = (
    resolve4: DnsSystem['resolve4'],
    resolve6: DnsSystem['resolve6'],
    lookup: DnsSystem['lookup'],
    family: DnsFamily,
  ) =>
    dnsSource({ resolve4, resolve6, lookup, hostsFile: async () => '' }, false)
      .resolve('a.example', family)
      .then(
        (answer) => answer.addresses,
        () => [],
      )
  for (const [family, all, only4, only6, system] of rows) {
    t.same(await ask(v4, v6, none, family), all, family)
    t.same(await ask(v4, none, none, family), only4, `${family}: only A`)
    t.same(await ask(none, v6, none, family), only6, `${family}: only AAAA`)
    t.same(await ask(none, none, async () => both, family), system, `${family}: of the system`)
  }
})

t.test('a reload keeps what was resolved and forgets what is gone', async (t) => {
  const h = harness()
  h.answers.set('a.example', { addresses: ['10.0.0.1'], ttlMs: 1000 })
  h.answers.set('b.example', { addresses: ['10.0.0.9'], ttlMs: 1000 })
  h.refresher.update([dnsCluster('one', ['a.example'])])
  await h.refresher.settled(1000)
  const next = [dnsCluster('one', ['a.example']), dnsCluster('new', ['b.example'])]
  h.refresher.update(next)
  const injected = h.refresher.inject(snapshotOf([...next, dnsCluster('static', [], { type: 'STATIC', endpoints: [ENDPOINT] })]))
  t.same(
    injected.clusters.map((c) => c.endpoints),
    [[{ ...ENDPOINT, address: '10.0.0.1', port: 8000, weight: 7 }], [], [ENDPOINT]],
    'resolved, not yet resolved, and not ours to resolve',
  )
  await h.refresher.settled(1000)
  h.refresher.update([dnsCluster('new', ['b.example'])])
  h.asked.length = 0
  await h.fire()
  t.same(h.asked, ['b.example'])
  h.refresher.stop()
  t.same(h.timers, [], 'nothing is left behind')
})

t.test('waiting for the first answers ends at the limit', async (t) => {
  const h = harness()
  const refresher = new DnsRefresher({
    source: { resolve: () => new Promise(() => {}) },
    refreshMs: 60_000,
    onEndpoints: () => {},
    log: { info: () => {}, warning: () => {} },
    schedule: (callback, delayMs) => {
      h.timers.push({ callback, delayMs })
      return () => {}
    },
  })
  refresher.update([dnsCluster('one', ['silent.example'])])
  const settled = refresher.settled(500)
  t.same(h.delays(), [500])
  await h.fire()
  await settled
})

t.test('hosts file, then DNS, then the system', async (t) => {
  const failing = async () => Promise.reject(new Error('NXDOMAIN'))
  const base: DnsSystem = {
    resolve4: failing,
    resolve6: failing,
    lookup: failing,
    hostsFile: async () => '127.0.0.1 localhost\n10.1.1.1 db.local other # db.comment\n',
  }
  const v4 = async () => [
    { address: '10.0.0.1', ttl: 30 },
    { address: '10.0.0.2', ttl: 20 },
  ]
  const v6 = async () => [{ address: '2001:db8::1', ttl: 9 }]
  const lookup = async () => ['::1', '10.9.9.9']
  const cases: [title: string, host: string, system: Partial<DnsSystem>, expected: DnsAnswer][] = [
    [
      'A records, the shortest TTL',
      'a.example',
      { resolve4: v4, resolve6: v6 },
      { addresses: ['10.0.0.1', '10.0.0.2'], ttlMs: 20_000 },
    ],
    ['AAAA when there is no A', 'a.example', { resolve6: v6 }, { addresses: ['2001:db8::1'], ttlMs: 9000 }],
    [
      'AAAA when A is empty',
      'a.example',
      { resolve4: async () => [], resolve6: v6 },
      { addresses: ['2001:db8::1'], ttlMs: 9000 },
    ],
    ['what DNS does not know', 'a.example', { lookup }, { addresses: ['10.9.9.9'], ttlMs: null }],
    ['a name of the hosts file', 'DB.local', { resolve4: v4, lookup }, { addresses: ['10.9.9.9'], ttlMs: null }],
    ['a name in a comment of it', 'db.comment', { resolve4: v4, lookup }, { addresses: ['10.0.0.1', '10.0.0.2'], ttlMs: 20_000 }],
    ['a name without a dot has search domains', 'db', { resolve4: v4, lookup }, { addresses: ['10.9.9.9'], ttlMs: null }],
  ]
  for (const [title, host, system, expected] of cases)
    t.same(await dnsSource({ ...base, ...system }).resolve(host, 'V4_PREFERRED'), expected, title)
  await t.rejects(dnsSource(base).resolve('a.example', 'V4_PREFERRED'))

  const own = (system: Partial<DnsSystem>, host: string) => dnsSource({ ...base, ...system }, true).resolve(host, 'V4_PREFERRED')
  t.same(await own({ resolve4: v4, lookup }, 'db'), { addresses: ['10.0.0.1', '10.0.0.2'], ttlMs: 20_000 }, 'servers of our own')
  t.same(await own({ lookup }, 'db.local'), { addresses: ['10.9.9.9'], ttlMs: null }, 'the hosts file comes before them')
  await t.rejects(own({ lookup }, 'a.example'), { message: 'NXDOMAIN' }, 'what they do not know the system is not asked')
  await t.rejects(own({ resolve4: async () => [], resolve6: async () => [], lookup }, 'a.example'), { code: 'ENODATA' })
})

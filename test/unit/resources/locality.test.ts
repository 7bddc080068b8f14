// Priorities and locality weights as istiod computes them for one client, and the other settings of balancing.
import t from 'tap'
import { type LoadResult, ResourceLoader } from '../../../lib/resources/load.ts'
import type { Cluster } from '../../../lib/state/cluster.ts'
import { bootstrapFor, clusterOf, Folder } from './kit.ts'

const CLIENT = 'us/us-a/rack1'

interface Question {
  /** trafficPolicy of the rule for the service, in flow style. */
  readonly policy?: string
  readonly annotations?: string
  /** Of the ServiceEntry. */
  readonly serviceAnnotations?: string
  readonly locality?: string
  /** mesh.localityFailover */
  readonly mesh?: 'off'
  readonly labels?: Readonly<Record<string, string>>
  readonly endpoints: readonly string[]
  readonly resolution?: string
}

type Kit = { teardown(fn: () => void): unknown }

function load(
  t: Kit,
  text: string,
  locality: string,
  labels: Readonly<Record<string, string>>,
  localityFailover: 'on' | 'off' = 'on',
): LoadResult {
  const bootstrap = bootstrapFor([new Folder(t, { 'a.yaml': text }).path], { labels })
  const mesh = { ...bootstrap.mesh, localityFailover }
  return new ResourceLoader({ ...bootstrap, mesh, workload: { ...bootstrap.workload, address: '10.9.9.9', locality } }).load()
}

function ask(t: Kit, q: Question): { readonly result: LoadResult; readonly cluster: Cluster } {
  const endpoints = q.endpoints.map((e, i) => `{address: 10.0.0.${i + 1}, ${e}}`).join(', ')
  const text = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: s, annotations: {${q.serviceAnnotations ?? ''}}}
spec: {hosts: [s.local], resolution: ${q.resolution ?? 'STATIC'}, ports: [{number: 80, name: http}], endpoints: [${endpoints}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: s, annotations: {${q.annotations ?? ''}}}
spec: {host: s.local, trafficPolicy: ${q.policy ?? '{loadBalancer: {simple: LEAST_REQUEST}}'}}
`
  const result = load(t, text, q.locality ?? CLIENT, q.labels ?? { app: 'web' }, q.mesh)
  return { result, cluster: clusterOf(result, 'outbound|80||s.local') }
}

const at = (...places: string[]): string[] => places.map((place) => `locality: ${place}`)
const EVERYWHERE = at('us/us-a/rack1', 'us/us-a/rack2', 'us/us-b/rack1', 'eu/eu-a/rack1', 'ap/ap-a/rack1')

const priorities = (c: Cluster): number[] => c.endpoints.map((e) => e.priority)
const weights = (c: Cluster): string[] | null =>
  c.localityWeights?.map((w) => `${w.priority} ${w.locality.region}/${w.locality.zone}/${w.locality.subzone} ${w.weight}`) ?? null

t.test('the mesh’s default can be switched off; a rule and a Service come before it', async (t) => {
  const rows: [question: Partial<Question>, priorities: number[]][] = [
    [{ policy: '{outlierDetection: {}}' }, [0, 0, 0, 0, 0]],
    [{ policy: '{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: true}}}' }, [0, 1, 2, 3, 3]],
    [{ serviceAnnotations: 'networking.istio.io/traffic-distribution: PreferClose' }, [0, 0, 1, 2, 2]],
  ]
  for (const [question, wanted] of rows) {
    const { cluster } = ask(t, { ...question, mesh: 'off', endpoints: EVERYWHERE })
    t.same(priorities(cluster), wanted, JSON.stringify(question))
  }
})

t.test('failover: by default near before far, once outliers are detected', async (t) => {
  const rows: [name: string, policy: string, priorities: number[]][] = [
    ['no outlierDetection', '{loadBalancer: {simple: ROUND_ROBIN}}', [0, 0, 0, 0, 0]],
    ['the mesh’s default', '{outlierDetection: {}}', [0, 1, 2, 3, 3]],
    ['enabled', '{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: true}}}', [0, 1, 2, 3, 3]],
    ['switched off', '{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}}', [0, 0, 0, 0, 0]],
    [
      'to a region first',
      '{outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: us, to: ap}]}}}',
      [0, 1, 2, 4, 3],
    ],
    [
      'another region’s failover is not ours',
      '{outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: eu, to: ap}]}}}',
      [0, 1, 2, 3, 3],
    ],
    [
      'failover without outlierDetection',
      '{loadBalancer: {localityLbSetting: {failover: [{from: us, to: ap}]}}}',
      [0, 0, 0, 0, 0],
    ],
  ]
  for (const [name, policy, expected] of rows)
    t.same(priorities(ask(t, { policy, endpoints: EVERYWHERE }).cluster), expected, name)
})

t.test('failover: priorities have no gaps, and a client without a locality is far from everybody', async (t) => {
  const policy = '{outlierDetection: {}}'
  t.same(priorities(ask(t, { policy, endpoints: at('us/us-b', 'eu/eu-a') }).cluster), [0, 1])
  t.same(priorities(ask(t, { policy, endpoints: EVERYWHERE, locality: '' }).cluster), [0, 0, 0, 0, 0])
  t.same(priorities(ask(t, { policy, endpoints: at('us/us-a/rack1', 'us'), locality: 'us' }).cluster), [1, 0])
})

t.test('failoverPriority: the first label that differs decides', async (t) => {
  const rule = (list: string, more = '') =>
    `{outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [${list}]${more}}}}`
  const labels = { app: 'web', version: 'v1', tier: 'gold' }
  const endpoints = ['labels: {version: v1, tier: gold}', 'labels: {version: v1}', 'labels: {tier: gold}', 'labels: {tier: tin}']
  const rows: [list: string, priorities: number[]][] = [
    ['version, tier', [0, 1, 2, 2]],
    ['tier, version', [0, 2, 1, 2]],
    ['version=v1, tier=tin', [0, 0, 1, 1]],
    ['tier=tin', [1, 1, 1, 0]],
  ]
  for (const [list, expected] of rows)
    t.same(priorities(ask(t, { policy: rule(list), endpoints, labels }).cluster), expected, list)

  const places = ['locality: us/us-a, network: n1', 'locality: us/us-b, network: n1', 'locality: eu/eu-a, network: n1']
  const byPlace = rule('topology.kubernetes.io/region, topology.kubernetes.io/zone')
  t.same(
    priorities(ask(t, { policy: byPlace, endpoints: places, locality: 'us/us-a' }).cluster),
    [0, 1, 2],
    'labels of the place',
  )
  const network = ask(t, {
    policy: rule('topology.istio.io/network'),
    endpoints: [...places, 'network: n2'],
    labels: { 'topology.istio.io/network': 'n2' },
  })
  t.same(priorities(network.cluster), [1, 1, 1, 0], 'the network of an endpoint')

  // Label first, then region: (v1, us) (v1, eu) (v1, ap) (v2, us).
  const both = [
    'labels: {version: v1}, locality: us/us-a/rack1',
    'labels: {version: v1}, locality: eu',
    'labels: {version: v1}, locality: ap',
    'labels: {version: v2}, locality: us/us-a/rack1',
  ]
  const failover = ', failover: [{from: us, to: ap}]'
  t.same(priorities(ask(t, { policy: rule('version', failover), endpoints: both, labels }).cluster), [0, 2, 1, 3])
})

t.test('localities are weighed where somebody configured them, not by default', async (t) => {
  t.equal(ask(t, { policy: '{outlierDetection: {}}', endpoints: EVERYWHERE }).cluster.localityWeights, null)
  const endpoints = ['locality: us/us-a, weight: 3', 'locality: us/us-a', 'locality: eu/eu-a', 'locality: ap/ap-a, weight: 7']
  const policy = '{outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: us, to: ap}]}}}'
  t.same(weights(ask(t, { policy, endpoints, locality: 'us/us-a' }).cluster), ['0 us/us-a/ 4', '1 ap/ap-a/ 7', '2 eu/eu-a/ 1'])
})

t.test('distribute', async (t) => {
  const endpoints = at('us/us-a/r1', 'us/us-a/r2', 'us/us-b/r1', 'eu/eu-a/r1')
  const rule = (list: string) => `{loadBalancer: {localityLbSetting: {distribute: [${list}]}}}`
  const rows: [name: string, list: string, addresses: string, weights: string[]][] = [
    [
      'shares',
      '{from: "us/us-a/*", to: {"us/us-a/*": 70, "eu/*": 30}}',
      '1 2 4',
      // 70 for two localities.
      ['0 us/us-a/r1 35', '0 us/us-a/r2 35', '0 eu/eu-a/r1 30'],
    ],
    ['rounded up', '{from: us, to: {us: 100}}', '1 2 3', ['0 us/us-a/r1 34', '0 us/us-a/r2 34', '0 us/us-b/r1 34']],
    [
      'the first entry that fits the client',
      '{from: eu, to: {us: 100}}, {from: us/us-a, to: {eu: 100}}',
      '4',
      ['0 eu/eu-a/r1 100'],
    ],
    [
      'none fits the client',
      '{from: eu, to: {us: 100}}',
      '1 2 3 4',
      ['0 eu/eu-a/r1 1', '0 us/us-a/r1 1', '0 us/us-a/r2 1', '0 us/us-b/r1 1'],
    ],
    ['nobody there', '{from: us, to: {ap: 100}}', '', []],
  ]
  for (const [name, list, addresses, expected] of rows) {
    const { cluster } = ask(t, { policy: rule(list), endpoints })
    t.equal(cluster.endpoints.map((e) => e.address.slice(-1)).join(' '), addresses, name)
    t.same(weights(cluster), expected, name)
  }
})

t.test('trafficDistribution makes priorities without outlierDetection, and a rule beats it', async (t) => {
  const endpoints = at('us/us-a/rack1', 'us/us-a/rack2', 'us/us-b/rack1', 'eu/eu-a/rack1')
  const serviceAnnotations = 'networking.istio.io/traffic-distribution: PreferClose'
  t.same(priorities(ask(t, { serviceAnnotations, endpoints }).cluster), [0, 0, 1, 2])
  const node = 'networking.istio.io/traffic-distribution: prefersamenode'
  t.same(priorities(ask(t, { serviceAnnotations: node, endpoints }).cluster), [0, 1, 2, 3])
  const off = '{loadBalancer: {localityLbSetting: {enabled: false}}}'
  t.same(priorities(ask(t, { serviceAnnotations, policy: off, endpoints }).cluster), [0, 0, 0, 0])
})

t.test('where endpoints of a Service are: their slice’s zone, labels of nodes on pods, a label of their own', async (t) => {
  const text = `
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {trafficDistribution: PreferSameNode, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
endpoints:
- {addresses: [10.1.0.1], zone: us-a, nodeName: n1}
- {addresses: [10.1.0.2], zone: us-a, nodeName: n2}
- {addresses: [10.1.0.3], zone: us-b}
- {addresses: [10.1.0.4], zone: elsewhere}
- {addresses: [10.1.0.5], zone: us-a}
- {addresses: [10.1.0.6], deprecatedTopology: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-a}}
ports: [{name: http, port: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: three, labels: {topology.kubernetes.io/region: us, topology.kubernetes.io/zone: us-b, topology.istio.io/subzone: r3}}
status: {podIP: 10.1.0.3}
---
apiVersion: v1
kind: Pod
metadata: {name: five, labels: {istio-locality: ap.ap-a.r5}}
status: {podIP: 10.1.0.5}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: n2}
status: {podIP: 10.9.9.9}
`
  const cluster = clusterOf(load(t, text, 'us/us-a', { app: 'web' }), 'outbound|80||s.default.svc.cluster.local')
  t.same(
    cluster.endpoints.map((e) => `${e.locality.region}/${e.locality.zone}/${e.locality.subzone}`),
    ['us/us-a/', 'us/us-a/', 'us/us-b/r3', '/elsewhere/', 'ap/ap-a/r5', 'eu/eu-a/'],
  )
  // Same node, same zone, same region, others.
  t.same(priorities(cluster), [1, 0, 2, 3, 3, 3])
})

t.test('names that DNS resolves have priorities too', async (t) => {
  const text = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: s}
spec: {hosts: [s.local], resolution: DNS, ports: [{number: 80, name: http}], endpoints: [{address: near.local, locality: us/us-a/rack1}, {address: far.local, locality: eu}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: s}
spec: {host: s.local, trafficPolicy: {outlierDetection: {}}}
`
  const cluster = clusterOf(load(t, text, CLIENT, {}), 'outbound|80||s.local')
  t.same(
    cluster.dnsNames.map((n) => [n.host, n.endpoint.priority]),
    [
      ['near.local', 0],
      ['far.local', 1],
    ],
  )
})

t.test('panic threshold: 50 without outlierDetection, with it minHealthPercent, 0 unless said', async (t) => {
  const endpoints = ['weight: 1']
  const of = (policy: string) => ask(t, { policy, endpoints }).cluster.panicThreshold
  t.equal(of('{loadBalancer: {simple: RANDOM}}'), 50)
  t.equal(of('{outlierDetection: {}}'), 0)
  t.equal(of('{outlierDetection: {minHealthPercent: 30}}'), 30)
})

t.test('warm-up, for the two policies that have it', async (t) => {
  const endpoints = ['weight: 1']
  const rows: [lb: string, expected: Cluster['slowStart']][] = [
    ['simple: ROUND_ROBIN', null],
    ['simple: ROUND_ROBIN, warmupDurationSecs: 30s', { windowMs: 30_000, minimumPercent: 10, aggression: 1 }],
    ['warmupDurationSecs: 30s', { windowMs: 30_000, minimumPercent: 10, aggression: 1 }],
    ['warmup: {duration: 1m, minimumPercent: 0, aggression: 1.5}', { windowMs: 60_000, minimumPercent: 0, aggression: 1.5 }],
    ['simple: RANDOM, warmup: {duration: 1m}', null],
  ]
  for (const [lb, expected] of rows)
    t.same(ask(t, { policy: `{loadBalancer: {${lb}}}`, endpoints }).cluster.slowStart, expected, lb)
})

t.test('PEAK_EWMA by annotation', async (t) => {
  const endpoints = ['weight: 1']
  const annotations = 'heddle.io/load-balancer: PEAK_EWMA'
  const of = (q: Partial<Question>) => ask(t, { endpoints, ...q }).cluster.loadBalancer
  t.same(of({ annotations }), { kind: 'PEAK_EWMA', decayMs: 10_000 })
  t.same(of({ annotations: `${annotations}, heddle.io/load-balancer-decay: 500ms` }), { kind: 'PEAK_EWMA', decayMs: 500 })
  t.same(of({ annotations, policy: '{loadBalancer: {simple: ROUND_ROBIN}}' }).kind, 'PEAK_EWMA')
  t.same(of({ annotations, policy: '{loadBalancer: {simple: PASSTHROUGH}}' }).kind, 'PASSTHROUGH')
})

t.test('what has no effect is said with its place', async (t) => {
  const endpoints = ['weight: 1']
  const reason = (policy: string) =>
    ask(t, { policy, endpoints }).result.statuses.find((s) => s.kind === 'DestinationRule')?.reason
  t.match(
    reason('{loadBalancer: {localityLbSetting: {failover: [{from: us, to: eu}]}}}'),
    /localityLbSetting\.failover.*outlierDetection/,
  )
  t.match(reason('{loadBalancer: {localityLbSetting: {failoverPriority: [a]}}}'), /failoverPriority.*outlierDetection/)
  t.notMatch(reason('{outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [a]}}}'), /localityLbSetting/)
  t.match(reason('{loadBalancer: {zoneAwareLbSetting: {enabled: true}}}'), /zoneAwareLbSetting: is not carried out yet/)
  t.equal(reason('{loadBalancer: {warmup: {duration: 1s}, localityLbSetting: {distribute: [{from: us, to: {us: 100}}]}}}'), '')
})

// What of the configuration was used, summed over workers, and the Sidecar that is made of it.
import t from 'tap'
import { parse } from 'yaml'
import { configUsePage } from '../../../lib/admin/config-use-page.ts'
import { sidecarYaml } from '../../../lib/cli/sidecar-resource.ts'
import { aCluster, aRouteTable, aSnapshot, aVirtualHost } from '../../support/nouns.ts'

const service = (name: string, host: string, serviceNamespace = '') => aCluster({ name, host, serviceNamespace })

const SNAPSHOT = aSnapshot({
  clusters: [
    service('outbound|80||a.shop.svc.cluster.local', 'a.shop.svc.cluster.local', 'shop'),
    service('outbound|81||a.shop.svc.cluster.local', 'a.shop.svc.cluster.local', 'shop'),
    service('outbound|80|v1|b.shop.svc.cluster.local', 'b.shop.svc.cluster.local'),
    service('outbound|443||api.example.com', 'api.example.com', 'egress'),
    service('inbound|8080||', 'me.shop.svc.cluster.local', 'shop'),
    service('PassthroughCluster', ''),
  ],
  routeTables: [
    aRouteTable({
      name: '80',
      virtualHosts: [
        aVirtualHost({ name: 'a.shop.svc.cluster.local:80', domains: ['a.shop.svc.cluster.local'] }),
        aVirtualHost({ name: 'moved.example.com:80', domains: ['moved.example.com'] }),
        aVirtualHost({ name: 'allow_any', domains: ['*'] }),
      ],
    }),
  ],
})

t.test('hosts by what workers have used', (t) => {
  const virtualHost = (name: string) => ({ table: '80', name, domains: [] })
  const rows: [what: string, clusters: string[][], virtualHosts: string[], expected: string[]][] = [
    ['nothing', [[]], [], []],
    [
      'a service, by either of its ports, in either worker',
      [['outbound|80||a.shop.svc.cluster.local'], ['outbound|81||a.shop.svc.cluster.local']],
      [],
      ['shop/a.shop.svc.cluster.local'],
    ],
    ['a subset; the namespace by its name', [['outbound|80|v1|b.shop.svc.cluster.local']], [], ['shop/b.shop.svc.cluster.local']],
    ['one that is gone since', [['outbound|80||gone.far.svc.cluster.local']], [], ['far/gone.far.svc.cluster.local']],
    ['what is ours, or nobody’s', [['inbound|8080||', 'PassthroughCluster']], ['allow_any'], []],
    ['routes without a service', [[]], ['moved.example.com:80'], ['/moved.example.com']],
    [
      'routes and their service',
      [['outbound|80||a.shop.svc.cluster.local']],
      ['a.shop.svc.cluster.local:80'],
      ['shop/a.shop.svc.cluster.local'],
    ],
  ]
  for (const [what, clusters, virtualHosts, expected] of rows) {
    const workers = clusters.map((c) => ({ clusters: c, virtualHosts: virtualHosts.map(virtualHost), heapBytes: 1 }))
    const page = configUsePage({ workers, bytes: { clusters: 0, virtualHosts: 0, arenas: 0 }, sent: [] }, SNAPSHOT)
    t.strictSame(
      page.hosts.used.map(({ namespace, host }) => `${namespace}/${host}`),
      expected,
      what,
    )
    t.equal(page.hosts.configured, 3, 'a, b and the outside')
    t.strictSame([page.clusters.configured, page.virtualHosts.configured], [6, 3])
  }
  t.end()
})

t.test('a Sidecar', (t) => {
  const used = [
    { namespace: 'shop', host: 'a.shop.svc.cluster.local' },
    { namespace: 'far', host: 'b.far.svc.cluster.local' },
    { namespace: '', host: '*.example.com' },
  ]
  t.strictSame(parse(sidecarYaml({ namespace: 'shop', name: 'web', app: 'web' }, used, 'Why.')), {
    apiVersion: 'networking.istio.io/v1',
    kind: 'Sidecar',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      workloadSelector: { labels: { app: 'web' } },
      egress: [{ hosts: ['*/*.example.com', './a.shop.svc.cluster.local', 'far/b.far.svc.cluster.local'] }],
    },
  })
  const nothing = parse(sidecarYaml({ namespace: '1', name: 'x', app: '' }, [], 'Why.'))
  t.match(nothing, { metadata: { name: 'default', namespace: '1' }, spec: { egress: [{ hosts: ['~/*'] }] } })
  t.notOk('workloadSelector' in nothing.spec)
  t.end()
})

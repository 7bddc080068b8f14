// One decision from authority to endpoint, with its steps, as the data path makes it for each request.

import { BalancedCluster } from '../../../lib/cluster/lb/balanced-cluster.ts'
import { Host } from '../../../lib/cluster/lb/host.ts'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import { decide, type Facts } from '../../../lib/decide/decide.ts'
import { Decision } from '../../../lib/decide/decision.ts'
import { StepRing } from '../../../lib/decide/steps.ts'
import { compileTables } from '../../../lib/route/compile.ts'
import type { Cluster } from '../../../lib/state/cluster.ts'
import { ANY_REQUEST, type Route, type WeightedCluster } from '../../../lib/state/route.ts'
import {
  aCluster,
  aDestination,
  aForward,
  anEndpoint,
  aRoute,
  aRouteTable,
  aSnapshot,
  aVirtualHost,
} from '../../../test/support/nouns.ts'
import { type Bench, keep } from '../contract.ts'

const endpoints = Array.from({ length: 10 }, (_, i) => anEndpoint({ address: `10.0.0.${i + 1}` }))

const cluster = (name: string): Cluster => aCluster({ name, endpoints, loadBalancer: { kind: 'LEAST_REQUEST' } })

function route(prefix: string, clusters: readonly WeightedCluster[]): Route {
  const path = { kind: 'prefix', value: prefix, ignoreCase: false } as const
  return aRoute({ name: prefix, match: { ...ANY_REQUEST, path }, action: aForward({ clusters }) })
}

const routes = [route('/split', [aDestination('v1', 90), aDestination('v2', 10)]), route('/', [aDestination('v1', 100)])]
const virtualHosts = Array.from({ length: 100 }, (_, i) =>
  aVirtualHost({ name: `v${i}`, domains: [`service-${i}`, `service-${i}.default.svc.cluster.local`], routes }),
)
const clusters = new Map(
  ['v1', 'v2'].map((name, c) => {
    const made = new BalancedCluster(c, cluster(name))
    made.update(
      made.config,
      endpoints.map((e, i) => new Host(c * 10 + i, e)),
      0,
    )
    return [name, made] as const
  }),
)
const tables = compileTables(aSnapshot({ routeTables: [aRouteTable({ virtualHosts })] }), clusters)

function bench(name: string, path: string): Bench {
  const facts: Facts = {
    request: {
      method: 'GET',
      path,
      query: null,
      scheme: 'http',
      authority: 'service-50:9080',
      headers: { get: () => null, indexOf: () => -1, valueAt: () => '' },
      metadata: null,
    },
    routeTable: '',
    draw: 0x1234_5678,
    pick: Object.assign(new PickContext(), { draw: 0x9abc_def0, draw2: 0x0fed_cba9 }),
    context: null,
    session: 'none',
    nowSeconds: 0,
  }
  const decision = new Decision()
  const steps = new StepRing(65_536)
  return {
    name: `decide/decide: ${name}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) {
        decision.reset()
        decide(tables, facts, decision, steps)
        keep(decision.host)
      }
    },
  }
}

export const benches: readonly Bench[] = [
  bench('second route, one destination', '/x'),
  bench('two weighted destinations', '/split/x'),
]

// One decision from authority to endpoint, with its steps, as the data path makes it for each request.

import { BalancedCluster } from '../../../lib/cluster/lb/balanced-cluster.ts'
import { Host } from '../../../lib/cluster/lb/host.ts'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import { decide, type Facts } from '../../../lib/decide/decide.ts'
import { Decision } from '../../../lib/decide/decision.ts'
import { StepRing } from '../../../lib/decide/steps.ts'
import { compileTables } from '../../../lib/route/compile.ts'
import type { Cluster } from '../../../lib/state/cluster.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import type { ForwardAction, Route, WeightedCluster } from '../../../lib/state/route.ts'
import { type Bench, keep } from '../contract.ts'

const unknown = { workload: '', namespace: '', app: '', version: '', canonicalService: '', canonicalRevision: '' }
const endpoints = Array.from({ length: 10 }, (_, i) => ({
  address: `10.0.0.${i + 1}`,
  port: 9080,
  weight: 1,
  locality: { region: '', zone: '', subzone: '' },
  priority: 0,
  workload: unknown,
  healthCheck: null,
  origin: BUILT_IN,
}))

function cluster(name: string): Cluster {
  return {
    name,
    type: 'STATIC',
    dnsNames: [],
    firstAddressOnly: false,
    endpoints,
    loadBalancer: { kind: 'LEAST_REQUEST' },
    slowStart: null,
    localityWeights: null,
    panicThreshold: 50,
    outlierDetection: null,
    limits: {
      maxConnections: 0,
      maxPendingRequests: 0,
      maxRequests: 0,
      maxRetries: 0,
      maxRequestsPerConnection: 0,
      connectTimeoutMs: 10_000,
      httpIdleTimeoutMs: 3_600_000,
      tcpIdleTimeoutMs: 3_600_000,
      maxConnectionDurationMs: 0,
      tcpKeepaliveSeconds: 0,
      tcpKeepaliveIntervalSeconds: 0,
      tcpKeepaliveProbes: 0,
      maxConcurrentStreams: 0,
      http2KeepaliveIntervalMs: 0,
      http2KeepaliveTimeoutMs: 0,
      retryBudget: null,
    },
    protocol: 'http1',
    host: '',
    serviceName: '',
    serviceNamespace: '',
    port: 9080,
    subset: '',
    origin: BUILT_IN,
    policyOrigin: BUILT_IN,
  }
}

const weighted = (name: string, weight: number): WeightedCluster => ({
  cluster: name,
  weight,
  requestEdits: [],
  responseEdits: [],
  hostRewrite: '',
})

function forward(clusters: readonly WeightedCluster[]): ForwardAction {
  return {
    kind: 'forward',
    clusters,
    totalWeight: 100,
    timeoutMs: 0,
    timeoutOrigin: BUILT_IN,
    retry: null,
    hashPolicies: [],
    pathRewrite: null,
    hostRewrite: '',
    mirrors: [],
    fault: null,
    cors: null,
    clusterNotFoundStatus: 503,
  }
}

function route(prefix: string, clusters: readonly WeightedCluster[]): Route {
  const path = { kind: 'prefix', value: prefix, ignoreCase: false } as const
  return {
    name: prefix,
    origin: BUILT_IN,
    match: { path, headers: [], query: [] },
    action: forward(clusters),
    requestEdits: [],
    responseEdits: [],
  }
}

const routes = [route('/split', [weighted('v1', 90), weighted('v2', 10)]), route('/', [weighted('v1', 100)])]
const virtualHosts = Array.from({ length: 100 }, (_, i) => ({
  name: `v${i}`,
  domains: [`service-${i}`, `service-${i}.default.svc.cluster.local`],
  routes,
  origin: BUILT_IN,
}))
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
const tables = compileTables(
  { version: 1, listeners: [], routeTables: [{ name: '9080', port: 9080, virtualHosts }], defaultPorts: [], clusters: [] },
  clusters,
)

function bench(name: string, path: string): Bench {
  const facts: Facts = {
    request: {
      method: 'GET',
      path,
      query: null,
      scheme: 'http',
      authority: 'service-50:9080',
      headers: { get: () => null, indexOf: () => -1, valueAt: () => '' },
    },
    routeTable: '',
    draw: 0x1234_5678,
    pick: Object.assign(new PickContext(), { draw: 0x9abc_def0, draw2: 0x0fed_cba9 }),
    context: null,
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

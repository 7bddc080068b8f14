// `outlierDetection` as istiod compiles it, with the defaults of Istio and Envoy.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { OutlierDetection } from '../../../lib/state/outlier-detection.ts'
import { clusterOf, loadText, peersFolder, statusOf } from './kit.ts'

const SERVICE =
  'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 80}, {name: b, port: 81}]}\n'
const rule = (spec: string, annotations = ''): string =>
  `${SERVICE}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: r\n${annotations}spec:\n  host: a\n${spec}`
const policy = (block: string): string => rule(`  trafficPolicy:\n    outlierDetection: ${block}\n`)
const compiled = (t: Parameters<typeof loadText>[0], text: string) =>
  clusterOf(loadText(t, text), 'outbound|80||a.default.svc.cluster.local')

const DEFAULTS: OutlierDetection = {
  consecutive5xx: 5,
  consecutiveGateway: 0,
  splitLocalOrigin: false,
  consecutiveLocalOrigin: 0,
  errorStatuses: [],
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 10,
  successRate: null,
  failurePercentage: null,
}

const ROWS: readonly (readonly [block: string, differs: Partial<OutlierDetection>])[] = [
  ['{}', {}],
  ['{consecutive5xxErrors: 7}', { consecutive5xx: 7 }],
  ['{consecutive5xxErrors: 0}', { consecutive5xx: 0 }],
  ['{consecutiveGatewayErrors: 3}', { consecutiveGateway: 3 }],
  ['{consecutiveGatewayErrors: 0}', { consecutiveGateway: 0 }],
  ['{consecutiveErrors: 4}', { consecutiveGateway: 4 }],
  ['{consecutiveErrors: 4, consecutiveGatewayErrors: 3}', { consecutiveGateway: 3 }],
  ['{splitExternalLocalOriginErrors: true}', { splitLocalOrigin: true, consecutiveLocalOrigin: 5 }],
  [
    '{splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2}',
    { splitLocalOrigin: true, consecutiveLocalOrigin: 2 },
  ],
  [
    '{splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 0}',
    { splitLocalOrigin: true, consecutiveLocalOrigin: 5 },
  ],
  ['{interval: 1m30s}', { intervalMs: 90_000 }],
  ['{baseEjectionTime: 2s}', { baseEjectionMs: 2000 }],
  ['{baseEjectionTime: 10m}', { baseEjectionMs: 600_000, maxEjectionMs: 600_000 }],
  ['{maxEjectionPercent: 0}', { maxEjectionPercent: 10 }],
  ['{maxEjectionPercent: 100}', { maxEjectionPercent: 100 }],
  [
    '{outlierDetectionHttpErrorCodes: [429, 503]}',
    {
      errorStatuses: [
        { from: 429, to: 429 },
        { from: 503, to: 503 },
      ],
    },
  ],
]

t.test('fields and defaults', async (t) => {
  for (const [block, differs] of ROWS) {
    const cluster = compiled(t, policy(block))
    t.same(cluster.outlierDetection, { ...DEFAULTS, ...differs }, block)
    t.equal(cluster.panicThreshold, 0, `${block}: no panic routing`)
  }
  t.equal(compiled(t, policy('{minHealthPercent: 30}')).panicThreshold, 30)
  const without = compiled(t, SERVICE)
  t.equal(without.outlierDetection, null)
  t.equal(without.panicThreshold, 50, "Envoy's default, as long as nothing is ejected")
  t.equal(statusOf(loadText(t, policy('{}')), 'r').state, 'in-force')
})

t.test('settings of a port replace the block with nothing', async (t) => {
  const result = loadText(
    t,
    rule(
      '  trafficPolicy:\n    outlierDetection: {consecutive5xxErrors: 1}\n    portLevelSettings: [{port: {number: 81}, loadBalancer: {simple: RANDOM}}]\n  subsets: [{name: s, trafficPolicy: {outlierDetection: {interval: 1s}}}]\n',
    ),
  )
  const of = (name: string) => clusterOf(result, `outbound|${name}|a.default.svc.cluster.local`).outlierDetection
  t.equal(of('80|')?.consecutive5xx, 1)
  t.equal(of('81|'), null)
  t.match(of('80|s'), { consecutive5xx: 5, intervalMs: 1000 }, 'a block of a subset replaces all of it')
})

t.test('annotations ask for what Istio has no field for', async (t) => {
  const annotated = (text: string) =>
    compiled(t, rule('  trafficPolicy: {outlierDetection: {}}\n', `  annotations: {${text}}\n`)).outlierDetection
  t.same(annotated('heddle.io/success-rate-ejection: "on"')?.successRate, {
    minimumHosts: 5,
    requestVolume: 100,
    stdevFactor: 1.9,
  })
  t.same(annotated('heddle.io/success-rate-ejection: "minimumHosts=3, stdevFactor = 2.5"')?.successRate, {
    minimumHosts: 3,
    requestVolume: 100,
    stdevFactor: 2.5,
  })
  t.same(annotated('heddle.io/failure-percentage-ejection: "on"')?.failurePercentage, {
    threshold: 85,
    minimumHosts: 5,
    requestVolume: 50,
  })
  t.match(annotated('heddle.io/failure-percentage-ejection: "threshold=50,requestVolume=10"')?.failurePercentage, {
    threshold: 50,
    requestVolume: 10,
  })
  const idle = loadText(
    t,
    rule('  trafficPolicy: {loadBalancer: {simple: RANDOM}}\n', '  annotations: {heddle.io/success-rate-ejection: "on"}\n'),
  )
  t.match(statusOf(idle, 'r'), { state: 'partly', reason: /has no effect: the rule has no outlierDetection/ })
})

const FAULTS: readonly (readonly [text: string, line: number, column: number, reason: RegExp])[] = [
  [policy('{maxEjectionPercent: 101}'), 13, 44, /expected a number from 0 to 100, found 101/],
  [policy('{minHealthPercent: -1}'), 13, 42, /expected a number from 0 to 100/],
  [policy('{interval: 0s}'), 13, 34, /at least 1ms/],
  [policy('{baseEjectionTime: 100us}'), 13, 42, /at least 1ms/],
  [policy('{consecutiveLocalOriginFailures: 1}'), 13, 24, /needs `splitExternalLocalOriginErrors: true`/],
  [policy('{consecutive5xxErrors: -1}'), 13, 46, /expected 0 or more, found -1/],
  [policy('{consecutive5xErrors: 1}'), 13, 24, /did you mean `consecutive5xxErrors`\?/],
  [policy('{outlierDetectionHttpErrorCodes: [600]}'), 13, 57, /expected a number from 100 to 599/],
  [
    rule('', '  annotations:\n    heddle.io/success-rate-ejection: minimumHost=3\n'),
    11,
    38,
    /unknown name `minimumHost`: expected minimumHosts, requestVolume, stdevFactor; did you mean `minimumHosts`\?/,
  ],
  [
    rule('', '  annotations:\n    heddle.io/failure-percentage-ejection: threshold=101\n'),
    11,
    44,
    /threshold: expected a percentage from 0 to 100, found "101"/,
  ],
  [
    rule('', '  annotations:\n    heddle.io/success-rate-ejection: "yes"\n'),
    11,
    38,
    /expected `on`, or numbers such as "minimumHosts=5, requestVolume=100, stdevFactor=1.9", found "yes"/,
  ],
]

t.test('what is refused, and where', async (t) => {
  for (const [text, line, column, reason] of FAULTS) {
    const status = statusOf(loadText(t, text), 'r')
    t.match(status, { state: 'refused', reason }, String(reason))
    t.same([status.line, status.column], [line, column], String(reason))
  }
})

interface Recorded {
  readonly clusters: readonly {
    readonly name: string
    readonly outlier_detection?: Readonly<Record<string, unknown>>
    readonly common_lb_config?: { readonly healthy_panic_threshold?: { readonly value?: number } }
  }[]
}

const peers = peersFolder()

t.test('as the recorded istiod', { skip: peers === null ? 'the peers folder is not there (HEDDLE_PEERS)' : false }, async (t) => {
  let compared = 0
  for (const folder of ['cases/weights', 'examples/resilience']) {
    const read = (file: string) => readFileSync(join(peers!, folder, file), 'utf8')
    const { clusters } = JSON.parse(read('xds.json')) as Recorded
    const result = loadText(t, `${read('services.yaml')}\n---\n${read('routes.yaml')}`)
    for (const { name, outlier_detection: wanted, common_lb_config: lb } of clusters) {
      if (!name.startsWith('outbound|')) continue
      const { outlierDetection: found, panicThreshold } = clusterOf(result, name)
      t.equal(found === null, wanted === undefined, name)
      if (wanted === undefined || found === null) continue
      compared++
      const enforced = (field: string, count: number) => (wanted[`enforcing_${field}`] === 0 ? 0 : count)
      t.equal(found.consecutive5xx, enforced('consecutive_5xx', Number(wanted['consecutive_5xx'] ?? 5)), name)
      const gateway = wanted['enforcing_consecutive_gateway_failure'] === 100 ? wanted['consecutive_gateway_failure'] : 0
      t.equal(found.consecutiveGateway, gateway, name)
      t.equal(`${found.intervalMs / 1000}s`, wanted['interval'] ?? '10s', name)
      t.equal(`${found.baseEjectionMs / 1000}s`, wanted['base_ejection_time'] ?? '30s', name)
      t.equal(found.maxEjectionPercent, wanted['max_ejection_percent'] ?? 10, name)
      t.equal(panicThreshold, lb?.healthy_panic_threshold?.value ?? 0, name)
    }
  }
  t.ok(compared >= 5, `${compared} clusters were compared`)
})

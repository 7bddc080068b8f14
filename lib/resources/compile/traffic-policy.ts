// The policy of one cluster: destination, port and subset level combined (Istio TrafficPolicy), and what of it is carried out.
import type { ClusterLimits, LoadBalancerPolicy, RetryBudget, SlowStart } from '../../state/cluster.ts'
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { OutlierDetection } from '../../state/outlier-detection.ts'
import { FAILURE_PERCENTAGE_ANNOTATION, SUCCESS_RATE_ANNOTATION } from '../ejection-annotations.ts'
import type { Path } from '../finding.ts'
import type { ResourceObject } from '../resource-object.ts'
import type { ConnectionPoolSpec, PolicyBlocksSpec, TrafficPolicySpec } from '../schema/destination-rule.ts'
import { durationMs } from '../schema/fields.ts'
import { LOAD_BALANCER, LOAD_BALANCER_DECAY } from '../validate/balancer-annotations.ts'
import type { EffectiveRule, RuleSubset } from './destination-rules.ts'
import { type ConsistentHashSpec, hashPolicyOf } from './hash-policies.ts'
import type { LocalitySpec } from './locality.ts'
import { outlierDetectionOf, panicThresholdOf } from './outlier-detection.ts'
import type { World } from './world.ts'

/** Istio mesh connectTimeout. */
const CONNECT_TIMEOUT_MS = 10_000
/** Envoy's default for both. */
const IDLE_TIMEOUT_MS = 3_600_000
/** Envoy min_weight_percent. */
const WARMUP_PERCENT = 10
/** PEAK_EWMA, as in Finagle. */
const EWMA_DECAY_MS = 10_000
/** Linux tcp_keepalive_time. */
const KEEPALIVE_SECONDS = 7200
/** Envoy's defaults. */
const MINIMUM_RING_SIZE = 1024
const MAXIMUM_RING_SIZE = 8_388_608
const MAGLEV_TABLE_SIZE = 65_537
/** Istio TrafficPolicy.RetryBudget as documented; istiod itself sends 0.2 percent where none is written. */
const BUDGET_PERCENT = 20
const BUDGET_MIN_CONCURRENCY = 3
/** Envoy's default. */
export const PANIC_THRESHOLD = 50

export interface ClusterPolicy {
  readonly loadBalancer: LoadBalancerPolicy
  readonly slowStart: SlowStart | null
  /** undefined: what the Service or the mesh says. */
  readonly locality: LocalitySpec | undefined
  readonly limits: ClusterLimits
  readonly outlierDetection: OutlierDetection | null
  readonly panicThreshold: number
  /** h2UpgradePolicy UPGRADE and useClientProtocol; null: as the port declares. */
  readonly upstreamProtocol: 'http2' | 'client' | null
  readonly origin: Origin
}

export const DEFAULT_POLICY: ClusterPolicy = {
  loadBalancer: { kind: 'LEAST_REQUEST' },
  slowStart: null,
  locality: undefined,
  limits: limitsOf(undefined),
  outlierDetection: null,
  panicThreshold: PANIC_THRESHOLD,
  upstreamProtocol: null,
  origin: BUILT_IN,
}

/** `subset` null: the whole service. */
export function policyFor(rule: EffectiveRule | undefined, subset: RuleSubset | null, port: number): ClusterPolicy {
  if (rule === undefined) return DEFAULT_POLICY
  const blocks = combine(rule.policy, subset?.spec.trafficPolicy, port)
  const outlier = blocks.outlierDetection
  // Joined rules may be several objects: the annotations are those of the one that wrote the block.
  const isOfRule = outlier === (portSettings(rule.policy, port) ?? rule.policy)?.outlierDetection
  const writer = subset === null || isOfRule ? rule.policyObject : subset.object
  const loadBalancer = loadBalancerOf(blocks, rule)
  return {
    loadBalancer,
    slowStart: slowStartOf(blocks, loadBalancer),
    locality: blocks.loadBalancer?.localityLbSetting,
    limits: { ...limitsOf(blocks.connectionPool), retryBudget: retryBudgetOf(rule.policy, subset?.spec.trafficPolicy) },
    outlierDetection: outlier === undefined ? null : outlierDetectionOf(outlier, writer.annotations),
    panicThreshold: outlier === undefined ? PANIC_THRESHOLD : panicThresholdOf(outlier),
    upstreamProtocol: upstreamProtocolOf(blocks.connectionPool),
    origin: subset === null ? rule.policyObject.origin() : subset.object.origin(['subsets', subset.index]),
  }
}

/** A block of a subset replaces the destination's as a whole; settings of a port replace all four blocks, set or not. */
function combine(policy: TrafficPolicySpec | undefined, subset: TrafficPolicySpec | undefined, port: number): PolicyBlocksSpec {
  const base: PolicyBlocksSpec = portSettings(policy, port) ?? policy ?? {}
  if (subset === undefined) return base
  return (
    portSettings(subset, port) ?? {
      loadBalancer: subset.loadBalancer ?? base.loadBalancer,
      connectionPool: subset.connectionPool ?? base.connectionPool,
      outlierDetection: subset.outlierDetection ?? base.outlierDetection,
      tls: subset.tls ?? base.tls,
    }
  )
}

/** Settings of a port have none, and replace none. */
function retryBudgetOf(policy: TrafficPolicySpec | undefined, subset: TrafficPolicySpec | undefined): RetryBudget | null {
  const budget = subset?.retryBudget ?? policy?.retryBudget
  if (budget === undefined) return null
  // In the proto 0 is not told from unset for the number, but it is for the percentage.
  return { percent: budget.percent ?? BUDGET_PERCENT, minConcurrency: budget.minRetryConcurrency || BUDGET_MIN_CONCURRENCY }
}

function portSettings(policy: TrafficPolicySpec | undefined, port: number): PolicyBlocksSpec | undefined {
  return policy?.portLevelSettings?.find((p) => p.port?.number === port)
}

/** The annotation takes the place of every `simple` but PASSTHROUGH, which does not balance, and leaves consistent hashes alone. */
function loadBalancerOf(blocks: PolicyBlocksSpec, rule: EffectiveRule): LoadBalancerPolicy {
  const hash = blocks.loadBalancer?.consistentHash
  if (hash !== undefined) return hashBalancerOf(hash)
  const simple = blocks.loadBalancer?.simple
  const annotated = rule.objects.find((object) => object.annotations[LOAD_BALANCER] !== undefined)?.annotations
  if (annotated !== undefined && simple !== 'PASSTHROUGH') {
    const decay = annotated[LOAD_BALANCER_DECAY]
    return { kind: 'PEAK_EWMA', decayMs: decay === undefined ? EWMA_DECAY_MS : durationMs(decay) }
  }
  if (simple === 'ROUND_ROBIN' || simple === 'RANDOM' || simple === 'PASSTHROUGH') return { kind: simple }
  return { kind: 'LEAST_REQUEST' }
}

/** 0 is not told from unset (proto). */
function hashBalancerOf({ maglev, ringHash, minimumRingSize }: ConsistentHashSpec): LoadBalancerPolicy {
  if (maglev !== undefined) return { kind: 'MAGLEV', tableSize: maglev.tableSize || MAGLEV_TABLE_SIZE }
  const minimum = ringHash?.minimumRingSize || minimumRingSize || MINIMUM_RING_SIZE
  return { kind: 'RING_HASH', minimumRingSize: minimum, maximumRingSize: MAXIMUM_RING_SIZE }
}

/** Istio warmup: with these two policies only. */
function slowStartOf(blocks: PolicyBlocksSpec, { kind }: LoadBalancerPolicy): SlowStart | null {
  const lb = blocks.loadBalancer
  const duration = lb?.warmup?.duration ?? lb?.warmupDurationSecs
  if (duration === undefined || (kind !== 'ROUND_ROBIN' && kind !== 'LEAST_REQUEST')) return null
  return {
    windowMs: durationMs(duration),
    minimumPercent: lb?.warmup?.minimumPercent ?? WARMUP_PERCENT,
    aggression: lb?.warmup?.aggression ?? 1,
  }
}

/** Nothing shorter can be said to the system. */
function wholeSeconds(ms: number): number {
  return Math.max(1, Math.round(ms / 1000))
}

function upstreamProtocolOf(pool: ConnectionPoolSpec | undefined): 'http2' | 'client' | null {
  if (pool?.http?.useClientProtocol === true) return 'client'
  return pool?.http?.h2UpgradePolicy === 'UPGRADE' ? 'http2' : null
}

/** Istio ConnectionPoolSettings. */
function limitsOf(pool: ConnectionPoolSpec | undefined): ClusterLimits {
  const tcp = pool?.tcp
  const http = pool?.http
  const ms = (value: string | undefined, fallback: number): number => (value === undefined ? fallback : durationMs(value))
  const keepalive = tcp?.tcpKeepalive
  return {
    maxConnections: tcp?.maxConnections ?? 0,
    maxPendingRequests: http?.http1MaxPendingRequests ?? 0,
    maxRequests: http?.http2MaxRequests ?? 0,
    maxRetries: http?.maxRetries ?? 0,
    maxRequestsPerConnection: http?.maxRequestsPerConnection ?? 0,
    connectTimeoutMs: ms(tcp?.connectTimeout, CONNECT_TIMEOUT_MS),
    httpIdleTimeoutMs: ms(http?.idleTimeout ?? tcp?.idleTimeout, IDLE_TIMEOUT_MS),
    tcpIdleTimeoutMs: ms(tcp?.idleTimeout, IDLE_TIMEOUT_MS),
    maxConnectionDurationMs: ms(tcp?.maxConnectionDuration, 0),
    tcpKeepaliveIntervalSeconds: keepalive?.interval === undefined ? 0 : wholeSeconds(durationMs(keepalive.interval)),
    tcpKeepaliveProbes: Math.max(0, keepalive?.probes ?? 0),
    maxConcurrentStreams: http?.maxConcurrentStreams ?? 0,
    http2KeepaliveIntervalMs: ms(http?.http2KeepAlive?.interval, 0),
    http2KeepaliveTimeoutMs: ms(http?.http2KeepAlive?.timeout, 0),
    retryBudget: null,
    tcpKeepaliveSeconds: keepalive === undefined ? 0 : wholeSeconds(ms(keepalive.time, KEEPALIVE_SECONDS * 1000)),
  }
}

/** Says of everything that a DestinationRule asks for and that is not carried out yet what happens instead. */
export function noteNotCarriedOut(world: World, rule: ResourceObject<'DestinationRule'>): void {
  notePolicy(world, rule, rule.spec.trafficPolicy, ['trafficPolicy'])
  for (const [i, subset] of (rule.spec.subsets ?? []).entries())
    notePolicy(world, rule, subset.trafficPolicy, ['subsets', i, 'trafficPolicy'])
  noteAnnotations(world, rule)
}

/** They say how endpoints are ejected; whether they are, says `outlierDetection`. */
function noteAnnotations(world: World, rule: ResourceObject<'DestinationRule'>): void {
  const { trafficPolicy, subsets = [] } = rule.spec
  const policies = [trafficPolicy, ...subsets.map((s) => s.trafficPolicy)].flatMap((p) => [p, ...(p?.portLevelSettings ?? [])])
  if (policies.some((p) => p?.outlierDetection !== undefined)) return
  for (const name of [SUCCESS_RATE_ANNOTATION, FAILURE_PERCENTAGE_ANNOTATION])
    if (rule.annotations[name] !== undefined)
      world.verdicts.partly(rule, [], `the annotation ${name} has no effect: the rule has no outlierDetection`)
}

const LATER = 'is not carried out yet'

function notePolicy(
  world: World,
  rule: ResourceObject<'DestinationRule'>,
  policy: TrafficPolicySpec | undefined,
  path: Path,
): void {
  if (policy === undefined) return
  const detects = (policy.outlierDetection ?? rule.spec.trafficPolicy?.outlierDetection) !== undefined
  noteBlocks(world, rule, policy, path, detects)
  for (const [i, port] of (policy.portLevelSettings ?? []).entries())
    noteBlocks(world, rule, port, [...path, 'portLevelSettings', i], port.outlierDetection !== undefined)
  if (policy.tunnel !== undefined) world.verdicts.partly(rule, [...path, 'tunnel'], `${LATER}: connections go out directly`, true)
  if (policy.proxyProtocol !== undefined)
    world.verdicts.partly(rule, [...path, 'proxyProtocol'], `${LATER}: no PROXY header is sent`, true)
  if (policy.retryBudget?.budgetInterval !== undefined && durationMs(policy.retryBudget.budgetInterval) > 0)
    world.verdicts.partly(rule, [...path, 'retryBudget', 'budgetInterval'], `${LATER}: the requests of this moment count`, true)
}

function noteBlocks(
  world: World,
  rule: ResourceObject<'DestinationRule'>,
  blocks: PolicyBlocksSpec,
  path: Path,
  detectsOutliers: boolean,
): void {
  const note = (at: Path, reason: string): void => world.verdicts.partly(rule, [...path, ...at], reason, true)
  const lb = blocks.loadBalancer
  if (lb?.consistentHash !== undefined && hashPolicyOf(lb.consistentHash) === null)
    note(['loadBalancer', 'consistentHash'], 'names nothing to hash: endpoints are drawn')
  for (const field of ['failover', 'failoverPriority'] as const) {
    const setting = lb?.localityLbSetting
    if (setting?.enabled !== false && (setting?.[field]?.length ?? 0) > 0 && !detectsOutliers)
      note(
        ['loadBalancer', 'localityLbSetting', field],
        'has no effect without `outlierDetection`: nothing finds out which endpoints fail',
      )
  }
  if (lb?.zoneAwareLbSetting !== undefined && lb.zoneAwareLbSetting.enabled !== false)
    note(['loadBalancer', 'zoneAwareLbSetting'], `${LATER}: endpoints get priorities as if the field were not there`)
  const mode = blocks.tls?.mode
  if (mode !== undefined && mode !== 'DISABLE')
    note(['tls'], `TLS to the destination (mode ${mode}) ${LATER}: traffic goes out in plain text`)
}

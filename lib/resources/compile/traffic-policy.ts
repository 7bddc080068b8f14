// The policy of one cluster: destination, port and subset level combined (Istio TrafficPolicy).
import type { Cluster, ClusterLimits, LoadBalancerPolicy, RetryBudget, SlowStart } from '../../state/cluster.ts'
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { OutlierDetection } from '../../state/outlier-detection.ts'
import type { ResourceObject } from '../resource-object.ts'
import type { ClientTlsSpec, ConnectionPoolSpec, PolicyBlocksSpec, TrafficPolicySpec } from '../schema/destination-rule.ts'
import { durationMs } from '../schema/fields.ts'
import { LOAD_BALANCER, LOAD_BALANCER_DECAY } from '../validate/balancer-annotations.ts'
import type { EffectiveRule, RuleSubset } from './destination-rules.ts'
import type { ConsistentHashSpec } from './hash-policies.ts'
import type { LocalitySpec } from './locality.ts'
import { outlierDetectionOf, panicThresholdOf } from './outlier-detection.ts'

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
  readonly proxyProtocol: Cluster['proxyProtocol']
  /** null: no rule says anything. */
  readonly tls: RuleTls | null
  readonly origin: Origin
}

export interface RuleTls {
  readonly spec: ClientTlsSpec
  readonly object: ResourceObject<'DestinationRule'>
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
  proxyProtocol: 'none',
  tls: null,
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
    proxyProtocol: proxyProtocolOf(rule.policy, subset?.spec.trafficPolicy),
    tls: blocks.tls === undefined ? null : ruleTls(blocks.tls, rule, subset),
    origin: subset === null ? rule.policyObject.origin() : subset.object.origin(['subsets', subset.index]),
  }
}

/** With the place where it stands: of the destination, of one of its ports, or of the subset. */
function ruleTls(spec: ClientTlsSpec, rule: EffectiveRule, subset: RuleSubset | null): RuleTls {
  const own = subset?.spec.trafficPolicy
  const fromSubset = subset !== null && [own, ...(own?.portLevelSettings ?? [])].some((p) => p?.tls === spec)
  const object = fromSubset ? subset.object : rule.policyObject
  const policy = fromSubset ? own : rule.policy
  const base = fromSubset ? ['subsets', subset.index, 'trafficPolicy'] : ['trafficPolicy']
  const port = (policy?.portLevelSettings ?? []).findIndex((p) => p.tls === spec)
  return { spec, object, origin: object.origin([...base, ...(port < 0 ? [] : ['portLevelSettings', port]), 'tls']) }
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

/** Settings of a port have none, and replace none. V1 is the default of the field. */
function proxyProtocolOf(policy: TrafficPolicySpec | undefined, subset: TrafficPolicySpec | undefined): Cluster['proxyProtocol'] {
  const asked = subset?.proxyProtocol ?? policy?.proxyProtocol
  return asked === undefined ? 'none' : asked.version === 'V2' ? 'v2' : 'v1'
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

// Which endpoint is next: lb_policy of a Cluster with its settings, or load_balancing_policy, and what CommonLbConfig says of panic and localities.
import type { LoadBalancerPolicy, SlowStart } from '../../state/cluster.ts'
import type { Cluster } from '../proto/cluster.ts'
import {
  ClusterProvided,
  LeastRequest,
  type LoadBalancingPolicy,
  type LocalityLbConfig,
  Maglev,
  Random,
  RingHash,
  RoundRobin,
  type SlowStartConfig,
  WrrLocality,
} from '../proto/load-balancing-policies.ts'
import { type Any, type Message, typeUrlOf } from '../proto/schema.ts'
import type { Findings } from './findings.ts'
import { SharedValues } from './shared-values.ts'

/** Envoy's defaults. */
const MINIMUM_RING_SIZE = 1024
const MAXIMUM_RING_SIZE = 8_388_608
const MAGLEV_TABLE_SIZE = 65_537
const PANIC_THRESHOLD = 50
const SLOW_START_PERCENT = 10

export interface LoadBalancing {
  readonly loadBalancer: LoadBalancerPolicy
  readonly slowStart: SlowStart | null
  /** Localities get what their weights say. */
  readonly weighsLocalities: boolean
  readonly panicThreshold: number
}

type Policy = Omit<LoadBalancing, 'panicThreshold'>

const policies = new SharedValues<LoadBalancerPolicy>()

export function translateLoadBalancer(cluster: Cluster, findings: Findings): LoadBalancing {
  const common = cluster.common_lb_config
  const policy = cluster.load_balancing_policy ?? null
  const byPolicy = policy === null ? null : firstKnown(policy, findings.at('load_balancing_policy'))
  const { weighsLocalities, ...rest } = byPolicy ?? byName(cluster, findings)
  const dialled = cluster.type === 'ORIGINAL_DST' || (cluster.cluster_type !== null && cluster.lb_policy === 'CLUSTER_PROVIDED')
  if (dialled !== (rest.loadBalancer.kind === 'PASSTHROUGH'))
    findings
      .at('lb_policy')
      .fault(`${dialled ? `${cluster.lb_policy} does not go` : 'CLUSTER_PROVIDED goes only'} with a cluster of type ORIGINAL_DST`)
  noteCommon(cluster, findings.at('common_lb_config'))
  const threshold = common?.healthy_panic_threshold ?? null
  return {
    loadBalancer: policies.of(rest.loadBalancer),
    slowStart: rest.slowStart,
    weighsLocalities: weighsLocalities || (common?.locality_weighted_lb_config ?? null) !== null,
    panicThreshold: threshold === null ? PANIC_THRESHOLD : threshold.value,
  }
}

function byName(cluster: Cluster, findings: Findings): Policy {
  const { lb_policy: name } = cluster
  const { ring_hash_lb_config: ring, maglev_lb_config: maglev } = cluster
  const plain = { slowStart: null, weighsLocalities: false }
  switch (name) {
    case 'ROUND_ROBIN': {
      const slowStart = slowStartOf(cluster.round_robin_lb_config?.slow_start_config ?? null)
      return { ...plain, loadBalancer: { kind: name }, slowStart }
    }
    case 'LEAST_REQUEST': {
      const config = cluster.least_request_lb_config
      const at = findings.at('least_request_lb_config')
      if ((config?.choice_count ?? 2) !== 2) at.at('choice_count').note('two endpoints are drawn for each request')
      if (config?.active_request_bias != null) at.at('active_request_bias').note('it is not carried out')
      return { ...plain, loadBalancer: { kind: name }, slowStart: slowStartOf(config?.slow_start_config ?? null) }
    }
    case 'RANDOM':
      return { ...plain, loadBalancer: { kind: name } }
    case 'RING_HASH':
      if (ring?.hash_function === 'MURMUR_HASH_2') noteHash(findings.at('ring_hash_lb_config'))
      return { ...plain, loadBalancer: ringOf(ring?.minimum_ring_size ?? null, ring?.maximum_ring_size ?? null) }
    case 'MAGLEV':
      return { ...plain, loadBalancer: { kind: name, tableSize: maglev?.table_size ?? MAGLEV_TABLE_SIZE } }
    case 'CLUSTER_PROVIDED':
      return { ...plain, loadBalancer: { kind: 'PASSTHROUGH' } }
    default:
      findings.at('lb_policy').fault(`${name} is not understood`)
      return { ...plain, loadBalancer: { kind: 'ROUND_ROBIN' } }
  }
}

function ringOf(minimum: number | null, maximum: number | null): LoadBalancerPolicy {
  const maximumRingSize = maximum ?? MAXIMUM_RING_SIZE
  return { kind: 'RING_HASH', minimumRingSize: Math.min(minimum ?? MINIMUM_RING_SIZE, maximumRingSize), maximumRingSize }
}

function noteHash(at: Findings): void {
  at.at('hash_function').note('XX_HASH is used: other proxies with MURMUR_HASH_2 choose other endpoints for the same key')
}

/** Envoy LoadBalancingPolicy: those that are not known are passed over. */
function firstKnown(policy: LoadBalancingPolicy, at: Findings): Policy | null {
  for (const [i, { typed_extension_config: extension }] of policy.policies.entries()) {
    const packed = extension?.typed_config ?? null
    const made = packed === null ? null : policyOf(packed, at.at('policies', i))
    if (made !== null) return made
  }
  const names = policy.policies.map((p) => p.typed_extension_config?.name ?? '').join(', ')
  at.fault(`none of its policies is understood: ${names}`)
  return null
}

/** null: it is of another type. */
function policyOf(packed: Any, at: Findings): Policy | null {
  const as = <T extends object>(of: Message<T>): T | null =>
    packed.typeUrl === typeUrlOf(of) ? (at.decode(packed.value, of) ?? of.empty) : null
  const roundRobin = as(RoundRobin)
  if (roundRobin !== null)
    return {
      loadBalancer: { kind: 'ROUND_ROBIN' },
      slowStart: slowStartOf(roundRobin.slow_start_config),
      weighsLocalities: weighs(roundRobin.locality_lb_config),
    }
  const least = as(LeastRequest)
  if (least !== null)
    return {
      loadBalancer: { kind: 'LEAST_REQUEST' },
      slowStart: slowStartOf(least.slow_start_config),
      weighsLocalities: weighs(least.locality_lb_config),
    }
  const random = as(Random)
  if (random !== null)
    return { loadBalancer: { kind: 'RANDOM' }, slowStart: null, weighsLocalities: weighs(random.locality_lb_config) }
  const ring = as(RingHash)
  if (ring !== null) {
    if (ring.hash_function === 'MURMUR_HASH_2') noteHash(at)
    const loadBalancer = ringOf(ring.minimum_ring_size, ring.maximum_ring_size)
    return { loadBalancer, slowStart: null, weighsLocalities: ring.locality_weighted_lb_config !== null }
  }
  const maglev = as(Maglev)
  if (maglev !== null)
    return {
      loadBalancer: { kind: 'MAGLEV', tableSize: maglev.table_size ?? MAGLEV_TABLE_SIZE },
      slowStart: null,
      weighsLocalities: maglev.locality_weighted_lb_config !== null,
    }
  const wrr = as(WrrLocality)
  if (wrr !== null) {
    const inner = wrr.endpoint_picking_policy === null ? null : firstKnown(wrr.endpoint_picking_policy, at)
    return inner === null ? null : { ...inner, weighsLocalities: true }
  }
  return as(ClusterProvided) === null ? null : { loadBalancer: { kind: 'PASSTHROUGH' }, slowStart: null, weighsLocalities: false }
}

function weighs(config: LocalityLbConfig | null): boolean {
  return (config?.locality_weighted_lb_config ?? null) !== null
}

function slowStartOf(config: SlowStartConfig | null): SlowStart | null {
  const window = config?.slow_start_window ?? null
  if (config === null || window === null || window === 0) return null
  return {
    windowMs: window,
    minimumPercent: config.min_weight_percent?.value ?? SLOW_START_PERCENT,
    aggression: config.aggression?.default_value ?? 1,
  }
}

/** What changes nobody's safety, and is not carried out. */
function noteCommon({ common_lb_config: common, lb_subset_config: subset }: Cluster, at: Findings): void {
  if (common?.zone_aware_lb_config != null) at.at('zone_aware_lb_config').note('endpoints of the own zone are not preferred')
  const hashing = common?.consistent_hashing_lb_config ?? null
  if (hashing?.use_hostname_for_hashing === true)
    at.at('consistent_hashing_lb_config').note('the address is hashed, not the host name')
  if ((hashing?.hash_balance_factor ?? 0) > 0)
    at.at('consistent_hashing_lb_config').note('hash_balance_factor is not carried out')
  if (subset !== null) at.at('lb_subset_config').note('subsets of endpoints by metadata are not told apart')
}

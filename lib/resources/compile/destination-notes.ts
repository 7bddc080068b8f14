// What a DestinationRule asks for and does not get: what is not carried out yet, and what has no effect as it is written.
import { FAILURE_PERCENTAGE_ANNOTATION, SUCCESS_RATE_ANNOTATION } from '../ejection-annotations.ts'
import type { Path } from '../finding.ts'
import type { ResourceObject } from '../resource-object.ts'
import type { OutlierDetectionSpec, PolicyBlocksSpec, TrafficPolicySpec } from '../schema/destination-rule.ts'
import { durationMs } from '../schema/fields.ts'
import { LOAD_BALANCER } from '../validate/balancer-annotations.ts'
import { hashPolicyOf } from './hash-policies.ts'
import { noteClientTls } from './tls-notes.ts'
import type { World } from './world.ts'

type DestinationRule = ResourceObject<'DestinationRule'>

const LATER = 'is not carried out yet'
/** Istio's default where the block is present. */
const CONSECUTIVE_5XX = 5

export function noteDestinationRule(world: World, rule: DestinationRule): void {
  const { trafficPolicy, subsets = [] } = rule.spec
  notePolicy(world, rule, trafficPolicy, ['trafficPolicy'])
  for (const [i, subset] of subsets.entries()) notePolicy(world, rule, subset.trafficPolicy, ['subsets', i, 'trafficPolicy'])
  noteAnnotations(world, rule)
}

/** Those whose values are fine and that meet nothing of the rule that they could change. */
function noteAnnotations(world: World, rule: DestinationRule): void {
  const { trafficPolicy, subsets = [] } = rule.spec
  const policies = [trafficPolicy, ...subsets.map((s) => s.trafficPolicy)].flatMap((p) => [p, ...(p?.portLevelSettings ?? [])])
  if (!policies.some((p) => p?.outlierDetection !== undefined)) {
    for (const name of [SUCCESS_RATE_ANNOTATION, FAILURE_PERCENTAGE_ANNOTATION])
      if (rule.annotations[name] !== undefined)
        world.verdicts.annotation(rule, name, 'has no effect: the rule has no outlierDetection')
  }
  const balancers = policies.flatMap((p) => (p?.loadBalancer === undefined ? [] : [p.loadBalancer]))
  const untouched = balancers.filter((lb) => lb.consistentHash !== undefined || lb.simple === 'PASSTHROUGH')
  if (rule.annotations[LOAD_BALANCER] !== undefined && untouched.length > 0)
    world.verdicts.annotation(rule, LOAD_BALANCER, 'has no effect on consistentHash and PASSTHROUGH, which the rule asks for')
}

function notePolicy(world: World, rule: DestinationRule, policy: TrafficPolicySpec | undefined, path: Path): void {
  if (policy === undefined) return
  const detects = (policy.outlierDetection ?? rule.spec.trafficPolicy?.outlierDetection) !== undefined
  noteBlocks(world, rule, policy, path, detects)
  for (const [i, port] of (policy.portLevelSettings ?? []).entries())
    noteBlocks(world, rule, port, [...path, 'portLevelSettings', i], port.outlierDetection !== undefined)
  if (policy.retryBudget?.budgetInterval !== undefined && durationMs(policy.retryBudget.budgetInterval) > 0)
    world.verdicts.partly(rule, [...path, 'retryBudget', 'budgetInterval'], `${LATER}: the requests of this moment count`, true)
}

function noteBlocks(world: World, rule: DestinationRule, blocks: PolicyBlocksSpec, path: Path, detectsOutliers: boolean): void {
  const note = (at: Path, reason: string): void => world.verdicts.partly(rule, [...path, ...at], reason, true)
  noteLoadBalancer(blocks, detectsOutliers, note)
  if (blocks.outlierDetection !== undefined) noteDetectors(blocks.outlierDetection, note)
  noteClientTls(world, rule, blocks.tls, [...path, 'tls'])
}

function noteLoadBalancer(
  { loadBalancer: lb }: PolicyBlocksSpec,
  detectsOutliers: boolean,
  note: (at: Path, reason: string) => void,
): void {
  if (lb === undefined) return
  if (lb.consistentHash !== undefined && hashPolicyOf(lb.consistentHash) === null)
    note(['loadBalancer', 'consistentHash'], 'names nothing to hash: endpoints are drawn')
  const setting = lb.localityLbSetting
  for (const field of ['failover', 'failoverPriority'] as const) {
    if (setting?.enabled !== false && (setting?.[field]?.length ?? 0) > 0 && !detectsOutliers)
      note(
        ['loadBalancer', 'localityLbSetting', field],
        'has no effect without `outlierDetection`: nothing finds out which endpoints fail',
      )
  }
  if (lb.zoneAwareLbSetting !== undefined && lb.zoneAwareLbSetting.enabled !== false)
    note(['loadBalancer', 'zoneAwareLbSetting'], `${LATER}: endpoints get priorities as if the field were not there`)
  const policy = lb.consistentHash === undefined ? lb.simple : 'consistentHash'
  for (const field of ['warmup', 'warmupDurationSecs'] as const) {
    if (lb[field] !== undefined && (policy === 'RANDOM' || policy === 'PASSTHROUGH' || policy === 'consistentHash'))
      note(['loadBalancer', field], `has no effect with ${policy}: only ROUND_ROBIN and LEAST_REQUEST warm endpoints up`)
  }
}

/** A run of gateway errors is one of 5xx too, unless both numbers are about other things. */
function noteDetectors(outlier: OutlierDetectionSpec, note: (at: Path, reason: string) => void): void {
  const all5xx = outlier.consecutive5xxErrors ?? CONSECUTIVE_5XX
  const gateway = outlier.consecutiveGatewayErrors ?? 0
  if (all5xx > 0 && gateway >= all5xx && (outlier.outlierDetectionHttpErrorCodes ?? []).length === 0)
    note(
      ['outlierDetection', 'consecutiveGatewayErrors'],
      `has no effect: consecutive5xxErrors, which is ${all5xx}, is reached first`,
    )
}

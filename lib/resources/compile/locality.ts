// Which priority and which locality weight each endpoint of a cluster gets, seen from the client (istiod ApplyLocalityLoadBalancer, Istio
// LocalityLoadBalancerSetting).
import type { Locality, LocalityWeight } from '../../state/cluster.ts'
import type { LoadBalancerSpec } from '../schema/destination-rule.ts'
import type { Backend } from './backends.ts'
import { HOSTNAME, NETWORK, parseLocality, REGION, SUBZONE, ZONE } from './topology.ts'

export type LocalitySpec = NonNullable<LoadBalancerSpec['localityLbSetting']>

/** The client, with the labels of its place among its own. */
export interface ClientPlace {
  readonly locality: Locality
  readonly labels: Readonly<Record<string, string>>
}

/** Of a Service: what its trafficDistribution, or the annotation for it, asks for. */
export type TrafficDistribution = 'any' | 'zone' | 'node'

export function trafficDistributionOf(
  spec: string | undefined,
  annotations: Readonly<Record<string, string>>,
): TrafficDistribution {
  // The annotation does not care about case; a field that says anything hides it.
  const value = spec ?? annotations['networking.istio.io/traffic-distribution'] ?? ''
  switch (value.toLowerCase()) {
    case 'preferclose':
    case 'prefersamezone':
      return 'zone'
    case 'prefersamenode':
      return 'node'
    default:
      return 'any'
  }
}

/** A setting in force. */
export interface LocalityRules {
  readonly setting: LocalitySpec
  /** Priorities are given even where nothing finds out which endpoints fail. */
  readonly forced: boolean
}

/** null: localities are not told apart. A rule beats the Service, and the Service the mesh. */
export function localityRules(
  setting: LocalitySpec | undefined,
  distribution: TrafficDistribution,
  mesh: 'on' | 'off',
): LocalityRules | null {
  if (setting !== undefined) return setting.enabled === false ? null : { setting, forced: false }
  if (distribution === 'zone') return { setting: { failoverPriority: [NETWORK, REGION, ZONE] }, forced: true }
  if (distribution === 'node') return { setting: { failoverPriority: [NETWORK, REGION, ZONE, SUBZONE, HOSTNAME] }, forced: true }
  return mesh === 'on' ? { setting: {}, forced: false } : null
}

export interface PlacedBackend {
  readonly backend: Backend
  readonly priority: number
}

export interface Placement {
  readonly placed: readonly PlacedBackend[]
  readonly weights: readonly LocalityWeight[] | null
}

/** `detectsOutliers`: the cluster has outlierDetection. Without it nothing ever fails over, so no priorities are given. */
export function place(
  rules: LocalityRules | null,
  client: ClientPlace,
  backends: readonly Backend[],
  detectsOutliers: boolean,
): Placement {
  const plain = backends.map((backend) => ({ backend, priority: 0 }))
  if (rules === null) return { placed: plain, weights: null }
  const { distribute = [], failover = [], failoverPriority = [] } = rules.setting
  if (distribute.length > 0) return distributed(distribute, client, plain)
  if (!rules.forced && !detectsOutliers) return { placed: plain, weights: null }
  let placed: readonly PlacedBackend[] = plain
  if (failoverPriority.length > 0) placed = compacted(byLabels(placed, client, failoverPriority))
  if (failoverPriority.length === 0 || failover.length > 0) placed = compacted(byRegion(placed, client, failover))
  // istiod tells Envoy to weigh localities only where somebody has configured them; the mesh's default gives priorities alone.
  const weighted = failover.length > 0 || failoverPriority.length > 0
  return { placed, weights: weighted ? weightsOf(placed) : null }
}

function distributed(
  distribute: NonNullable<LocalitySpec['distribute']>,
  client: ClientPlace,
  all: readonly PlacedBackend[],
): Placement {
  const plain = weightsOf(all)
  const rule = distribute.find((d) => covers(d.from ?? '', client.locality))
  if (rule === undefined) return { placed: all, weights: plain }
  const weights: LocalityWeight[] = []
  let left = plain
  for (const [pattern, share] of Object.entries(rule.to ?? {})) {
    const own = left.filter((w) => covers(pattern, w.locality))
    left = left.filter((w) => !own.includes(w))
    const sum = own.reduce((n, w) => n + w.weight, 0)
    weights.push(...own.map((w) => ({ ...w, weight: Math.ceil((w.weight * share) / sum) })))
  }
  const kept = new Set(weights.map((w) => keyOf(w.locality)))
  return { placed: all.filter(({ backend }) => kept.has(keyOf(backend.locality))), weights }
}

/** `region`, `region/zone`, `region/zone/subzone`; `*` and what is missing fit anything. */
function covers(pattern: string, locality: Locality): boolean {
  const { region, zone, subzone } = parseLocality(pattern)
  return (
    (region === '*' || region === locality.region) &&
    (zone === '*' || zone === '' || zone === locality.zone) &&
    (subzone === '*' || subzone === '' || subzone === locality.subzone)
  )
}

/** N labels in order: the first one that differs, at j, gives N − j; none 0. `key=value` compares with the value, not with the client. */
function byLabels(all: readonly PlacedBackend[], client: ClientPlace, labels: readonly string[]): PlacedBackend[] {
  if (Object.keys(client.labels).length === 0) return [...all]
  const wanted = labels.map((label) => {
    const [key = '', value, more] = label.split('=')
    return { key, value: value === undefined || more !== undefined ? (client.labels[key] ?? '') : value }
  })
  return all.map(({ backend }) => {
    const at = wanted.findIndex(({ key, value }) => (backend.labels[key] ?? '') !== value)
    return { backend, priority: at < 0 ? 0 : labels.length - at }
  })
}

/** Same subzone 0, zone 1, region 2, else 3; 4 when `failover` names another region than this for the client's. Below the priority so far. */
function byRegion(
  all: readonly PlacedBackend[],
  client: ClientPlace,
  failover: NonNullable<LocalitySpec['failover']>,
): PlacedBackend[] {
  const rule = failover.find((f) => (f.from ?? '') === client.locality.region)
  return all.map(({ backend, priority }) => {
    let distance = distanceTo(client.locality, backend.locality)
    if (distance === 3 && rule !== undefined && backend.locality.region !== (rule.to ?? '')) distance = 4
    return { backend, priority: priority * 5 + distance }
  })
}

function distanceTo(from: Locality, to: Locality): number {
  if (from.region !== to.region) return 3
  if (from.zone !== to.zone) return 2
  return from.subzone === to.subzone ? 0 : 1
}

/** From 0 without gaps. */
function compacted(all: readonly PlacedBackend[]): PlacedBackend[] {
  const used = [...new Set(all.map((p) => p.priority))].sort((a, b) => a - b)
  return all.map(({ backend, priority }) => ({ backend, priority: used.indexOf(priority) }))
}

/** One entry for each locality and priority, as heavy as its endpoints together; in the order of priorities and names. */
function weightsOf(all: readonly PlacedBackend[]): LocalityWeight[] {
  const found = new Map<string, { locality: Locality; priority: number; weight: number }>()
  for (const { backend, priority } of all) {
    const key = `${priority} ${keyOf(backend.locality)}`
    const entry = found.get(key) ?? { locality: backend.locality, priority, weight: 0 }
    entry.weight += backend.weight
    found.set(key, entry)
  }
  const name = (w: LocalityWeight): string => keyOf(w.locality)
  return [...found.values()].sort((a, b) => a.priority - b.priority || (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0))
}

function keyOf({ region, zone, subzone }: Locality): string {
  return `${region}/${zone}/${subzone}`
}

// What stands above a policy: which hosts are well, which priority, which locality. Clear lane: it runs when hosts, weights or health change;
// the pickers that it publishes are in layer-pickers.ts.
import { balancesByHash, type Cluster, type Locality } from '../../state/cluster.ts'
import { createBalancer } from './create.ts'
import type { Host } from './host.ts'
import { LocalityPicker, PriorityPicker } from './layer-pickers.ts'
import { type DialledHosts, NO_DIALLED_HOSTS } from './passthrough.ts'
import { type Balancer, EMPTY_PICKER, type Picker } from './picker.ts'
import { type Level, localityFactor, type PriorityLoads, priorityLoads } from './priority-load.ts'

export interface LayerLocality extends Level {
  /** In the cluster's `localityWeights`. */
  readonly index: number
  /** Of the configuration. */
  readonly configured: number
  /** The same, less what its unhealthy hosts cannot take; 0: gets nothing. */
  readonly weight: number
}

/** What the picker in force was made from, for `explain`. */
export interface Layers {
  /** By priority. */
  readonly levels: readonly Level[]
  readonly loads: PriorityLoads
  /** By priority; null: localities are not told apart there. */
  readonly localities: readonly (readonly LayerLocality[] | null)[]
  /** By index in the cluster's `localityWeights`: hundredths of a percent of what its priority gets. */
  readonly shares: readonly number[]
}

export interface Published {
  readonly picker: Picker
  /** null: one priority without localities and panic, so that `picker` is the policy's own. */
  readonly layers: Layers | null
}

/** One cluster's, as long as its policy stays the same. */
export class LayeredBalancer {
  readonly #policy: string
  readonly #make: () => Balancer
  /** A hash must find the same host again, so it chooses the priority too, and localities become weights of one ring (Envoy). */
  readonly #byHash: boolean
  /** By priority and locality, kept so that a ring can be made of the one before. */
  #balancers: Map<string, Balancer>
  #before: Map<string, Balancer>

  constructor(config: Cluster, dialled: DialledHosts = NO_DIALLED_HOSTS) {
    const { loadBalancer, slowStart } = config
    this.#policy = policyText(config)
    this.#make = () => createBalancer(loadBalancer, slowStart, dialled)
    this.#byHash = balancesByHash(loadBalancer)
    this.#balancers = new Map()
    this.#before = new Map()
  }

  /** Whether it can go on with this configuration. */
  serves(config: Cluster): boolean {
    return this.#policy === policyText(config)
  }

  update(config: Cluster, hosts: readonly Host[], nowMs: number): Published {
    this.#before = this.#balancers
    this.#balancers = new Map()
    if (hosts.length === 0) return { picker: this.#balancer('0').update(hosts, nowMs, null), layers: null }
    placeInLocalities(config, hosts)
    const groups = groupByPriority(hosts)
    const levels = groups.map(levelOf)
    const loads = priorityLoads(levels, config.panicThreshold)
    if (groups.length === 1 && config.localityWeights === null && loads.panic[0] === false) {
      return { picker: this.#balancer('0').update(availableOf(hosts), nowMs, null), layers: null }
    }
    const localities = groups.map((group, priority) => localitiesOf(config, group, priority))
    const pickers = groups.map((group, priority) => {
      const panic = loads.panic[priority] === true
      const own = localities[priority] ?? null
      if (this.#byHash && own !== null) return this.#oneRing(panic ? group : availableOf(group), own, priority, nowMs)
      return panic ? this.#flat(group, priority, nowMs) : this.#pickerOf(availableOf(group), priority, own, nowMs)
    })
    const picker =
      pickers.length === 1 ? (pickers[0] as Picker) : new PriorityPicker(pickers, loads.loads, loads.health, this.#byHash)
    return { picker, layers: { levels, loads, localities, shares: sharesOf(config, localities) } }
  }

  #flat(usable: readonly Host[], priority: number, nowMs: number): Picker {
    return usable.length === 0 ? EMPTY_PICKER : this.#balancer(`${priority}`).update(usable, nowMs, null)
  }

  #pickerOf(usable: readonly Host[], priority: number, localities: readonly LayerLocality[] | null, nowMs: number): Picker {
    const weighted = (localities ?? []).filter((l) => l.weight > 0)
    // Where no locality has a weight, they are not told apart (Envoy hostSourceToUse).
    if (weighted.length === 0) return this.#flat(usable, priority, nowMs)
    const groups = weighted.map(({ index }) => inLocality(usable, index))
    const pickers = groups.map((group, i) => {
      const { index } = weighted[i] as LayerLocality
      return this.#balancer(`${priority} ${index}`).update(group, nowMs, null)
    })
    if (pickers.length === 1) return pickers[0] as Picker
    return new LocalityPicker(
      pickers,
      weighted.map((l) => l.weight),
      nowMs,
    )
  }

  /**
   * Each host has its part of its locality, times the locality's part of all. Over-provisioning plays no part, panic leaves localities their
   * weights, and the part of a locality without hosts is not given to others (Envoy normalizeLocalityWeights).
   */
  #oneRing(usable: readonly Host[], localities: readonly LayerLocality[], priority: number, nowMs: number): Picker {
    const all = localities.reduce((n, l) => n + l.configured, 0)
    if (all === 0) return this.#flat(usable, priority, nowMs)
    const groups = localities
      .filter((l) => l.configured > 0)
      .map((l) => ({ hosts: inLocality(usable, l.index), part: l.configured / all }))
    const weights = groups.flatMap(({ hosts, part }) => {
      const sum = hosts.reduce((n, host) => n + host.weight, 0)
      return hosts.map((host) => (host.weight * part) / sum)
    })
    return this.#balancer(`${priority}`).update(
      groups.flatMap((g) => g.hosts),
      nowMs,
      weights,
    )
  }

  #balancer(key: string): Balancer {
    const balancer = this.#balancers.get(key) ?? this.#before.get(key) ?? this.#make()
    this.#balancers.set(key, balancer)
    return balancer
  }
}

function policyText({ loadBalancer, slowStart }: Cluster): string {
  return JSON.stringify([loadBalancer, slowStart])
}

/** At least one; a priority that nobody has is empty. */
function groupByPriority(hosts: readonly Host[]): readonly (readonly Host[])[] {
  const last = hosts.reduce((max, host) => Math.max(max, host.endpoint.priority), 0)
  if (last === 0) return [hosts]
  const groups: Host[][] = Array.from({ length: last + 1 }, () => [])
  for (const host of hosts) groups[host.endpoint.priority]?.push(host)
  return groups
}

function localitiesOf(config: Cluster, group: readonly Host[], priority: number): readonly LayerLocality[] | null {
  if (config.localityWeights === null) return null
  return config.localityWeights.flatMap((w, index) => {
    if (w.priority !== priority) return []
    const level = levelOf(inLocality(group, index))
    return [{ ...level, index, configured: w.weight, weight: w.weight * localityFactor(level) }]
  })
}

function placeInLocalities({ localityWeights }: Cluster, hosts: readonly Host[]): void {
  const key = (locality: Locality, priority: number): string => `${priority} ${localityName(locality)}`
  const index = new Map((localityWeights ?? []).map((w, i) => [key(w.locality, w.priority), i]))
  for (const host of hosts) {
    host.locality = localityWeights === null ? -1 : (index.get(key(host.endpoint.locality, host.endpoint.priority)) ?? -1)
  }
}

function sharesOf(config: Cluster, localities: readonly (readonly LayerLocality[] | null)[]): readonly number[] {
  return (config.localityWeights ?? []).map(({ priority }, index) => {
    const all = localities[priority] ?? []
    const sum = all.reduce((n, l) => n + l.weight, 0)
    const own = all.find((l) => l.index === index)?.weight ?? 0
    return sum === 0 ? 0 : Math.round((10_000 * own) / sum)
  })
}

function inLocality(hosts: readonly Host[], index: number): readonly Host[] {
  return hosts.filter((host) => host.locality === index)
}

export function localityName({ region, zone, subzone }: Locality): string {
  return `${region}/${zone}/${subzone}`
}

function levelOf(hosts: readonly Host[]): Level {
  return { healthy: hosts.reduce((n, host) => n + (host.available ? 1 : 0), 0), total: hosts.length }
}

function availableOf(hosts: readonly Host[]): readonly Host[] {
  return hosts.every((host) => host.available) ? hosts : hosts.filter((host) => host.available)
}

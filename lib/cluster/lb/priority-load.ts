// How load is shared among priorities (Envoy priority levels, over-provisioning factor 140): arithmetic on whole percents, as Envoy does it.

/** Of one priority. */
export interface Level {
  readonly healthy: number
  readonly total: number
}

export interface PriorityLoads {
  /** By priority, 0–100. */
  readonly health: readonly number[]
  /** By priority: uses all of its hosts, well or not. */
  readonly panic: readonly boolean[]
  /** By priority, percent; together 100. */
  readonly loads: readonly number[]
}

/** Percent. 72 % of the hosts of a priority are enough for all of its load. */
const OVERPROVISIONING = 140

export function healthOf({ healthy, total }: Level): number {
  return total === 0 ? 0 : Math.min(100, Math.floor((OVERPROVISIONING * healthy) / total))
}

/** Factor for the weight of a locality of which not all hosts are well. */
export function localityFactor({ healthy, total }: Level): number {
  return total === 0 ? 0 : Math.min(1, (OVERPROVISIONING / 100) * (healthy / total))
}

/** `levels`: by priority, at least one. `panicThreshold`: percent, 0: never. */
export function priorityLoads(levels: readonly Level[], panicThreshold: number): PriorityLoads {
  const health = levels.map(healthOf)
  const sum = Math.min(
    100,
    health.reduce((a, b) => a + b, 0),
  )
  const panic = levels.map((level) => sum < 100 && healthyPercent(level) < panicThreshold)
  if (panic.every((p) => p)) return { health, panic, loads: loadsByHosts(levels) }
  return { health, panic, loads: sum === 0 ? levels.map((_, i) => (i === 0 ? 100 : 0)) : share(health, sum) }
}

/** The loads without some priorities, a bit each in `avoided`; null when none of the others has a host that is well. */
export function loadsWithout(health: readonly number[], avoided: number): readonly number[] | null {
  const kept = health.map((h, i) => (i < 31 && (avoided & (1 << i)) !== 0 ? 0 : h))
  const sum = Math.min(
    100,
    kept.reduce((a, b) => a + b, 0),
  )
  return sum === 0 ? null : share(kept, sum)
}

function healthyPercent({ healthy, total }: Level): number {
  return total === 0 ? 0 : (100 * healthy) / total
}

/** Each takes what its health allows of what those before it left, scaled up when there is too little; the first takes what rounding left. */
function share(health: readonly number[], sum: number): number[] {
  let left = 100
  const loads = health.map((h) => {
    const load = Math.min(left, Math.floor((h * 100) / sum))
    left -= load
    return load
  })
  const first = health.findIndex((h) => h > 0)
  loads[first] = (loads[first] as number) + left
  return loads
}

function loadsByHosts(levels: readonly Level[]): number[] {
  const all = levels.reduce((n, level) => n + level.total, 0)
  if (all === 0) return levels.map((_, i) => (i === 0 ? 100 : 0))
  const loads = levels.map((level) => Math.floor((100 * level.total) / all))
  const first = levels.findIndex((level) => level.total > 0)
  loads[first] = (loads[first] as number) + 100 - loads.reduce((a, b) => a + b, 0)
  return loads
}

// Envoy slow start (Istio warmup): the share of a host grows from `minimumPercent` to all of it while it is young.
import type { SlowStart } from '../../state/cluster.ts'
import type { Host } from './host.ts'

/** Share of its weight that a host of this age has; 1 from the end of the window on. */
export function warmth(slowStart: SlowStart, ageMs: number): number {
  if (ageMs >= slowStart.windowMs) return 1
  const part = Math.max(1, ageMs) / slowStart.windowMs
  const grown = slowStart.aggression === 1 ? part : part ** (1 / slowStart.aggression)
  return Math.max(slowStart.minimumPercent / 100, grown)
}

/**
 * When the youngest of the hosts will be warm, monotonic ms; 0 when all are. Hosts of a new cluster are as young as those
 * that join later (Envoy): they warm together, so their shares stay equal.
 */
export function warmAtMs(slowStart: SlowStart | null, hosts: readonly Host[], nowMs: number): number {
  if (slowStart === null) return 0
  let at = 0
  for (const host of hosts) if (host.available) at = Math.max(at, host.availableSinceMs + slowStart.windowMs)
  return at > nowMs ? at : 0
}

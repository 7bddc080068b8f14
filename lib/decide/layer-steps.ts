// Hot lane: runs for each pick from a cluster with several priorities, weighted localities or panic.
import type { Host } from '../cluster/lb/host.ts'
import type { Layers } from '../cluster/lb/layers.ts'
import { LOCALITY, PRIORITY, PRIORITY_AVOIDED, PRIORITY_CHOSEN, PRIORITY_PANIC, PRIORITY_STEP, type StepRing } from './steps.ts'

/** Why `host` is of its priority and locality. `avoided`: priorities that this pick avoided, a bit each. */
export function addLayerSteps(layers: Layers, host: Host, avoided: number, steps: StepRing): void {
  const chosen = host.endpoint.priority
  const { levels, loads } = layers
  for (let priority = 0; priority <= chosen && priority < levels.length; priority++) {
    const level = levels[priority]
    if (level === undefined) continue
    let a = priority * PRIORITY_STEP + (loads.loads[priority] as number)
    if (priority === chosen) a += PRIORITY_CHOSEN
    if (loads.panic[priority] === true) a += PRIORITY_PANIC
    if ((avoided & (1 << priority)) !== 0) a += PRIORITY_AVOIDED
    steps.add(PRIORITY, a, (level.healthy << 16) | Math.min(level.total, 0xffff))
  }
  if (host.locality >= 0 && loads.panic[chosen] === false) steps.add(LOCALITY, host.locality, layers.shares[host.locality] ?? 0)
}

// What heddle does otherwise than Envoy when both are fed the same resources, each with its reason.
import { DIFFERS, type Difference } from './differs.ts'
import { moved, type Outcome } from './recording.ts'

/** Their replays have upstreams at addresses of their own. */
export const DIFFERS_FED: readonly Difference[] = DIFFERS.filter((d) => d.fed).map((d) => ({
  ...d,
  instead: JSON.parse(moved(JSON.stringify(d.instead))) as Partial<Outcome>,
}))

// What heddle does otherwise than Envoy when both are fed the same resources, each with its reason.
import { DIFFERS, type Difference } from './differs.ts'
import { moved, type Outcome } from './recording.ts'

const ALONE: readonly Difference[] = [
  {
    cases: /^cases\/(gateway: http10|inbound: http10 in)$/,
    reason: 'the access log has the version that the client spoke',
    instead: {},
    ignore: ['log'],
    also: (found) => found.log?.logged === 426 && found.log.protocol === 'HTTP/1.0',
  },
]

/** Their replays have upstreams at addresses of their own. */
export const DIFFERS_FED: readonly Difference[] = [...DIFFERS.filter((d) => d.fed), ...ALONE].map((d) => ({
  ...d,
  instead: JSON.parse(moved(JSON.stringify(d.instead))) as Partial<Outcome>,
}))

// What `heddle` ends with. Scripts rely on these; `heddle help` lists them.
import { EXIT_INTERRUPTED } from '../server/signals.ts'

export const EXIT_OK = 0
export const EXIT_FINDINGS = 1
export const EXIT_USAGE = 2
export const EXIT_CONFIG = 3
export const EXIT_START = 4
export { EXIT_INTERRUPTED }
export const EXIT_BUG = 70
/** As istio-iptables ends: Istio's repair controller looks for it. */
export const EXIT_NOT_CAPTURED = 126

export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT_OK, 'all went well'],
  [
    EXIT_FINDINGS,
    'there is something to say: check found a refused object, xds status a control plane that is away, explain knows no such request, other rules are in the way of iptables',
  ],
  [EXIT_USAGE, 'the command line is wrong'],
  [EXIT_CONFIG, 'heddle.yaml or a resource file is wrong'],
  [
    EXIT_START,
    'a port or a worker could not be had, no running proxy answered, rules could not be changed, or a file could not be written',
  ],
  [EXIT_INTERRUPTED, 'a second signal ended the drain'],
  [EXIT_BUG, 'a bug of heddle'],
  [EXIT_NOT_CAPTURED, 'iptables --run-validation: connections are not captured'],
]

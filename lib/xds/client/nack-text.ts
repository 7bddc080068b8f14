// The text of a NACK: what operators read in the control plane's log and in `istioctl proxy-status`.
import { GRPC } from '../../grpc/grpc-error.ts'
import type { Status } from '../proto/core.ts'
import type { ResourceFault } from './resource-update.ts'

/** Servers of grpc-go take requests of 4 MiB; nobody reads so much. */
const MAX_TEXT_BYTES = 256 * 1024

/** `name: reason; name: reason`, as ztunnel writes it. Several faults of a resource stand together, in the order in which they were found. */
export function nackText(faults: readonly ResourceFault[]): string {
  const byName = new Map<string, string[]>()
  for (const { name, reason } of faults) {
    const reasons = byName.get(name)
    if (reasons === undefined) byName.set(name, [reason])
    else if (!reasons.includes(reason)) reasons.push(reason)
  }
  let text = ''
  let told = 0
  for (const [name, reasons] of byName) {
    const part = name === '' ? reasons.join(', ') : `${name}: ${reasons.join(', ')}`
    if (told > 0 && text.length + part.length > MAX_TEXT_BYTES) return `${text}; and ${byName.size - told} more`
    text += told === 0 ? part.slice(0, MAX_TEXT_BYTES) : `; ${part}`
    told++
  }
  return text
}

export function nackStatus(faults: readonly ResourceFault[]): Status {
  return { code: GRPC.INVALID_ARGUMENT, message: nackText(faults), details: [] }
}

/** null: it is well. Istio's agent has this code for whatever is wrong. */
export function healthStatus(problem: string | null): Status | null {
  return problem === null ? null : { code: GRPC.INTERNAL, message: problem, details: [] }
}

// Hot lane: `traceparent` (W3C Trace Context §3.2) of a CONNECT: both ends of a tunnel log one id. Nothing is sampled here.
import type { Rng } from '../base/rng.ts'

const FORM = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:$|-)/
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)

export function traceparentOf(traceId: string, rng: Rng): string {
  // A span is never all zero.
  const span = `${hex8(rng.uint32())}${hex8(rng.uint32() | 1)}`
  return `00-${traceId}-${span}-00`
}

/** Empty: it says none, or not properly. */
export function traceIdOf(traceparent: string | null): string {
  if (traceparent === null || traceparent.startsWith('ff')) return ''
  const [, trace = '', span = ''] = FORM.exec(traceparent) ?? []
  return trace === NO_TRACE || span === NO_SPAN ? '' : trace
}

function hex8(n: number): string {
  return (n >>> 0).toString(16).padStart(8, '0')
}

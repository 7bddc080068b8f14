// What ended a copy, in ztunnel's words.
import type { Splice, SpliceSide } from '../transport/splice.ts'

/** `server`: the side of the destination. */
export function spliceError({ reason, failed }: Splice, server: SpliceSide): string {
  if (failed === null) return `connection closed: ${reason}`
  // The other way, bytes were still to come or to go.
  const who = failed === server ? 'destination' : 'client'
  return `io error: ${reason} (${who} disconnected before all data was written)`
}

import { pause } from './eventually.ts'
import type { Wire } from './wire.ts'

/** Without progress for this long, the other side has stopped reading. */
const STALL_MS = 400

/**
 * Writes `piece` again and again until the other side takes no more, or `max` bytes have gone. Returns the bytes that were taken: by the kernels
 * and by whoever stands behind them. A machine that is slow makes it return early, never late.
 */
export async function flood(wire: Wire, piece: Uint8Array, max: number): Promise<number> {
  let taken = 0
  while (taken < max) {
    const written = await Promise.race([wire.write(piece).then(() => true), pause(STALL_MS).then(() => false)])
    if (!written) return taken
    taken += piece.length
  }
  return taken
}

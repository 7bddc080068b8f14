import { pause } from './eventually.ts'

/** A connection, a client or an exchange. */
interface Writer {
  write(bytes: Uint8Array): Promise<void>
}

/** Without progress for this long, the other side has stopped reading. */
const STALL_MS = 400

/**
 * Writes `piece` again and again until the other side takes no more, or `max` bytes have gone. Returns the bytes that were taken: by the kernels
 * and by whoever stands behind them. A machine that is slow makes it return early, never late.
 */
export async function flood(to: Writer, piece: Uint8Array, max: number): Promise<number> {
  let taken = 0
  while (taken < max) {
    const written = await Promise.race([to.write(piece).then(() => true), pause(STALL_MS).then(() => false)])
    if (!written) return taken
    taken += piece.length
  }
  return taken
}

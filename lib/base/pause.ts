// Waiting for time to pass, in a form that a test can replace.
import { setTimeout as timer } from 'node:timers/promises'

/** Resolves after `ms`, or rejects when `signal` is aborted before. */
export type Pause = (ms: number, signal: AbortSignal) => Promise<void>

/** By the clock; keeps no process alive. */
export const pauseByClock: Pause = async (ms, signal) => {
  await timer(ms, undefined, { signal, ref: false })
}

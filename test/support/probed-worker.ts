// The real worker, with two abilities that only a test needs: it can be made to die, and it says what it holds. Both are asked for over
// a channel of their own, so that the worker knows nothing of them.
import { BroadcastChannel, workerData } from 'node:worker_threads'
import { holdings } from './holdings.ts'
import { sharedCells } from './shared-cells.ts'

/** Name of the channel. */
export const PROBE_CHANNEL = 'heddle-test-probe'

export interface ProbeQuestion {
  /** Which worker; it has the index of the one that it replaced. */
  readonly index: number
  /** `crash`: an exception that nobody catches, as a bug of ours outside of every boundary would be. */
  readonly what: 'crash' | 'measure'
}

const { index, bootstrap, shared, sharedHosts } = workerData as {
  readonly index: number
  readonly bootstrap: { readonly concurrency: number }
  readonly shared: SharedArrayBuffer
  readonly sharedHosts: SharedArrayBuffer
}
const channel = new BroadcastChannel(PROBE_CHANNEL)
channel.onmessage = (event) => {
  const question = (event as { data: Partial<ProbeQuestion> }).data
  if (question.index !== index) return
  if (question.what === 'measure') channel.postMessage(holdings(index, sharedCells(shared, sharedHosts, bootstrap.concurrency)))
  if (question.what !== 'crash') return
  setImmediate(() => {
    throw new Error('the test makes this worker die')
  })
}
channel.unref()

// Last: once the worker says that it serves, it can be asked.
await import('../../lib/server/worker.ts')

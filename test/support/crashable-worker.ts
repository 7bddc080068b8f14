// The real worker, with a way to make it die: an exception that nobody catches, as a bug of ours outside of every boundary would be.
import { BroadcastChannel, workerData } from 'node:worker_threads'
import '../../lib/server/worker.ts'

/** The index of the worker that is to die is posted to this channel. */
export const CRASH_CHANNEL = 'heddle-test-crash'

const channel = new BroadcastChannel(CRASH_CHANNEL)
channel.onmessage = (event) => {
  if ((event as { data: unknown }).data !== (workerData as { index: number }).index) return
  setImmediate(() => {
    throw new Error('the test makes this worker die')
  })
}
channel.unref()

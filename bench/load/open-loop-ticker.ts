// A worker that says `now` at a fixed rate. Timers of the event loop are whole milliseconds and drift; a wait on a futex
// is exact to some tens of microseconds, and costs nothing while it waits, where polling would take the upstream's core.
import { parentPort, workerData } from 'node:worker_threads'

const { intervalMs } = workerData as { readonly intervalMs: number }
const never = new Int32Array(new SharedArrayBuffer(4))

for (let next = performance.now() + intervalMs; ; next += intervalMs) {
  const waitMs = next - performance.now()
  if (waitMs > 0) Atomics.wait(never, 0, 0, waitMs)
  parentPort?.postMessage(0)
}

// What a thread holds: memory after a full collection, and handles.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

export interface Holdings {
  readonly index: number
  /** Bytes in use after a full collection. */
  readonly heapBytes: number
  /** Handles and requests that keep the event loop busy, by kind. */
  readonly resources: Readonly<Record<string, number>>
  /** Cells that all workers share and that are not 0: requests and connections of hosts, counts of circuit breakers. */
  readonly shared: readonly string[]
}

/** Of the thread that calls it. */
export function holdings(index: number, shared: readonly string[] = []): Holdings {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let i = 0; i < 3; i++) collect()
  const resources: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1
  return { index, heapBytes: process.memoryUsage().heapUsed, resources, shared }
}

// Which core the proxy gets and which core everything else gets.
import { readFileSync } from 'node:fs'

export interface Cores {
  /** Core of the proxy, and core of load generator and upstream; null: not pinned. */
  readonly proxy: number | null
  readonly load: number | null
  /** Said to the reader when the arrangement is not the intended one, else empty. */
  readonly warning: string
}

/** Chooses two of the cores this process may run on. `hasTaskset`: util-linux taskset is installed. */
export function chooseCores(allowed: readonly number[], hasTaskset: boolean): Cores {
  const [load, proxy] = allowed
  if (load === undefined || proxy === undefined) {
    return {
      proxy: null,
      load: null,
      warning:
        'This process may use one core only: proxy, load generator and upstream share it. CPU time per request still means something, rates and latencies do not.',
    }
  }
  if (!hasTaskset) {
    return {
      proxy: null,
      load: null,
      warning: 'taskset is not installed (apt-get install util-linux): nothing is pinned to a core.',
    }
  }
  return { proxy, load, warning: '' }
}

/** Cores this process may run on, from /proc/self/status; proc(5) Cpus_allowed_list, such as `0-1,4`. */
export function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'
  const cores: number[] = []
  for (const range of list.split(',')) {
    const [first, last] = range.split('-').map(Number)
    for (let core = first ?? 0; core <= (last ?? first ?? 0); core++) cores.push(core)
  }
  return cores
}

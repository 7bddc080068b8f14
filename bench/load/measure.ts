// One measured window of one target under one load.
import type { Cores } from './cores.ts'
import { coreBusySeconds, cpuSeconds, residentBytes } from './cpu-time.ts'
import type { Load, LoadJob, LoadResult } from './load.ts'
import type { Options } from './options.ts'
import type { Scenario } from './scenario.ts'
import type { Target } from './target.ts'

export interface Sample extends LoadResult {
  /** Microseconds of CPU time of the proxy per answered request; null for `direct`. */
  readonly cpuMicros: number | null
  /** CPU time of the proxy over wall time. */
  readonly cpuCores: number | null
  readonly residentBytes: number
  /** Share of the proxy's core that others took in the window, 0-1; null where nothing is pinned. */
  readonly foreign: number | null
  /** Why this row does not count; empty when it does. */
  readonly failure: string
}

export async function measure(target: Target, load: Load, scenario: Scenario, cores: Cores, options: Options): Promise<Sample> {
  const pid = target.child?.pid ?? null
  const core = cores.proxy
  let cpu = 0
  let busy = 0
  let wallMs = 0
  const read = (sign: number): void => {
    cpu += sign * (pid === null ? 0 : cpuSeconds(pid))
    busy += sign * (core === null ? 0 : coreBusySeconds(core))
    wallMs += sign * performance.now()
  }
  const job = jobFor(scenario, target.port, cores, options)
  const result = await load.run(job, { open: () => read(-1), close: () => read(1) })
  const alive = target.child === null || !target.child.hasExited()
  return {
    ...result,
    cpuMicros: pid === null ? null : (cpu * 1e6) / Math.max(1, result.requests),
    cpuCores: pid === null ? null : (cpu * 1000) / wallMs,
    residentBytes: pid === null ? 0 : residentBytes(pid),
    foreign: core === null ? null : Math.max(0, ((busy - cpu) * 1000) / wallMs),
    failure: failureOf(result, alive ? '' : `the process ended: ${target.child?.tail()}`),
  }
}

/** What a load generator is asked for. */
export function jobFor(scenario: Scenario, port: number, cores: Cores, options: Options): LoadJob {
  const { warmUpS, durationS } = options
  const { path, ratePerSecond, streams } = scenario
  const connections = scenario.connections === 0 ? options.connections : scenario.connections
  return { port, path, ratePerSecond, connections, streams, protocol: scenario.client, warmUpS, durationS, core: cores.load }
}

function failureOf(result: LoadResult, ended: string): string {
  if (ended !== '') return ended
  if (result.requests === 0) return 'no request was answered'
  const parts: string[] = []
  if (result.errors > 0) parts.push(`${result.errors} errors`)
  if (result.non2xx > 0) parts.push(`${result.non2xx} answers other than 2xx`)
  return parts.join(', ')
}

// What the main thread itself knows: the configuration, its workers, the process. Written into the registry's own slab.
import { type EventLoopUtilization, performance } from 'node:perf_hooks'
import type { Role } from '../state/bootstrap-config.ts'
import { offsetOf } from './data-path-stats.ts'
import { ISTIO_BUILD, MAIN } from './families.ts'
import { renderLabels } from './labels.ts'
import type { MetricsRegistry } from './metrics-registry.ts'

/** Values of envoy_server_state. */
export const SERVER_STATES = { LIVE: 0, DRAINING: 1, PRE_INITIALIZING: 2, INITIALIZING: 3 } as const

/** One number, for Prometheus' own readers and for those of Envoy. */
const MEMORY = [
  'process_resident_memory_bytes',
  'envoy_server_memory_allocated',
  'envoy_server_memory_heap_size',
  'envoy_server_memory_physical_size',
] as const

export type ServerState = keyof typeof SERVER_STATES

export class MainMetrics {
  readonly #values: Float64Array
  readonly #slot: number
  #lastUtilization: EventLoopUtilization

  /** @param version of heddle; the tag of istio_build */
  constructor(registry: MetricsRegistry, version: string, concurrency: number, role: Role = 'sidecar') {
    this.#values = registry.main.values
    this.#slot = registry.main.allot(MAIN, '')
    this.#lastUtilization = performance.eventLoopUtilization()
    const build = registry.main.allot(
      ISTIO_BUILD,
      renderLabels([
        // Istio's name for what a node has.
        ['component', role === 'node' ? 'ztunnel' : 'proxy'],
        ['tag', version || 'unknown'],
      ]),
    )
    this.#values[build] = 1
    this.#set('envoy_server_concurrency', concurrency)
    this.#set('process_start_time_seconds', performance.timeOrigin / 1000)
    this.setState('PRE_INITIALIZING')
  }

  /** A snapshot is in force. @param nowMs wall clock */
  configApplied(version: number, refusedObjects: number, nowMs: number): void {
    this.#set('heddle_config_version', version)
    this.#add('heddle_config_reload_success_total', 1)
    this.#set('heddle_config_last_reload_successful', 1)
    this.#set('heddle_config_last_reload_success_timestamp_seconds', nowMs / 1000)
    this.#set('heddle_config_resources_refused', refusedObjects)
  }

  /** A change was refused as a whole; the last good configuration keeps serving. */
  configRefused(): void {
    this.#add('heddle_config_reload_failure_total', 1)
    this.#set('heddle_config_last_reload_successful', 0)
  }

  setWorkers(serving: number, allStarted: boolean): void {
    this.#set('heddle_workers', serving)
    if (allStarted) this.#set('envoy_listener_manager_workers_started', 1)
  }

  workerRestarted(): void {
    this.#add('heddle_worker_restarts_total', 1)
  }

  setState(state: ServerState): void {
    this.#set('envoy_server_state', SERVER_STATES[state])
    this.#set('envoy_server_live', state === 'LIVE' ? 1 : 0)
  }

  /** Before each `registry.expose()`: reads what changes by itself. */
  collect(): void {
    const cpu = process.cpuUsage()
    this.#set('process_cpu_user_seconds_total', cpu.user / 1e6)
    this.#set('process_cpu_system_seconds_total', cpu.system / 1e6)
    this.#set('process_cpu_seconds_total', (cpu.user + cpu.system) / 1e6)
    const resident = process.memoryUsage.rss()
    for (const name of MEMORY) this.#set(name, resident)
    this.#set('envoy_server_uptime', Math.floor(process.uptime()))
    const utilization = performance.eventLoopUtilization()
    this.#set(
      'nodejs_main_event_loop_utilization',
      performance.eventLoopUtilization(utilization, this.#lastUtilization).utilization,
    )
    this.#lastUtilization = utilization
  }

  #set(name: string, value: number): void {
    this.#values[this.#slot + offsetOf(MAIN, name)] = value
  }

  #add(name: string, value: number): void {
    this.#values[this.#slot + offsetOf(MAIN, name)]! += value
  }
}

// What a load generator is to the harness.
import type { Protocol } from './scenario.ts'

export interface LoadJob {
  readonly port: number
  readonly path: string
  readonly connections: number
  /** Requests under way on each connection, HTTP/2 only. */
  readonly streams: number
  readonly protocol: Protocol
  readonly warmUpS: number
  readonly durationS: number
  /** Requests a second; 0: closed loop. */
  readonly ratePerSecond: number
  /** The core of the generator; null: any. */
  readonly core: number | null
}

/** The moments between which the proxy's CPU time counts; the warm-up lies before `open`. */
export interface Window {
  open(): void
  close(): void
}

export interface LoadResult {
  /** Answers received in the measured window. */
  readonly requests: number
  readonly seconds: number
  /** Of latencies; NaN where the generator tells none. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  /** Connection errors, time-outs, and answers cut short. */
  readonly errors: number
  /** Answers with a status outside 200-299. */
  readonly non2xx: number
  /** Open loop only: 99th percentile of how late the generator was to notice that a request was due, its own share of the latency. */
  readonly sendLagP99Ms: number | null
}

export interface Load {
  readonly id: string
  readonly version: string
  run(job: LoadJob, window: Window): Promise<LoadResult>
}

/** Milliseconds beyond its own length that a generator may take before it is stopped. */
export const GRACE_MS = 15_000

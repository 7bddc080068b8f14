// What is put under load: a running peer, or the upstream itself.
import type { Child } from './child.ts'

export interface Target {
  readonly id: string
  readonly port: number
  /** The process whose CPU time and memory count; null for `direct`, where there is no proxy. */
  readonly child: Child | null
  /** Bytes of resident memory before the first request of the load; 0 for `direct`. */
  readonly idleBytes: number
}

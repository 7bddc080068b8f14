// How an endpoint is asked whether it is well (envoy.config.core.v3.HealthCheck, Istio ReadinessProbe).
import type { Origin } from './origin.ts'

export interface HealthCheck {
  readonly probe: HealthProbe
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Failures in a row after which a healthy endpoint is left out. */
  readonly unhealthyThreshold: number
  /** Successes in a row after which it is used again. The first result of all decides alone. */
  readonly healthyThreshold: number
  /** Until the first check. */
  readonly initialDelayMs: number
  readonly origin: Origin
}

export type HealthProbe =
  | {
      readonly kind: 'http'
      readonly tls: boolean
      /** 0: the endpoint's. */
      readonly port: number
      readonly path: string
      /** Empty: the endpoint's address. */
      readonly host: string
      readonly headers: readonly (readonly [name: string, value: string])[]
      /** Inclusive. */
      readonly statuses: readonly { readonly from: number; readonly to: number }[]
    }
  | { readonly kind: 'tcp'; readonly port: number }
  /** grpc.health.v1.Health/Check. */
  | { readonly kind: 'grpc'; readonly port: number; readonly service: string }

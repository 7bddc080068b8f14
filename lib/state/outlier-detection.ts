// When an endpoint that fails requests is left out for a while (Istio OutlierDetection, envoy.config.cluster.v3.OutlierDetection).

export interface OutlierDetection {
  /** Failures in a row that eject; 0: off. */
  readonly consecutive5xx: number
  /** 502, 503 and 504 in a row; 0: off. */
  readonly consecutiveGateway: number
  /** Failures that this side saw (connects, resets, timeouts) are counted by themselves. */
  readonly splitLocalOrigin: boolean
  /** Only with `splitLocalOrigin`; 0: off. */
  readonly consecutiveLocalOrigin: number
  /** Statuses that count as errors, as inclusive ranges; empty: 500–599. */
  readonly errorStatuses: readonly { readonly from: number; readonly to: number }[]
  /** Between two sweeps: ejections end at a sweep only. */
  readonly intervalMs: number
  /** First ejection; each further one is longer by as much. */
  readonly baseEjectionMs: number
  readonly maxEjectionMs: number
  /** 0–100 of all endpoints of the cluster. */
  readonly maxEjectionPercent: number
  /** null: off, as Istio leaves it. */
  readonly successRate: SuccessRateEjection | null
  /** null: off, as Istio leaves it. */
  readonly failurePercentage: FailurePercentageEjection | null
}

/** At each sweep: endpoints whose success rate is below mean − factor · standard deviation of the cluster's. */
export interface SuccessRateEjection {
  /** Fewer endpoints with enough requests: no judgement. */
  readonly minimumHosts: number
  /** Requests in one interval. */
  readonly requestVolume: number
  readonly stdevFactor: number
}

/** At each sweep: endpoints with at least `threshold` percent of failures. */
export interface FailurePercentageEjection {
  /** 0–100. */
  readonly threshold: number
  readonly minimumHosts: number
  readonly requestVolume: number
}

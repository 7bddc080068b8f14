// Hot lane: hears the outcome of every attempt at an endpoint whose cluster has outlier detection, counts it where all workers count, and
// ejects the endpoint in the moment in which a run of failures is long enough: five failures spread over two workers are five.
//
// A success costs a look at the counters; only failures write, and only they are remembered.

import type { Clock } from '../base/clock.ts'
import type { OutlierDetection } from '../state/outlier-detection.ts'
import type { OutlierStats } from '../telemetry/outlier-stats.ts'
import {
  DETECTED_BY_5XX,
  DETECTED_BY_GATEWAY,
  DETECTED_BY_LOCAL,
  EJECTED_NOW,
  eject,
  type FailedRequest,
  OVER_LIMIT,
  WAS_EJECTED,
} from './ejecting.ts'
import type { Host } from './lb/host.ts'
import {
  CONSECUTIVE_5XX,
  CONSECUTIVE_GATEWAY,
  CONSECUTIVE_LOCAL,
  EJECTED_FLAG,
  HEALTH,
  LOCAL_RESULTS,
  LOCAL_SUCCESSES,
  RESULTS,
  type SharedHosts,
  SUCCESSES,
} from './shared-hosts.ts'

/** Failures of an endpoint that a worker remembers, as evidence. */
const REMEMBERED = 8
/** Of an id that is remembered: a client may send what it likes. */
const ID_LENGTH = 128

/** Who can say which request it was; asked only after a failure. */
export interface Attempted {
  /** x-request-id, or what else names it; empty: nothing does. */
  requestId(): string
}

/** Tells the main thread that this worker has ejected `address` of `cluster`. */
export type ReportEjection = (cluster: string, address: string, detector: number, atMs: number) => void

/** What the detectors of a cluster's hosts share. Its owner keeps it true: policy, row and number of hosts change with configuration. */
export class ClusterDetection {
  readonly name: string
  readonly shared: SharedHosts
  readonly stats: OutlierStats
  readonly values: Float64Array
  readonly report: ReportEjection
  readonly clock: Pick<Clock, 'wallMs'>
  policy: OutlierDetection
  /** Row in shared-hosts.ts. */
  row: number
  /** Hosts of the cluster, all priorities together. */
  total: number
  /** Some detector judges by shares: then every result is counted. */
  countsResults: boolean

  constructor(
    name: string,
    policy: OutlierDetection,
    shared: SharedHosts,
    stats: OutlierStats,
    values: Float64Array,
    report: ReportEjection,
    clock: Pick<Clock, 'wallMs'>,
  ) {
    this.name = name
    this.shared = shared
    this.stats = stats
    this.values = values
    this.report = report
    this.clock = clock
    this.policy = policy
    this.row = -1
    this.total = 0
    this.countsResults = false
  }

  update(policy: OutlierDetection, row: number, total: number): void {
    this.policy = policy
    this.row = row
    this.total = total
    this.countsResults = policy.successRate !== null || policy.failurePercentage !== null
  }
}

/** One host of one cluster in one worker. */
export class OutlierDetector {
  private readonly cluster: ClusterDetection
  private readonly host: Host
  private recent: FailedRequest[] | null

  constructor(cluster: ClusterDetection, host: Host) {
    this.cluster = cluster
    this.host = host
    this.recent = null
  }

  /** The newest failures; oldest first. */
  get failures(): readonly FailedRequest[] {
    return this.recent ?? []
  }

  /** Headers of a response have come. `status`: of gRPC the grpc-status in them, mapped (statusOfGrpc). */
  onStatus(status: number, request: Attempted): void {
    const ranges = this.cluster.policy.errorStatuses
    const judged = ranges.length === 0 ? status : judge(ranges, status)
    if (judged >= 500 && judged < 600) this.external(judged, status, '', request)
    else this.externalSuccess()
  }

  /**
   * No response, or not a whole one. `status` stands for it where both origins are counted together: 504 for a timeout, 503 for all else.
   * What our own limits refused is no failure of the endpoint and not told.
   */
  onLocalFailure(status: number, cause: string, request: Attempted): void {
    if (!this.cluster.policy.splitLocalOrigin) {
      this.external(status, 0, cause, request)
      return
    }
    const { cells, row } = this.host
    this.remember(0, cause, request)
    if (this.cluster.countsResults) Atomics.add(cells, row + LOCAL_RESULTS, 1)
    const run = Atomics.add(cells, row + CONSECUTIVE_LOCAL, 1) + 1
    if (run === this.cluster.policy.consecutiveLocalOrigin) this.detected(DETECTED_BY_LOCAL, CONSECUTIVE_LOCAL)
  }

  /** A request has got its connection. What the endpoint does with it comes later, as a status. */
  onConnected(): void {
    if (this.cluster.policy.splitLocalOrigin) this.localSuccess()
  }

  /** A TCP session has got its connection: that is all that we will know. */
  onTcpConnected(): void {
    if (this.cluster.policy.splitLocalOrigin) this.localSuccess()
    else this.externalSuccess()
  }

  private externalSuccess(): void {
    const { cells, row } = this.host
    if (this.cluster.countsResults) {
      Atomics.add(cells, row + RESULTS, 1)
      Atomics.add(cells, row + SUCCESSES, 1)
    }
    if (Atomics.load(cells, row + CONSECUTIVE_5XX) !== 0) Atomics.store(cells, row + CONSECUTIVE_5XX, 0)
    if (Atomics.load(cells, row + CONSECUTIVE_GATEWAY) !== 0) Atomics.store(cells, row + CONSECUTIVE_GATEWAY, 0)
  }

  private localSuccess(): void {
    const { cells, row } = this.host
    if (this.cluster.countsResults) {
      Atomics.add(cells, row + LOCAL_RESULTS, 1)
      Atomics.add(cells, row + LOCAL_SUCCESSES, 1)
    }
    if (Atomics.load(cells, row + CONSECUTIVE_LOCAL) !== 0) Atomics.store(cells, row + CONSECUTIVE_LOCAL, 0)
  }

  private external(judged: number, status: number, cause: string, request: Attempted): void {
    const { policy } = this.cluster
    const { cells, row } = this.host
    // Before it counts: whoever ejects asks all workers what they remember.
    this.remember(status, cause, request)
    if (this.cluster.countsResults) Atomics.add(cells, row + RESULTS, 1)
    if (judged >= 502 && judged <= 504) {
      const run = Atomics.add(cells, row + CONSECUTIVE_GATEWAY, 1) + 1
      if (run === policy.consecutiveGateway) this.detected(DETECTED_BY_GATEWAY, CONSECUTIVE_GATEWAY)
    } else Atomics.store(cells, row + CONSECUTIVE_GATEWAY, 0)
    const run = Atomics.add(cells, row + CONSECUTIVE_5XX, 1) + 1
    if (run === policy.consecutive5xx) this.detected(DETECTED_BY_5XX, CONSECUTIVE_5XX)
  }

  private remember(status: number, cause: string, request: Attempted): void {
    this.recent ??= []
    if (this.recent.length === REMEMBERED) this.recent.shift()
    // A copy: a part of a text would hold the whole head of the request in memory.
    const id = Buffer.from(request.requestId().slice(0, ID_LENGTH), 'latin1').toString('latin1')
    this.recent.push({ id, status, cause, atMs: this.cluster.clock.wallMs })
  }

  private detected(detector: number, run: number): void {
    const { cluster, host } = this
    const { shared, stats, values } = cluster
    // It left the cluster: it counts for itself, and nobody picks it any more.
    if (cluster.row < 0 || host.cells !== shared.cells) return
    if ((Atomics.load(host.cells, host.row + HEALTH) & EJECTED_FLAG) !== 0) return
    values[stats.detected(detector)]!++
    const answer = eject(shared, cluster.row, host.row, cluster.total, cluster.policy.maxEjectionPercent, detector)
    // The next run is counted from its beginning, whether this one was allowed to eject or not.
    if (answer !== WAS_EJECTED) Atomics.store(host.cells, host.row + run, 0)
    if (answer === OVER_LIMIT) values[stats.overflow]!++
    if (answer !== EJECTED_NOW) return
    values[stats.enforcedTotal]!++
    values[stats.enforced(detector)]!++
    cluster.report(cluster.name, host.address, detector, cluster.clock.wallMs)
  }
}

/** What a status counts as under outlierDetectionHttpErrorCodes: those listed are errors, all others are well. */
function judge(ranges: OutlierDetection['errorStatuses'], status: number): number {
  for (let i = 0; i < ranges.length; i++) {
    const range = ranges[i] as (typeof ranges)[number]
    if (status >= range.from && status <= range.to) return status >= 500 && status < 600 ? status : 500
  }
  return 200
}

const GRPC_TO_HTTP: readonly number[] = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]

/** grpc-status as an HTTP status (Envoy grpcToHttpStatus). */
export function statusOfGrpc(grpcStatus: number): number {
  return GRPC_TO_HTTP[grpcStatus] ?? 500
}

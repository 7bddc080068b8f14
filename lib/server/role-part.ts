// What a role adds to the main thread beyond what all of them have.
import type { TunnelView } from '../admin/admin-source.ts'
import type { DnsSource } from '../cluster/dns-source.ts'
import type { CertificateManager } from '../identity/source/certificate-manager.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { ControlPlaneMetrics } from '../telemetry/control-plane-metrics.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { MetricsSlab } from '../telemetry/slab.ts'
import type { AdsStatus } from '../xds/client/ads-status.ts'
import type { NodeInit, ToWorker, WorkerQuestion } from './messages.ts'
import type { Question } from './worker-pool.ts'

export interface RolePartOptions {
  readonly bootstrap: BootstrapConfig
  readonly identity: CertificateManager | null
  readonly names: DnsSource
  /** To all workers. */
  readonly tell: (message: ToWorker) => void
  /** All workers that serve; who does not answer is left out. */
  readonly ask: (question: Question) => Promise<readonly unknown[]>
  readonly log: Logger
  /** Of the main thread. */
  readonly slab: MetricsSlab
  /** Of heddle. */
  readonly version: string
}

export interface RolePart {
  /** Watched beside the resources; a change of one is a reload. */
  readonly files: readonly string[]
  /** What /healthz/ready asks in place of whether the proxy has a certificate of its own. */
  readonly ready: boolean
  /** What readiness waits for, for messages; empty when it is there. */
  waitingFor(): readonly string[]
  /** For /workloads; null: the role has no tunnel of a node. */
  view(): TunnelView | null
  /** For a worker that begins. */
  readonly init: NodeInit
  /** Of a control plane: it is counted from now on. */
  measure?(metrics: ControlPlaneMetrics): void
  /** How it stands with the control plane; null: there is none. */
  status?(): AdsStatus | null
  /** All workers serve. */
  start(): void
  close(): Promise<void>
  /** The snapshot with what the role has from elsewhere. */
  complete(snapshot: Snapshot): Snapshot
  /** A snapshot that the workers are about to be told. */
  use(snapshot: Snapshot): void
  /** All workers are told the answer. */
  answer(question: WorkerQuestion): void
}

export type MakeRolePart = (options: RolePartOptions) => RolePart

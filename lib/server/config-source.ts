// Where Snapshots come from, as the supervisor sees it: files (config-store.ts) or a control plane (xds-source.ts).
import type { FedNote } from '../admin/admin-source.ts'
import type { KindUse } from '../admin/config-use-page.ts'
import type { ResourceStatus, Snapshot } from '../state/snapshot.ts'
import type { ControlPlaneMetrics } from '../telemetry/control-plane-metrics.ts'
import type { Credential } from '../transport/secrets.ts'
import type { AdsStatus } from '../xds/client/ads-status.ts'
import type { FedConfig, IsHealthy } from './fed-config.ts'

export interface ConfigSource {
  /** Version that all workers have put in force; 0: none yet. Written by the supervisor. */
  appliedVersion: number
  /** The newest that may be in force. Throws before `loadFirst` has resolved. */
  readonly snapshot: Snapshot
  /** Of the secrets that `snapshot` names, those that come with it. */
  readonly credentials: readonly Credential[]
  /** Of each object of YAML files. */
  readonly statuses: readonly ResourceStatus[]
  /** Objects or resources that are refused. */
  readonly refused: number
  /** What is not in force, and why; empty when all of it is. */
  readonly problems: readonly string[]
  /** True: for something its last good version serves, or nothing. */
  readonly lastGood: boolean
  /** Until `loadFirst` has resolved: what it waits for, for messages. */
  waitingFor?(): readonly string[]
  /** Rejects with StartError when there is nothing to begin with. */
  loadFirst(): Promise<void>
  /** False: `snapshot` is what it was, since the reading failed as a whole. */
  reload(why: string): Promise<boolean>
  /** Of a control plane: it is counted from now on. */
  measure?(metrics: ControlPlaneMetrics): void
  /** Of a control plane: how it stands. */
  status?(): AdsStatus
  /** Of a control plane: what is accepted and waits for something else, in words. */
  warming?(): readonly string[]
  /** Of a control plane: what is accepted and has no effect. */
  notes?(): readonly FedNote[]
  /** Of a control plane: what it sent, with what the names in it have come to by the Snapshot in force. */
  dump?(inForce: Snapshot | null, isHealthy: IsHealthy): FedConfig
  /** Of a control plane: what of its resources is held, by kind. */
  sent?(): readonly KindUse[]
  close(): Promise<void>
}

// What a role adds to the main thread beyond what all of them have.
import type { DnsSource } from '../cluster/dns-source.ts'
import type { CertificateManager } from '../identity/source/certificate-manager.ts'
import type { BootstrapConfig, ServedPod } from '../state/bootstrap-config.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { AdsClient } from '../xds/client/ads-client.ts'
import type { UpdateConsumer } from '../xds/client/resource-update.ts'
import type { ToWorker } from './messages.ts'
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
  /** Makes a client of the control plane that is configured; null: none is. */
  readonly controlPlane: ((onUpdate: UpdateConsumer) => AdsClient) | null
}

export interface RolePart {
  /** Watched beside the resources; a change of one is a reload. */
  readonly files: readonly string[]
  /** What /healthz/ready asks in place of whether the proxy has a certificate of its own. */
  readonly ready: boolean
  /** What readiness waits for, for messages; empty when it is there. */
  waitingFor(): readonly string[]
  /** What a worker that begins has to serve. */
  readonly pods: readonly ServedPod[]
  /** All workers serve. */
  start(): void
  close(): Promise<void>
  /** The snapshot with what the role has from elsewhere. */
  complete(snapshot: Snapshot): Snapshot
  /** A snapshot that the workers are about to be told. */
  use(snapshot: Snapshot): void
  /** A worker needs the addresses of a name; all are told. */
  resolve(hostname: string): void
}

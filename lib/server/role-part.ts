// What a role adds to the main thread beyond what all of them have.
import type { DnsSource } from '../cluster/dns-source.ts'
import type { CertificateManager } from '../identity/source/certificate-manager.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { ToWorker } from './messages.ts'

export interface RolePartOptions {
  readonly bootstrap: BootstrapConfig
  readonly identity: CertificateManager | null
  readonly names: DnsSource
  /** To all workers. */
  readonly tell: (message: ToWorker) => void
}

export interface RolePart {
  /** Watched beside the resources; a change of one is a reload. */
  readonly files: readonly string[]
  /** What /healthz/ready asks in place of whether the proxy has a certificate of its own. */
  readonly ready: boolean
  /** A snapshot that the workers are about to be told. */
  use(snapshot: Snapshot): void
  /** A worker needs the addresses of a name; all are told. */
  resolve(hostname: string): void
}

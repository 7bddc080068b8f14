// What a supervisor is made with.
import type { CertificateManager } from '../identity/source/certificate-manager.ts'
import type { SelfDescription } from '../state/self-description.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { AgentDuties } from './agent.ts'
import type { ConfigSource } from './config-source.ts'
import type { ConfigThread } from './config-thread.ts'
import type { MakeRolePart } from './role-part.ts'

export interface SupervisorOptions {
  /** Of heddle, for /server_info and the metrics. */
  readonly version: string
  readonly logger: Logger
  /** As a control plane knows it. Default: as heddle.yaml says. */
  readonly self?: SelfDescription
  /** What the role adds to the main thread. Default: nothing. */
  readonly rolePart?: MakeRolePart
  /** Where the configuration comes from; closed with the proxy. `onChange`: something new may be put in force. Default: the files that heddle.yaml names. */
  readonly source?: (onChange: (why: string) => void) => ConfigSource
  /** Reads the resources; closed with the proxy. Default: one of its own. */
  readonly thread?: ConfigThread
  /** Who has the workload's certificates; closed with the proxy. Default: the workload has no identity. */
  readonly identity?: CertificateManager | null
  /** Listens and is closed with the proxy. Default: none of it is done. */
  readonly agent?: AgentDuties | null
  /** Default: the worker beside this module. */
  readonly workerUrl?: URL
}

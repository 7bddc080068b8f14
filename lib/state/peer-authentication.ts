// Who must show a certificate to be let in, as written (Istio PeerAuthentication). Compiled by `policy/peer-authentication.ts`.
import type { Origin } from './origin.ts'

/** STRICT: mTLS only. PERMISSIVE: mTLS and plain text. DISABLE: plain text only. */
export type MtlsMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE'

/** `mode` of the proto; UNSET takes what the next wider scope has. */
export type MtlsSetting = MtlsMode | 'UNSET'

export interface PortMtls {
  /** Of the workload, not of a service. */
  readonly port: number
  readonly mode: MtlsSetting
  readonly origin: Origin
}

export interface PeerAuthentication {
  readonly namespace: string
  readonly name: string
  /** Labels that a workload of the namespace must have; empty: all of the namespace, and in the root namespace of the mesh. */
  readonly selector: Readonly<Record<string, string>>
  readonly mode: MtlsSetting
  /** Only with a selector. */
  readonly ports: readonly PortMtls[]
  /** Milliseconds since 1970, -Infinity without a timestamp: of several in one scope the oldest holds. */
  readonly createdMs: number
  readonly origin: Origin
}

/** All of a mesh. */
export interface PeerAuthentications {
  /** Istio rootNamespace. */
  readonly rootNamespace: string
  readonly policies: readonly PeerAuthentication[]
}

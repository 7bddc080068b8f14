// What a worker knows of secrets, and the TLS contexts made of them: one for each way that configuration asks for, made when it is first needed and
// anew when a secret has changed. Connections that are open stay on what they began with.
import type tls from 'node:tls'
import type { IdentityMaterial, TrustStore } from '../identity/material.ts'
import type { DownstreamTls, UpstreamTls } from '../state/tls.ts'
import type { HandshakeFailure } from './handshake.ts'
import type { TlsFacts } from './tls-facts.ts'

/** A certificate with its key that is no SPIFFE identity, or roots that are not the mesh's: of gateways, and of DestinationRules that name files. */
export interface Credential {
  /** SecretName of state/tls.ts. */
  readonly name: string
  readonly certificateChainPem: string
  readonly privateKeyPem: string
  readonly rootsPem: readonly string[]
  readonly generation: number
}

/** All of it, replaced whole. */
export interface Secrets {
  /** The workload's own identity, SPIFFE id; empty: it has none. */
  readonly own: string
  readonly identities: readonly IdentityMaterial[]
  readonly trust: TrustStore | null
  readonly credentials: readonly Credential[]
}

export const NO_SECRETS: Secrets = { own: '', identities: [], trust: null, credentials: [] }

export type PeerVerdict =
  | { readonly ok: true; readonly facts: TlsFacts }
  | { readonly ok: false; readonly failure: HandshakeFailure }

/** For connections from clients. */
export interface ServerTls {
  readonly options: tls.TLSSocketOptions
  /** Of a finished handshake. */
  verify(socket: tls.TLSSocket, nowMs: number): PeerVerdict
  /** Of one that did not finish: `error` of the socket, or null when it was just closed. */
  failureOf(socket: tls.TLSSocket, error: NodeJS.ErrnoException | null): HandshakeFailure
}

/** For connections to endpoints. */
export interface ClientTls {
  readonly options: tls.ConnectionOptions
  verify(socket: tls.TLSSocket, nowMs: number): PeerVerdict
  failureOf(socket: tls.TLSSocket, error: NodeJS.ErrnoException | null): HandshakeFailure
}

export class TlsContexts {
  private secrets: Secrets

  constructor(secrets: Secrets) {
    this.secrets = secrets
  }

  use(secrets: Secrets): void {
    this.secrets = secrets
  }

  /** null: a secret that it names is not there. */
  server(_config: DownstreamTls): ServerTls | null {
    return null
  }

  /** null: a secret that it names is not there. `host`: the request's, for autoSni. */
  client(_config: UpstreamTls, _host: string): ClientTls | null {
    return this.secrets === NO_SECRETS ? null : null
  }
}

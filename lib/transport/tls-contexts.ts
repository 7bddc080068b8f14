// The TLS contexts of a worker: one for each way that configuration asks for, made when it is first needed and anew when secrets have changed.
// Connections that are open stay on what they began with.
import type { DownstreamTls, SecretName, UpstreamTls } from '../state/tls.ts'
import { ClientTls } from './client-tls.ts'
import type { HandshakeFailure } from './handshake.ts'
import { presentedOf } from './handshake-failure.ts'
import { keyPairOf, type Secrets } from './secrets.ts'
import { ServerTls } from './server-tls.ts'

/** Told once for each handshake that failed. `peer`: `ip:port`. */
export type HandshakeReport = (side: 'client' | 'server', peer: string, failure: HandshakeFailure) => void

export class TlsContexts {
  private secrets: Secrets
  private readonly servers: Map<string, ServerTls | null>
  private readonly clients: Map<string, ClientTls | null>
  /** Configuration is compared by content: each snapshot brings its own copy of what did not change. */
  private readonly keys: WeakMap<object, string>
  private readonly ends: Map<SecretName, number>
  /** Connections do not outlive the certificate that they stand on (identity.onOldCertificate). */
  drainsOld: boolean
  readonly report: HandshakeReport

  constructor(secrets: Secrets, report: HandshakeReport) {
    this.secrets = secrets
    this.servers = new Map()
    this.clients = new Map()
    this.keys = new WeakMap()
    this.ends = new Map()
    this.drainsOld = false
    this.report = report
  }

  /** From now on for new handshakes. */
  use(secrets: Secrets): void {
    this.secrets = secrets
    this.servers.clear()
    this.clients.clear()
    this.ends.clear()
  }

  /** When the certificate of this name that is in force now ends, epoch ms; 0: there is none. */
  notAfterOf(name: SecretName): number {
    let end = this.ends.get(name)
    if (end === undefined) {
      const pair = name === '' ? null : keyPairOf(this.secrets, name)
      end = pair === null ? 0 : presentedOf(pair.certificateChainPem).notAfterMs
      this.ends.set(name, end)
    }
    return end
  }

  /** null: a secret that it names is not there, or cannot be used. */
  server(config: DownstreamTls): ServerTls | null {
    return this.madeOnce(this.servers, config, ServerTls.make)
  }

  client(config: UpstreamTls): ClientTls | null {
    return this.madeOnce(this.clients, config, ClientTls.make)
  }

  private madeOnce<Config extends object, Made>(
    made: Map<string, Made | null>,
    config: Config,
    make: (config: Config, secrets: Secrets) => Made | null,
  ): Made | null {
    let key = this.keys.get(config)
    if (key === undefined) {
      key = JSON.stringify(config)
      this.keys.set(config, key)
    }
    const known = made.get(key)
    if (known !== undefined) return known
    let fresh: Made | null = null
    try {
      fresh = make(config, this.secrets)
    } catch (error) {
      const text = `its certificate or key cannot be used: ${(error as Error).message}`
      this.report('server', '', { reason: 'not_ready', text, details: {} })
    }
    made.set(key, fresh)
    return fresh
  }
}

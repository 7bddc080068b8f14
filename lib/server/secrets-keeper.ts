// What the workers know of certificates and keys: the identities of the CertificateManager, and what configuration names by file or as a
// Kubernetes Secret. Told to them whole at each change; in a dump there are only names.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { FileWatch } from '../base/file-watch.ts'
import type { CertificateManager } from '../identity/source/certificate-manager.ts'
import { isFile, type SecretName } from '../state/tls.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type Credential, isRevocationList, NO_SECRETS, type Secrets } from '../transport/secrets.ts'
import { pathsOf, readCredential } from './secret-files.ts'

export interface SecretsKeeperOptions {
  /** null: the workload has no identity. */
  readonly identity: CertificateManager | null
  /** File with revocation lists of the mesh's CAs, which need not be there; '': none. */
  readonly revocation: string
  readonly log: Logger
  readonly onChange: (secrets: Secrets) => void
}

export class SecretsKeeper {
  readonly #options: SecretsKeeperOptions
  readonly #unsubscribe: () => void
  #names: readonly SecretName[]
  /** By name; what was good stays while its file is not. */
  readonly #files: Map<SecretName, Credential>
  #objects: readonly Credential[]
  /** PEM; what was good stays while the file is not. */
  #revoked: string
  #watch: FileWatch | null
  #secrets: Secrets
  /** Trust of which the ticket keys are: sessions are not resumed across a change of it. */
  #trusted: string
  #follower: () => void

  constructor(options: SecretsKeeperOptions) {
    this.#options = options
    this.#names = []
    this.#files = new Map()
    this.#objects = []
    this.#revoked = ''
    this.#watch = null
    this.#trusted = ''
    this.#follower = () => {}
    this.#secrets = { ...NO_SECRETS, ticketKeys: randomBytes(48) }
    this.#watchFiles([])
    this.#unsubscribe = options.identity?.subscribe({ onIdentityUpdate: () => this.#changed() }) ?? (() => {})
  }

  /** For a worker that begins. */
  get secrets(): Secrets {
    return this.#secrets
  }

  /** Who else hears of changes, from now on. */
  follow(onChange: () => void): void {
    this.#follower = onChange
  }

  /** Until the workload has a certificate of its own, but no longer than `limitMs`. */
  async settled(limitMs: number): Promise<void> {
    const { identity, log } = this.#options
    if (identity === null || (await identity.settled(limitMs))) return
    log.warning('not ready yet: the workload has no certificate; it is waited for')
  }

  /** False while the workload's own certificate is missing: it cannot serve as who it is. */
  get ready(): boolean {
    return this.#options.identity === null || this.#secrets.own !== ''
  }

  /** For messages: what it is that is missing, and why it has not come; empty when nothing is. */
  waitingFor(): readonly string[] {
    if (this.ready) return []
    const why = this.#options.identity?.status().find((s) => s.lastError !== '')?.lastError ?? ''
    return [`the workload's certificate${why === '' ? '' : ` (${why})`}`]
  }

  /** `names`: all that a snapshot names. `objects`: Kubernetes Secrets among the resources. */
  use(names: readonly SecretName[], objects: readonly Credential[]): void {
    this.#objects = objects
    const files = names.filter(isFile).toSorted()
    if (files.join('\n') !== this.#names.join('\n')) this.#watchFiles(files)
    this.#changed()
  }

  #watchFiles(files: readonly SecretName[]): void {
    this.#names = files
    this.#watch?.close()
    this.#watch = null
    for (const name of this.#files.keys()) if (!files.includes(name)) this.#files.delete(name)
    const { revocation } = this.#options
    const paths = [...files.flatMap(pathsOf), ...(revocation === '' ? [] : [revocation])]
    if (paths.length === 0) return
    this.#watch = new FileWatch({ paths, onChange: () => this.#changed(), debounceMs: 100 })
    this.#watch.start()
  }

  #readFiles(): void {
    for (const name of this.#names) {
      try {
        this.#files.set(name, readCredential(name))
      } catch (error) {
        const kept = this.#files.has(name) ? '; what was read before stays in use' : ''
        this.#options.log.error(`cannot use ${name}: ${(error as Error).message}${kept}`)
      }
    }
  }

  #readRevocation(): void {
    const { revocation, log } = this.#options
    if (revocation === '') return
    try {
      const pem = readFileSync(revocation, 'utf8')
      if (!isRevocationList(pem)) throw new Error('there is no revocation list as PEM in it')
      this.#revoked = pem
    } catch (error) {
      // As Istio's agent has it: installations without one have the folder alone.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') this.#revoked = ''
      else
        log.error(
          `cannot use ${revocation}: ${(error as Error).message}${this.#revoked === '' ? '' : '; what was read before stays in use'}`,
        )
    }
  }

  #changed(): void {
    this.#readFiles()
    this.#readRevocation()
    const known = this.#options.identity?.everything()
    const trust = known?.trust ?? null
    const trusted = JSON.stringify([trust, this.#revoked])
    const credentials = [...this.#files.values(), ...this.#objects]
    const before = this.#secrets
    const next: Secrets = {
      generation: before.generation + 1,
      own: known?.own ?? '',
      identities: known?.materials ?? [],
      trust,
      revokedPem: this.#revoked,
      credentials,
      ticketKeys: trusted === this.#trusted ? before.ticketKeys : randomBytes(48),
    }
    this.#trusted = trusted
    if (JSON.stringify({ ...before, generation: 0 }) === JSON.stringify({ ...next, generation: 0 })) return
    this.#secrets = next
    this.#options.onChange(next)
    this.#follower()
  }

  close(): void {
    this.#unsubscribe()
    this.#watch?.close()
    this.#options.identity?.close()
  }
}

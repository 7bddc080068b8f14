// Has a valid certificate for each identity that is wanted, and tells who uses them when there is a new one. A renewal touches new
// handshakes only: connections that are open stay. The old certificate is used until the new one is there and found good.
import type { KeyKind } from '../../state/bootstrap-config.ts'
import type { IdentityMaterial, IdentityUpdate, TrustBundle, TrustStore } from '../material.ts'
import { withMeshRoots } from '../mesh-roots.ts'
import type { CertificateSource } from './certificate-source.ts'
import { DeliveredCertificates } from './delivered-certificates.ts'
import type { RotationSettings } from './rotation.ts'
import { SignedCertificates } from './signed-certificates.ts'

export interface CertificateManagerOptions {
  readonly source: CertificateSource
  /** Our own, in lower case. */
  readonly trustDomain: string
  readonly trustDomainAliases: readonly string[]
  /** Of other trust domains, by configuration. What a source says of the same trust domain comes first. */
  readonly bundles: readonly TrustBundle[]
  /** Canonical. '' with a source that delivers: the first certificate that it delivers is the workload's own. */
  readonly ownIdentity: string
  readonly rotation: RotationSettings
  /** Wished for from a CA. Istio SECRET_TTL: 24 h. */
  readonly ttlMs: number
  readonly keyKind: KeyKind
  readonly log: ManagerLog
  /** Epoch milliseconds. */
  readonly now: () => number
  /** 0 to 1. */
  readonly random: () => number
  /** Calls back once; returns how to cancel. Default: an unref'd setTimeout. */
  readonly schedule?: (callback: () => void, delayMs: number) => () => void
}

export interface ManagerLog {
  info(message: string): void
  warning(message: string): void
}

/** For the admin page and for readiness. */
export interface IdentityStatus {
  readonly identity: string
  readonly source: string
  /** `waiting`: never had one. `expired`: no new one came in time; peers refuse us. */
  readonly state: 'waiting' | 'valid' | 'expired'
  /** Epoch milliseconds; 0 when there is none. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** When the next one is fetched; 0: when the source thinks fit. */
  readonly renewalAtMs: number
  /** In a row. */
  readonly failures: number
  /** Of the last try; '' when it was good. */
  readonly lastError: string
}

export interface IdentityListener {
  /** Called at once with all that is known, and at each change. Must not throw. */
  onIdentityUpdate(update: IdentityUpdate): void
}

/** What the two ways to certificates tell the manager. */
export interface ManagerFace {
  readonly options: CertificateManagerOptions
  schedule(callback: () => void, delayMs: number): () => void
  /** Good certificates, and all roots that the source knows (null: as before), in one step. */
  publish(
    certificates: readonly Omit<IdentityMaterial, 'generation'>[],
    withdrawn: readonly string[],
    bundles: readonly TrustBundle[] | null,
  ): void
}

/** The part of the manager that knows one kind of source. */
export interface CertificateKeeper {
  start(): void
  want(identity: string, urgent: boolean): void
  drop(identity: string): void
  status(): readonly Omit<IdentityStatus, 'source' | 'state' | 'notBeforeMs' | 'notAfterMs'>[]
  close(): void
}

export class CertificateManager implements ManagerFace {
  readonly options: CertificateManagerOptions
  readonly #keeper: CertificateKeeper
  readonly #materials: Map<string, IdentityMaterial>
  readonly #listeners: Set<IdentityListener>
  readonly #waiting: Set<() => void>
  #trust: TrustStore
  #fromSource: readonly TrustBundle[]
  #meshRoots: readonly string[]
  #own: string
  #generation: number

  constructor(options: CertificateManagerOptions) {
    this.options = options
    this.#materials = new Map()
    this.#listeners = new Set()
    this.#waiting = new Set()
    this.#generation = 0
    this.#fromSource = []
    this.#meshRoots = []
    this.#own = options.ownIdentity
    this.#trust = {
      trustDomain: options.trustDomain,
      aliases: options.trustDomainAliases,
      bundles: options.bundles,
      generation: 0,
    }
    const { source } = options
    this.#keeper = source.kind === 'signs' ? new SignedCertificates(this, source) : new DeliveredCertificates(this, source)
  }

  /** Roots that hold in the mesh beside those of the source: PEM, one certificate in each. In place of those before. */
  useMeshRoots(rootsPem: readonly string[]): void {
    this.#meshRoots = rootsPem
    this.publish([], [], this.#fromSource)
  }

  /** Called once. */
  start(): void {
    if (this.options.ownIdentity !== '') this.#keeper.want(this.options.ownIdentity, true)
    this.#keeper.start()
  }

  /** Asks a CA for it, and keeps it renewed. A source that delivers is not asked. `urgent`: a connection waits for it. */
  want(identity: string, urgent: boolean): void {
    this.#keeper.want(identity, urgent)
  }

  /** Its last workload has gone. */
  drop(identity: string): void {
    this.#keeper.drop(identity)
    if (this.#materials.has(identity)) this.publish([], [identity], null)
  }

  /** Returns how to end it. */
  subscribe(listener: IdentityListener): () => void {
    this.#listeners.add(listener)
    listener.onIdentityUpdate(this.everything())
    return () => this.#listeners.delete(listener)
  }

  /** For a worker that begins. */
  everything(): IdentityUpdate {
    return { own: this.#ownNow(), materials: [...this.#materials.values()], withdrawn: [], trust: this.#trust }
  }

  material(identity: string): IdentityMaterial | null {
    return this.#materials.get(identity) ?? null
  }

  /** The workload's own identity; '' while there is none. */
  get own(): string {
    return this.#ownNow()
  }

  get trust(): TrustStore {
    return this.#trust
  }

  /** Until the workload has a certificate of its own, but no longer than `limitMs`; false: it has none. */
  async settled(limitMs: number): Promise<boolean> {
    if (this.#ownNow() !== '') return true
    await new Promise<void>((resolve) => {
      const done = (): void => {
        cancel()
        this.#waiting.delete(done)
        resolve()
      }
      const cancel = this.schedule(done, limitMs)
      this.#waiting.add(done)
    })
    return this.#ownNow() !== ''
  }

  status(): readonly IdentityStatus[] {
    const now = this.options.now()
    return this.#keeper.status().map((s) => {
      const { notBeforeMs = 0, notAfterMs = 0 } = this.#materials.get(s.identity) ?? {}
      const state = notAfterMs === 0 ? 'waiting' : notAfterMs > now ? 'valid' : 'expired'
      return { ...s, source: this.options.source.name, state, notBeforeMs, notAfterMs }
    })
  }

  close(): void {
    this.#keeper.close()
    this.options.source.close()
    for (const done of [...this.#waiting]) done()
    this.#listeners.clear()
  }

  schedule(callback: () => void, delayMs: number): () => void {
    return (this.options.schedule ?? unrefTimeout)(callback, delayMs)
  }

  publish(
    certificates: readonly Omit<IdentityMaterial, 'generation'>[],
    withdrawn: readonly string[],
    bundles: readonly TrustBundle[] | null,
  ): void {
    const materials: IdentityMaterial[] = []
    for (const certificate of certificates) {
      const material = { ...certificate, generation: ++this.#generation }
      materials.push(material)
      this.#materials.set(material.identity, material)
    }
    for (const identity of withdrawn) this.#materials.delete(identity)
    if (this.options.ownIdentity === '') this.#chooseOwn(certificates)
    const trust = this.#mergeTrust(bundles)
    if (materials.length === 0 && withdrawn.length === 0 && trust === null) return
    for (const listener of this.#listeners) {
      listener.onIdentityUpdate({ own: this.#ownNow(), materials, withdrawn, trust })
    }
    if (this.#ownNow() !== '') for (const done of [...this.#waiting]) done()
  }

  /** The first that was ever delivered, as long as it is. */
  #chooseOwn(certificates: readonly { readonly identity: string }[]): void {
    if (this.#materials.has(this.#own)) return
    this.#own = certificates[0]?.identity ?? [...this.#materials.keys()][0] ?? ''
  }

  #ownNow(): string {
    return this.#materials.has(this.#own) ? this.#own : ''
  }

  /** Null when nothing changed: workers then keep what they made of it. */
  #mergeTrust(fromSource: readonly TrustBundle[] | null): TrustStore | null {
    if (fromSource === null) return null
    this.#fromSource = fromSource
    const named = new Set(fromSource.map((b) => b.trustDomain))
    const known = [...fromSource, ...this.options.bundles.filter((b) => !named.has(b.trustDomain))]
    const bundles = withMeshRoots(known, this.#meshRoots, this.options.trustDomain)
    if (JSON.stringify(bundles) === JSON.stringify(this.#trust.bundles)) return null
    this.#trust = { ...this.#trust, bundles, generation: this.#trust.generation + 1 }
    return this.#trust
  }
}

function unrefTimeout(callback: () => void, delayMs: number): () => void {
  const timer = setTimeout(callback, delayMs)
  timer.unref()
  return () => clearTimeout(timer)
}

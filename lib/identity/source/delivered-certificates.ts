// Certificates that a source delivers when it thinks fit: checked, and published together with the roots that came with them. One that is
// no good is refused alone; what was good for the same identity stays.
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { certificatesOfPem } from '../chain.ts'
import type { IdentityMaterial, TrustBundle } from '../material.ts'
import { parseSpiffeId, spiffeIdText } from '../spiffe-id.ts'
import { checkCertificate } from './certificate-check.ts'
import type { CertificateKeeper, IdentityStatus, ManagerFace } from './certificate-manager.ts'
import type { DeliveredCertificate, DeliveringSource, Delivery, DeliverySink, SourceError } from './certificate-source.ts'
import { privateKeyPem } from './private-key.ts'

/** Clocks jump, and Node's timers end at 24.8 days. */
const LONGEST_SLEEP_MS = 600_000

type Published = Omit<IdentityMaterial, 'generation'>

export class DeliveredCertificates implements CertificateKeeper, DeliverySink {
  readonly #manager: ManagerFace
  readonly #source: DeliveringSource
  /** What was published last, by identity. */
  #held: ReadonlyMap<string, Published>
  readonly #wanted: Set<string>
  #failures: number
  #lastError: string
  #cancelExpiry: (() => void) | null

  constructor(manager: ManagerFace, source: DeliveringSource) {
    this.#manager = manager
    this.#source = source
    this.#held = new Map()
    this.#wanted = new Set()
    this.#failures = 0
    this.#lastError = ''
    this.#cancelExpiry = null
  }

  start(): void {
    this.#source.start(this)
  }

  want(identity: string): void {
    this.#wanted.add(identity)
  }

  drop(identity: string): void {
    this.#wanted.delete(identity)
  }

  status(): readonly Omit<IdentityStatus, 'source' | 'state' | 'notBeforeMs' | 'notAfterMs'>[] {
    const identities = new Set([...this.#wanted, ...this.#held.keys()])
    if (identities.size === 0) identities.add('')
    return [...identities].map((identity) => ({
      identity,
      renewalAtMs: 0,
      failures: this.#failures,
      lastError: this.#lastError || (this.#held.has(identity) ? '' : this.#absence(identity)),
    }))
  }

  close(): void {
    this.#cancelExpiry?.()
    this.#wanted.clear()
  }

  deliver(state: Delivery): void {
    const held = new Map<string, Published>()
    const faults: string[] = []
    for (const certificate of state.certificates) {
      const result = this.#check(certificate, state.bundles)
      if (typeof result !== 'string') {
        // The Workload API may name one identity twice; the first is meant.
        if (!held.has(result.identity)) held.set(result.identity, result)
        continue
      }
      faults.push(result)
      const before = this.#held.get(identityIn(certificate.certificateChainPem))
      if (before !== undefined && !held.has(before.identity)) held.set(before.identity, before)
    }
    const fresh = [...held.values()].filter((c) => !isSame(c, this.#held.get(c.identity)))
    const withdrawn = [...this.#held.keys()].filter((identity) => !held.has(identity))
    this.#held = held
    this.#watchExpiry()
    this.#note(faults.join('; '))
    const { log } = this.#manager.options
    if (withdrawn.length > 0) log.warning(`${this.#source.name}: withdrawn: ${withdrawn.join(', ')}`)
    for (const identity of this.#wanted) {
      if (!held.has(identity)) log.warning(`no certificate for ${identity}: ${this.#absence(identity)}`)
    }
    this.#manager.publish(fresh, withdrawn, state.bundles)
  }

  failed(error: SourceError): void {
    this.#note(error.message)
  }

  #note(fault: string): void {
    if (fault === '') {
      if (this.#failures > 0) this.#manager.options.log.info(`${this.#source.name}: certificates are good again`)
      this.#failures = 0
    } else {
      this.#failures++
      const kept = this.#held.size > 0 ? '; what was good before stays in use' : ''
      if (fault !== this.#lastError) this.#manager.options.log.warning(`certificates: ${fault}${kept}`)
    }
    this.#lastError = fault
  }

  /** We do not renew these, but say when nobody does: in the last tenth of the life, and at its end. */
  #watchExpiry(): void {
    this.#cancelExpiry?.()
    this.#cancelExpiry = null
    const { now, log } = this.#manager.options
    const nowMs = now()
    const moments = [...this.#held.values()].flatMap((c) => {
      const lateMs = c.notAfterMs - (c.notAfterMs - c.notBeforeMs) / 10
      return [
        { identity: c.identity, atMs: lateMs, words: `expires at ${new Date(c.notAfterMs).toISOString()}` },
        { identity: c.identity, atMs: c.notAfterMs, words: 'has expired' },
      ].filter(({ atMs }) => atMs > nowMs)
    })
    const next = moments.sort((a, b) => a.atMs - b.atMs)[0]
    if (next === undefined) return
    this.#cancelExpiry = this.#manager.schedule(
      () => {
        for (const { identity, atMs, words } of moments) {
          if (now() < atMs) continue
          log.warning(`the certificate of ${identity} ${words}, and ${this.#source.name} has not delivered a new one`)
        }
        this.#watchExpiry()
      },
      Math.min(LONGEST_SLEEP_MS, Math.ceil(next.atMs - nowMs)),
    )
  }

  #absence(identity: string): string {
    const names = [...this.#held.keys()]
    return `${this.#source.name} delivered ${names.length === 0 ? 'no certificate' : names.join(', ')}${identity === '' ? '' : ', and not this one'}`
  }

  /** A clause when it cannot be used. */
  #check(
    { certificateChainPem, privateKeyPem: keyPem }: DeliveredCertificate,
    bundles: readonly TrustBundle[],
  ): Published | string {
    const { trustDomain, now } = this.#manager.options
    let key: KeyObject
    try {
      key = createPrivateKey(keyPem)
    } catch {
      return `${this.#source.name}: a private key cannot be read`
    }
    const rootsPem = bundles.find((b) => b.trustDomain === trustDomain)?.rootsPem ?? []
    const checked = checkCertificate({ certificateChainPem, key, rootsPem, expectedIdentity: null, trustDomain, nowMs: now() })
    if (!checked.ok) return `${this.#source.name}: ${checked.error}`
    return { ...checked.certificate, privateKeyPem: privateKeyPem(key) }
  }
}

function isSame(a: Published, b: Published | undefined): boolean {
  return b !== undefined && a.certificateChainPem === b.certificateChainPem && a.privateKeyPem === b.privateKeyPem
}

/** '' when there is none that can be read. */
function identityIn(chainPem: string): string {
  const parsed = parseSpiffeId(certificatesOfPem(chainPem)?.[0]?.facts.uris[0] ?? '')
  return parsed.ok ? spiffeIdText(parsed.id) : ''
}

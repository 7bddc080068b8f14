// The source `dev-ca`: our own CA in this process, for laptops and tests.
import type { CertificateAuthority } from './certificate-authority.ts'
import { type SignedCertificate, type SigningRequest, type SigningSource, SourceError } from './certificate-source.ts'
import { requestedKey } from './signing-request.ts'

export interface DevCaSourceOptions {
  readonly authority: CertificateAuthority
  /** For messages: where the CA comes from. */
  readonly name: string
  /** Epoch milliseconds. */
  readonly now: () => number
}

export class DevCaSource implements SigningSource {
  readonly kind: 'signs'
  readonly name: string
  readonly #options: DevCaSourceOptions

  constructor(options: DevCaSourceOptions) {
    this.kind = 'signs'
    this.name = options.name
    this.#options = options
  }

  async sign(request: SigningRequest): Promise<SignedCertificate> {
    const key = requestedKey(request.csrPem)
    if (key === null) throw new SourceError('invalid', `${this.name}: the signing request cannot be read`)
    const { authority, now } = this.#options
    return {
      certificateChainPem: authority.issue(request.identity, key, request.ttlMs, now()),
      rootsPem: [authority.material.rootPem],
    }
  }

  close(): void {}
}

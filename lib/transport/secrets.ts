// Certificates, keys and trust as a worker has them: plain data that comes as a message of its own, and is never part of a snapshot or a dump.
import type { IdentityMaterial, TrustStore } from '../identity/material.ts'
import { OWN_CERTIFICATE, type SecretName } from '../state/tls.ts'

/** A certificate with its key that is no SPIFFE identity, or roots that are not the mesh's: of gateways, and of DestinationRules that name files. */
export interface Credential {
  readonly name: SecretName
  /** Leaf first; empty: it has only roots. */
  readonly certificateChainPem: string
  readonly privateKeyPem: string
  readonly rootsPem: readonly string[]
}

/** All of it, replaced whole. */
export interface Secrets {
  /** Rises with each change. */
  readonly generation: number
  /** SPIFFE id of the workload; empty: it has none yet. */
  readonly own: string
  readonly identities: readonly IdentityMaterial[]
  readonly trust: TrustStore | null
  readonly credentials: readonly Credential[]
  /** 48 random bytes that all workers share, so that each resumes the sessions of the others; they change with the trust. */
  readonly ticketKeys: Uint8Array
}

export const NO_SECRETS: Secrets = {
  generation: 0,
  own: '',
  identities: [],
  trust: null,
  credentials: [],
  ticketKeys: new Uint8Array(48),
}

export interface KeyPair {
  readonly certificateChainPem: string
  readonly privateKeyPem: string
  /** SPIFFE id; empty: it is none. */
  readonly identity: string
}

/** The certificate of a name; null: it is not there (yet). */
export function keyPairOf(secrets: Secrets, name: SecretName): KeyPair | null {
  const wanted = name === OWN_CERTIFICATE ? secrets.own : name
  const own = wanted === '' ? undefined : secrets.identities.find((i) => i.identity === wanted)
  if (own !== undefined) return own
  const credential = secrets.credentials.find((c) => c.name === name && c.certificateChainPem !== '')
  return credential === undefined ? null : { ...credential, identity: '' }
}

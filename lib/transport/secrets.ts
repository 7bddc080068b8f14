// Certificates, keys and trust as a worker has them: plain data that comes as a message of its own, and is never part of a snapshot or a dump.
import type { IdentityMaterial, TrustStore } from '../identity/material.ts'
import { MESH_TRUST, OWN_CERTIFICATE, type SecretName } from '../state/tls.ts'

/** A certificate with its key that is no SPIFFE identity, or roots that are not the mesh's: of gateways, and of DestinationRules that name files. */
export interface Credential {
  readonly name: SecretName
  /** Leaf first; empty: it has only roots. */
  readonly certificateChainPem: string
  readonly privateKeyPem: string
  readonly rootsPem: readonly string[]
  /** Revocation lists of these roots and what is below them; empty: nobody is asked. */
  readonly crlPem: string
}

/** All of it, replaced whole. */
export interface Secrets {
  /** Rises with each change. */
  readonly generation: number
  /** SPIFFE id of the workload; empty: it has none yet. */
  readonly own: string
  readonly identities: readonly IdentityMaterial[]
  readonly trust: TrustStore | null
  /** Revocation lists of the mesh's CAs, PEM; empty: nobody is asked. */
  readonly revokedPem: string
  readonly credentials: readonly Credential[]
  /** 48 random bytes that all workers share, so that each resumes the sessions of the others; they change with the trust. */
  readonly ticketKeys: Uint8Array
}

/** Whether a text is PEM (RFC 7468 §6); what is in it OpenSSL reads. */
export function isRevocationList(pem: string): boolean {
  return /-----BEGIN X509 CRL-----[\s\S]+-----END X509 CRL-----/.test(pem)
}

export const NO_SECRETS: Secrets = {
  generation: 0,
  own: '',
  identities: [],
  trust: null,
  revokedPem: '',
  credentials: [],
  ticketKeys: new Uint8Array(48),
}

/** What peers are verified by. */
export interface TrustMaterial {
  /** PEM. */
  readonly roots: readonly string[]
  /** PEM; empty: revocation is not looked at. */
  readonly crl: string
}

/** What a trust stands for; null: it is not there. */
export function trustMaterialOf(secrets: Secrets, trust: SecretName): TrustMaterial | null {
  if (trust === '') return { roots: [], crl: '' }
  if (trust !== MESH_TRUST) {
    const credential = secrets.credentials.find((c) => c.name === trust && c.rootsPem.length > 0)
    return credential === undefined ? null : { roots: credential.rootsPem, crl: credential.crlPem }
  }
  const roots = secrets.trust?.bundles.flatMap((b) => b.rootsPem) ?? []
  return roots.length === 0 ? null : { roots, crl: secrets.revokedPem }
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

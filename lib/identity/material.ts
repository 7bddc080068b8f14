// The nouns of identity: what the main thread obtains, and sends to the workers as a message. Plain data that can be cloned; never
// part of a dump, a log line or a crash report, because of the private key.

/** One identity's certificate, its key and its life. Replaced whole: a handshake sees one generation of all three. */
export interface IdentityMaterial {
  /** `spiffe://…`, canonical. */
  readonly identity: string
  /** Leaf first, then the intermediates in order. Roots are in the TrustStore. */
  readonly certificateChainPem: string
  /** PKCS#8. */
  readonly privateKeyPem: string
  /** Of the leaf, epoch milliseconds. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Rises with each renewal, over all identities of the process. */
  readonly generation: number
}

/** Stands for all trust domains that have no bundle of their own: of a mesh that says which roots hold in it, and not for whom. */
export const OTHER_TRUST_DOMAINS = '*'

/** The roots of one trust domain. Roots of two trust domains are never put together (SPIFFE_Trust_Domain_and_Bundle.md §5.3). */
export interface TrustBundle {
  readonly trustDomain: string
  /** One certificate in each. Empty: every certificate of this trust domain is invalid. */
  readonly rootsPem: readonly string[]
}

/** Whose certificates are believed. */
export interface TrustStore {
  /** Our own, in lower case. */
  readonly trustDomain: string
  /** Names for the same authority (Istio trustDomainAliases): certificates with these are checked with the roots of `trustDomain`. */
  readonly aliases: readonly string[]
  /** At most one for each trust domain. That of `trustDomain` is missing until a source has given it. */
  readonly bundles: readonly TrustBundle[]
  /** Rises with each change. */
  readonly generation: number
}

/** The roots that decide about certificates of `trustDomain`, or null when it is foreign. */
export function bundleFor(store: TrustStore, trustDomain: string): TrustBundle | null {
  const own = store.bundles.find((b) => b.trustDomain === trustDomain)
  if (own !== undefined) return own
  const owner = trustDomain === store.trustDomain || store.aliases.includes(trustDomain) ? store.trustDomain : OTHER_TRUST_DOMAINS
  return store.bundles.find((b) => b.trustDomain === owner) ?? null
}

/** Trust domains whose peers are let in: our own, its aliases, and those with roots. */
export function trustedDomains(store: TrustStore): readonly string[] {
  return [...new Set([store.trustDomain, ...store.aliases, ...store.bundles.map((b) => b.trustDomain)])]
}

/**
 * What a worker is told. It is applied whole between two events: a handshake sees certificates, keys and roots that belong together, and
 * connections that are open stay so. A new worker gets one with everything.
 */
export interface IdentityUpdate {
  /** The workload's own identity; '' while there is none. */
  readonly own: string
  /** New and renewed ones. */
  readonly materials: readonly IdentityMaterial[]
  /** Identities whose material is to be forgotten. */
  readonly withdrawn: readonly string[]
  /** Null: unchanged. */
  readonly trust: TrustStore | null
}

import type { Snapshot } from './snapshot.ts'
import type { SecretName } from './tls.ts'

/** All secrets that a snapshot names, each once: what the main thread has to provide. */
export function secretNames(snapshot: Snapshot): SecretName[] {
  const names = new Set<SecretName>()
  for (const { filterChains, defaultFilterChain } of snapshot.listeners) {
    for (const { tls } of defaultFilterChain === null ? filterChains : [...filterChains, defaultFilterChain]) {
      if (tls !== null) names.add(tls.certificate).add(tls.trust)
    }
  }
  for (const { tls } of snapshot.clusters) if (tls !== null) names.add(tls.certificate).add(tls.trust)
  names.delete('')
  return [...names]
}

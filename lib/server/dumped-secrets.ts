// Certificates and roots as `/config_dump` shows them, by the names that Istio's SDS has for them: never a key.
import type { DumpedSecret } from '../admin/dumped-config.ts'
import { MESH_TRUST, OWN_CERTIFICATE } from '../state/tls.ts'
import type { Secrets } from '../transport/secrets.ts'

export function dumpedSecrets({ own, identities, trust, credentials, generation }: Secrets): DumpedSecret[] {
  const roots = trust?.bundles.flatMap((bundle) => bundle.rootsPem) ?? []
  const none = { version: String(generation), updatedMs: 0, chainPem: '', rootsPem: [] }
  return [
    ...identities.map(({ identity, certificateChainPem, notBeforeMs, generation: of }) => ({
      ...none,
      name: identity === own ? OWN_CERTIFICATE : identity,
      version: String(of),
      updatedMs: notBeforeMs,
      chainPem: certificateChainPem,
    })),
    ...(roots.length === 0 ? [] : [{ ...none, name: MESH_TRUST, version: String(trust?.generation ?? 0), rootsPem: roots }]),
    ...credentials.map(({ name, certificateChainPem, rootsPem }) => ({ ...none, name, chainPem: certificateChainPem, rootsPem })),
  ]
}

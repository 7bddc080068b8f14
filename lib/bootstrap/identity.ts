// The section `identity` as the rest of heddle has it, and what its schema cannot see.
import { resolve } from 'node:path'
import { parseSpiffeId, parseTrustDomain, spiffeIdText } from '../identity/spiffe-id.ts'
import type { IdentityConfig } from '../state/bootstrap-config.ts'
import { at, isMapping, type Report } from './check.ts'
import type { IdentityDocument } from './schema.ts'

type Environment = Readonly<Record<string, string | undefined>>

export function checkIdentity(root: Readonly<Record<string, unknown>>, env: Environment, report: Report): void {
  const { identity } = root
  if (!isMapping(identity)) return
  const { source, trustDomain = 'cluster.local', spiffeId } = identity
  if (typeof spiffeId === 'string' && /^spiffe:/i.test(spiffeId)) {
    const parsed = parseSpiffeId(spiffeId)
    const own = typeof trustDomain === 'string' ? parseTrustDomain(trustDomain) : null
    if (!parsed.ok) report(['identity', 'spiffeId'], 'value', parsed.error)
    else if (parsed.id.path === '') report(['identity', 'spiffeId'], 'value', `${spiffeId} names a trust domain, not a workload`)
    else if (own?.ok === true && own.name !== parsed.id.trustDomain)
      report(['identity', 'spiffeId'], 'value', `${spiffeId} is not of \`identity.trustDomain\`, which is ${own.name}`)
  }
  if (source === 'workload-api' && (at(identity, ['workloadApi', 'socket']) ?? '') === '' && !env['SPIFFE_ENDPOINT_SOCKET']) {
    const message =
      'the Workload API needs `socket`, such as `socket: "unix:///run/spire/agent.sock"`, or SPIFFE_ENDPOINT_SOCKET in the environment'
    report(['identity', 'workloadApi'], 'value', message)
  }
  const certificate = at(identity, ['istioCa', 'clientCertificate']) ?? ''
  const key = at(identity, ['istioCa', 'clientKey']) ?? ''
  if ((certificate === '') !== (key === ''))
    report(['identity', 'istioCa'], 'value', '`clientCertificate` and `clientKey` are given together, or neither')
}

/** `d` has passed the schema and `checkIdentity`. */
export function identityConfig(d: IdentityDocument): IdentityConfig {
  const { certificateTtl, spiffeId, bundles, ...rest } = d
  const parsed = parseSpiffeId(spiffeId)
  return {
    ...rest,
    spiffeId: parsed.ok ? spiffeIdText(parsed.id) : '',
    certificateTtlMs: certificateTtl,
    // Of the environment they are relative to the working directory.
    bundles: bundles.map((b) => ({ ...b, file: resolve(b.file) })),
  }
}

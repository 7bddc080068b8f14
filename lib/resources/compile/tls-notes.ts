// What a DestinationRule says about TLS and does not get, and where it cannot come to a connection.
import { originText } from '../../state/origin.ts'
import type { ResourceNote } from '../../state/snapshot.ts'
import type { Path } from '../finding.ts'
import type { ResourceObject } from '../resource-object.ts'
import type { ClientTlsSpec } from '../schema/destination-rule.ts'
import type { Backend } from './backends.ts'
import type { EffectiveRule } from './destination-rules.ts'
import { hasLabels } from './host-names.ts'
import type { MeshMtls } from './mesh-mtls.ts'
import type { Registry, RegistryService } from './registry.ts'
import { policyFor } from './traffic-policy.ts'
import { usesCredential } from './upstream-tls.ts'
import type { World } from './world.ts'

/** Parts without effect. `path`: of the block. */
export function noteClientTls(
  world: World,
  rule: ResourceObject<'DestinationRule'>,
  tls: ClientTlsSpec | undefined,
  path: Path,
): void {
  if (tls === undefined) return
  const note = (field: string, reason: string): void => world.verdicts.partly(rule, [...path, field], reason, true)
  const mode = tls.mode ?? 'DISABLE'
  if (mode === 'ISTIO_MUTUAL' && !world.meshIdentity)
    note('mode', 'this workload has no certificate to show (`identity` of heddle.yaml): connections to the destination fail')
  if (mode !== 'SIMPLE' && mode !== 'MUTUAL') return
  const { caCertificates = '', caCrl = '' } = tls
  if (caCrl !== '' && (usesCredential(world, tls, rule) || caCertificates === '' || caCertificates === 'system'))
    note(
      'caCrl',
      'goes with `caCertificates`, which are not used here: revoked certificates are believed; of a Secret the list is its entry `ca.crl`',
    )
  if ((tls.credentialName ?? '') === '') return
  if (!usesCredential(world, tls, rule))
    note(
      'credentialName',
      'has no effect on a sidecar, unless the rule has a workloadSelector (Istio): give the files by their paths',
    )
}

/** Connections that the endpoints are going to refuse, by what is known of their policies. One note for each block and reason. */
export function tlsMismatches(
  world: World,
  mtls: MeshMtls,
  registry: Registry,
  rules: ReadonlyMap<string, EffectiveRule>,
): ResourceNote[] {
  const notes = new Map<string, ResourceNote>()
  for (const service of registry.values()) {
    const rule = rules.get(service.hostname)
    if (rule === undefined) continue
    for (const port of service.ports) {
      for (const subset of [null, ...rule.subsets]) {
        const tls = policyFor(rule, subset, port.number).tls
        const mode = tls?.spec.mode ?? 'DISABLE'
        const backends = port.backends.filter((b) => hasLabels(b.labels, subset?.spec.labels ?? {}))
        const found = tls === null ? null : mismatch(mtls, mode, backends)
        if (tls === null || found === null) continue
        const message = `${mode} to ${service.hostname}:${port.number}: ${found}`
        const { kind, namespace, name, file, line, column } = tls.origin
        const key = `${file}:${line}:${column} ${found}`
        if (!notes.has(key)) notes.set(key, { kind, namespace, name, route: '', message, file, line, column })
      }
    }
  }
  if (!world.meshIdentity) for (const service of registry.values()) noteStrict(mtls, service, rules.get(service.hostname), notes)
  return [...notes.values()]
}

function mismatch(mtls: MeshMtls, mode: string, backends: readonly Backend[]): string | null {
  if (mode === 'DISABLE') return onlyMutual(mtls, backends)
  if (mode !== 'ISTIO_MUTUAL') return null
  const without = backends.filter((b) => !b.hasSidecar)
  if (without.length > 0)
    return `${who(without, 'has', 'have')} no sidecar (label security.istio.io/tlsMode: istio): handshakes fail`
  const disabled = backends.filter((b) => mtls.ruleFor(b).mode === 'DISABLE')
  if (disabled.length === 0) return null
  const { setBy } = mtls.ruleFor(disabled[0] as Backend)
  return `${who(disabled, 'takes', 'take')} plaintext only, by ${originText(setBy)}: handshakes fail`
}

function onlyMutual(mtls: MeshMtls, backends: readonly Backend[]): string | null {
  const strict = backends.filter((b) => b.hasSidecar && mtls.ruleFor(b).mode === 'STRICT')
  if (strict.length === 0) return null
  const { setBy } = mtls.ruleFor(strict[0] as Backend)
  return `${who(strict, 'takes', 'take')} mutual TLS only, by ${originText(setBy)}: connections in plaintext are closed`
}

/** One for each PeerAuthentication. */
function noteStrict(
  mtls: MeshMtls,
  service: RegistryService,
  rule: EffectiveRule | undefined,
  notes: Map<string, ResourceNote>,
): void {
  if (rule?.policy?.tls !== undefined) return
  for (const port of service.ports) {
    const found = onlyMutual(mtls, port.backends)
    const strict = port.backends.find((b) => b.hasSidecar && mtls.ruleFor(b).mode === 'STRICT')
    if (found === null || strict === undefined) continue
    const { kind, namespace, name, file, line, column } = mtls.ruleFor(strict).setBy
    const message = `this workload has no identity (\`identity\` of heddle.yaml); of ${service.hostname}:${port.number} ${found}`
    const key = `${file}:${line}:${column}`
    if (!notes.has(key)) notes.set(key, { kind, namespace, name, route: '', message, file, line, column })
  }
}

/** `10.0.0.1:80 takes`, `10.0.0.1:80 and 2 more take`. */
function who(backends: readonly Backend[], one: string, several: string): string {
  const [first] = backends as [Backend]
  const more = backends.length - 1
  return more === 0 ? `${first.address}:${first.port} ${one}` : `${first.address}:${first.port} and ${more} more ${several}`
}

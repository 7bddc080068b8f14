// How the endpoints of a cluster are spoken to: as a DestinationRule says, else by mutual TLS of the mesh with those that take it (istiod
// cluster_tls).
import { workloadIdentityText } from '../../identity/spiffe-id.ts'
import { BUILT_IN } from '../../state/origin.ts'
import { MESH_TRUST, OWN_CERTIFICATE, type SecretName, SYSTEM_TRUST, type TlsReason, type UpstreamTls } from '../../state/tls.ts'
import type { ClientTlsSpec } from '../schema/destination-rule.ts'
import type { Backend } from './backends.ts'
import type { MeshMtls } from './mesh-mtls.ts'
import type { RegistryPort, RegistryService } from './registry.ts'
import type { RuleTls } from './traffic-policy.ts'
import type { World } from './world.ts'

/** Nobody has asked for any. */
export const NO_TLS: TlsReason = { why: 'off', origin: BUILT_IN }

const AUTOMATIC: TlsReason = { why: 'automatic', origin: BUILT_IN }
const NO_SIDECAR: TlsReason = { why: 'no-sidecar', origin: BUILT_IN }
const EXTERNAL: TlsReason = { why: 'external', origin: BUILT_IN }

export interface ClusterTls {
  readonly tls: UpstreamTls | null
  readonly reason: TlsReason
  /** Of one endpoint; null: as the cluster's. */
  readonly of: (backend: Backend) => { readonly tls: boolean; readonly reason: TlsReason | null }
}

export interface TlsQuestion {
  readonly world: World
  readonly mtls: MeshMtls
  readonly service: RegistryService
  readonly port: RegistryPort
  readonly subset: string
  readonly rule: RuleTls | null
  /** This proxy is its waypoint: what has to be encrypted goes through tunnels (istiod, for inbound-vip). */
  readonly behindUs: boolean
  /** The client dials the endpoint: it is not known which it is. */
  readonly dialled: boolean
}

export function clusterTls(question: TlsQuestion): ClusterTls {
  const { world, service, rule, dialled } = question
  if (rule !== null) {
    const tls = ruleTls(question, rule)
    return { tls, reason: { why: 'rule', origin: rule.origin }, of: () => ({ tls: tls !== null, reason: null }) }
  }
  if (question.behindUs || !world.meshIdentity || world.bootstrap.mesh.autoMtls === 'off') return plaintext(NO_TLS)
  if (isExternal(service)) return plaintext(EXTERNAL)
  if (dialled) return forAll(question)
  const of = reasons(question.mtls)
  return {
    tls: meshTls(question, {}),
    reason: AUTOMATIC,
    of: (backend) => {
      const reason = of(backend)
      return { tls: reason.why === 'automatic', reason }
    },
  }
}

function plaintext(reason: TlsReason): ClusterTls {
  return { tls: null, reason, of: () => ({ tls: false, reason: null }) }
}

/** One that does not take mutual TLS decides for all, and so does there being none. */
function forAll(question: TlsQuestion): ClusterTls {
  const of = reasons(question.mtls)
  const all = question.port.backends.map(of)
  const against = all.find((reason) => reason.why !== 'automatic') ?? (all.length === 0 ? NO_SIDECAR : null)
  if (against !== null) return plaintext(against)
  const reason = all[0] ?? AUTOMATIC
  return { tls: meshTls(question, {}), reason, of: () => ({ tls: true, reason: null }) }
}

function reasons(mtls: MeshMtls): (backend: Backend) => TlsReason {
  const made = new Map<object, TlsReason>()
  return (backend) => {
    if (!backend.hasSidecar) return NO_SIDECAR
    const rule = mtls.ruleFor(backend)
    const known = made.get(rule)
    if (known !== undefined) return known
    const reason: TlsReason = { why: rule.mode === 'DISABLE' ? 'disabled' : 'automatic', origin: rule.setBy }
    made.set(rule, reason)
    return reason
  }
}

/** Of an ExternalName, and of a ServiceEntry that does not say that it is of the mesh. */
export function isExternal({ object }: RegistryService): boolean {
  if (object.kind === 'Service') return object.spec.type === 'ExternalName'
  return object.spec.location !== 'MESH_INTERNAL'
}

/** null: plaintext. */
function ruleTls(question: TlsQuestion, { spec, object }: RuleTls): UpstreamTls | null {
  // The proto's zero value.
  const mode = spec.mode ?? 'DISABLE'
  if (mode === 'DISABLE') return null
  if (mode === 'ISTIO_MUTUAL') return meshTls(question, spec)
  const { service } = question
  const sni = spec.sni ?? ''
  const written = spec.subjectAltNames ?? []
  // Only Istio's own registry of external services knows their names.
  const subjectAltNames = written.length > 0 || service.object.kind !== 'ServiceEntry' ? written : identitiesOf(question)
  const secret = credentialOf(question.world, spec, object)
  return {
    certificate: mode === 'MUTUAL' ? secret.certificate : '',
    trust: spec.insecureSkipVerify === true ? '' : secret.trust,
    sni,
    autoSni: sni === '',
    subjectAltNames,
    subjectAltNamePrefixes: [],
    alpn: [],
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    curves: [],
  }
}

/** A sidecar takes a Kubernetes Secret only by a rule that selects it (Istio credentialName). */
export function usesCredential(world: World, { credentialName }: ClientTlsSpec, object: RuleTls['object']): boolean {
  return (credentialName ?? '') !== '' && (world.bootstrap.role !== 'sidecar' || object.spec.workloadSelector !== undefined)
}

/** Name of roots in a file, with their revocation lists. */
export function rootFiles(roots: string, crl = ''): SecretName {
  return `file-root:${roots}${crl === '' ? '' : `~${crl}`}`
}

function credentialOf(world: World, spec: ClientTlsSpec, object: RuleTls['object']): { certificate: string; trust: string } {
  if (usesCredential(world, spec, object)) {
    const name = `kubernetes://${world.client.namespace}/${spec.credentialName}`
    return { certificate: name, trust: name }
  }
  const { caCertificates = '', caCrl = '', clientCertificate = '', privateKey = '' } = spec
  const trust = caCertificates === '' || caCertificates === 'system' ? SYSTEM_TRUST : rootFiles(caCertificates, caCrl)
  return { certificate: `file-cert:${clientCertificate}~${privateKey}`, trust }
}

/** Mutual TLS of the mesh: whoever answers must be one of the service's. */
function meshTls(
  question: TlsQuestion,
  { sni = '', subjectAltNames = [] }: Pick<ClientTlsSpec, 'sni' | 'subjectAltNames'>,
): UpstreamTls {
  const { world, service, port, subset } = question
  return {
    certificate: OWN_CERTIFICATE,
    trust: MESH_TRUST,
    sni: sni === '' ? `outbound_.${port.number}_.${subset}_.${service.hostname}` : sni,
    autoSni: false,
    subjectAltNames: subjectAltNames.length > 0 ? subjectAltNames : identitiesOf(question),
    subjectAltNamePrefixes: [],
    alpn: [],
    minVersion: world.bootstrap.mesh.minTlsVersion,
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    curves: [],
  }
}

/** SPIFFE ids of the accounts of all endpoints of the service, and what a ServiceEntry says beside. Sorted: the order of endpoints is nobody's. */
function identitiesOf({ world, service }: TlsQuestion): string[] {
  const identities = new Set<string>()
  for (const { backends } of service.ports) {
    for (const { namespace, serviceAccount } of backends)
      if (serviceAccount !== '') identities.add(workloadIdentityText(world.trustDomain, namespace, serviceAccount))
  }
  if (service.object.kind === 'ServiceEntry') for (const name of service.object.spec.subjectAltNames ?? []) identities.add(name)
  return [...identities].sort()
}

// Which kinds exist: those that are carried out, each with its schema, and those that people have in the same folder and
// that are not carried out, each with what that means for the traffic.
import type * as v from 'valibot'
import { didYouMean } from '../base/nearest.ts'
import type { Path } from './finding.ts'
import { type AuthorizationPolicySpec, authorizationPolicy } from './schema/authorization-policy.ts'
import { type DestinationRuleSpec, destinationRule } from './schema/destination-rule.ts'
import { type EndpointSliceSpec, endpointSlice } from './schema/endpoint-slice.ts'
import { anything, opt, strict, text } from './schema/fields.ts'
import { type GatewaySpec, gateway } from './schema/gateway.ts'
import {
  type GatewayClassSpec,
  type GrpcRouteSpec,
  gatewayClass,
  grpcRoute,
  type HttpRouteObjectSpec,
  httpRoute,
  type ReferenceGrantSpec,
  referenceGrant,
  type TcpRouteSpec,
  type TlsRouteSpec,
  tcpRoute,
  tlsRoute,
} from './schema/gateway-api-fields.ts'
import { type KubernetesGatewaySpec, kubernetesGateway } from './schema/kubernetes-gateway.ts'
import { metadata } from './schema/metadata.ts'
import { namespace } from './schema/namespace.ts'
import { type PeerAuthenticationSpec, peerAuthentication } from './schema/peer-authentication.ts'
import { type PodSpec, podSpec, podStatus } from './schema/pod.ts'
import { type RequestAuthenticationSpec, requestAuthentication } from './schema/request-authentication.ts'
import { type SecretSpec, secret } from './schema/secret.ts'
import { type ServiceSpec, service } from './schema/service.ts'
import { type ServiceEntrySpec, serviceEntry } from './schema/service-entry.ts'
import { type SidecarSpec, sidecar } from './schema/sidecar.ts'
import { type VirtualServiceSpec, virtualService } from './schema/virtual-service.ts'
import { type WorkloadEntrySpec, workloadEntry } from './schema/workload-entry.ts'
import { type WorkloadGroupSpec, workloadGroup } from './schema/workload-group.ts'

/** The part of an object that is its own: `spec`, or the whole object where Kubernetes puts fields beside the metadata. */
export interface KindSpecs {
  VirtualService: VirtualServiceSpec
  DestinationRule: DestinationRuleSpec
  ServiceEntry: ServiceEntrySpec
  WorkloadEntry: WorkloadEntrySpec
  WorkloadGroup: WorkloadGroupSpec
  Sidecar: SidecarSpec
  Gateway: GatewaySpec
  PeerAuthentication: PeerAuthenticationSpec
  AuthorizationPolicy: AuthorizationPolicySpec
  RequestAuthentication: RequestAuthenticationSpec
  Service: ServiceSpec
  EndpointSlice: EndpointSliceSpec
  Pod: PodSpec
  Secret: SecretSpec
  Namespace: unknown
  /** `Gateway` of the Gateway API: the name by which Istio tells the two apart. */
  KubernetesGateway: KubernetesGatewaySpec
  GatewayClass: GatewayClassSpec
  HTTPRoute: HttpRouteObjectSpec
  GRPCRoute: GrpcRouteSpec
  TLSRoute: TlsRouteSpec
  TCPRoute: TcpRouteSpec
  ReferenceGrant: ReferenceGrantSpec
}

export type Kind = keyof KindSpecs

export interface KindDefinition {
  readonly kind: Kind
  /** As objects have it, where it is not `kind`. */
  readonly written?: string
  readonly group: string
  readonly versions: readonly string[]
  readonly schema: v.GenericSchema
  /** Path of what KindSpecs names: `['spec']`, or empty. */
  readonly specPath: Path
  readonly namespaced: boolean
}

const ISTIO = 'networking.istio.io'
const SECURITY = 'security.istio.io'
const GATEWAY_API = 'gateway.networking.k8s.io'
const ISTIO_VERSIONS = ['v1', 'v1beta1', 'v1alpha3'] as const

function head<E extends v.ObjectEntries>(entries: E) {
  return strict({ apiVersion: text, kind: text, metadata, ...entries })
}

function istio(kind: Kind, spec: v.GenericSchema): KindDefinition {
  const schema = head({ spec, status: opt(anything) })
  return { kind, group: ISTIO, versions: ISTIO_VERSIONS, schema, specPath: ['spec'], namespaced: true }
}

function security(kind: Kind, spec: v.GenericSchema): KindDefinition {
  const schema = head({ spec, status: opt(anything) })
  return { kind, group: SECURITY, versions: ['v1', 'v1beta1'], schema, specPath: ['spec'], namespaced: true }
}

function gatewayApi(kind: Kind, spec: v.GenericSchema, versions: readonly string[], written: string = kind): KindDefinition {
  const schema = head({ spec, status: opt(anything) })
  return { kind, written, group: GATEWAY_API, versions, schema, specPath: ['spec'], namespaced: kind !== 'GatewayClass' }
}

export const KINDS: readonly KindDefinition[] = [
  istio('VirtualService', virtualService),
  istio('DestinationRule', destinationRule),
  istio('ServiceEntry', serviceEntry),
  istio('WorkloadEntry', workloadEntry),
  istio('WorkloadGroup', workloadGroup),
  istio('Sidecar', sidecar),
  istio('Gateway', gateway),
  security('PeerAuthentication', peerAuthentication),
  security('AuthorizationPolicy', authorizationPolicy),
  security('RequestAuthentication', requestAuthentication),
  {
    kind: 'Service',
    group: '',
    versions: ['v1'],
    schema: head({ spec: service, status: opt(anything) }),
    specPath: ['spec'],
    namespaced: true,
  },
  {
    kind: 'EndpointSlice',
    group: 'discovery.k8s.io',
    versions: ['v1'],
    schema: head(endpointSlice),
    specPath: [],
    namespaced: true,
  },
  {
    kind: 'Pod',
    group: '',
    versions: ['v1'],
    schema: head({ spec: opt(podSpec), status: opt(podStatus) }),
    specPath: [],
    namespaced: true,
  },
  { kind: 'Secret', group: '', versions: ['v1'], schema: head(secret), specPath: [], namespaced: true },
  {
    kind: 'Namespace',
    group: '',
    versions: ['v1'],
    schema: head({ spec: opt(namespace), status: opt(anything) }),
    specPath: [],
    namespaced: false,
  },
  gatewayApi('GatewayClass', gatewayClass, ['v1', 'v1beta1', 'v1alpha2']),
  gatewayApi('KubernetesGateway', kubernetesGateway, ['v1', 'v1beta1', 'v1alpha2'], 'Gateway'),
  gatewayApi('HTTPRoute', httpRoute, ['v1', 'v1beta1', 'v1alpha2']),
  gatewayApi('GRPCRoute', grpcRoute, ['v1', 'v1alpha2']),
  gatewayApi('TLSRoute', tlsRoute, ['v1', 'v1alpha3', 'v1alpha2']),
  gatewayApi('TCPRoute', tcpRoute, ['v1', 'v1alpha2']),
  gatewayApi('ReferenceGrant', referenceGrant, ['v1', 'v1beta1', 'v1alpha2']),
]

/** What objects of a kind call themselves. */
export function writtenKind(kind: string): string {
  return KINDS.find((k) => k.kind === kind)?.written ?? kind
}

/** The kind that an apiVersion and a written kind mean. */
export function kindOf(apiVersion: string, written: string): string {
  const group = groupOf(apiVersion)
  return KINDS.find((k) => k.group === group && (k.written ?? k.kind) === written)?.kind ?? written
}

function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/')
  return slash < 0 ? '' : apiVersion.slice(0, slash)
}

const NOT_YET = 'is valid to have here, but heddle does not carry it out yet: it has no effect'
/** The reason of a security policy that waits. Whoever relies on one must hear it, also from the log of a running proxy. */
export const UNENFORCED =
  'NOT ENFORCED: heddle does not carry out this security policy yet; traffic that it would deny or require identity for is let through'

/** Kinds that later versions carry out, by group. The security ones say loudly that they are ignored. */
const LATER: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'networking.istio.io': {
    ProxyConfig: NOT_YET,
    EnvoyFilter: 'patches an Envoy and means nothing to heddle: it has no effect',
  },
  'telemetry.istio.io': { Telemetry: NOT_YET },
  'extensions.istio.io': { WasmPlugin: NOT_YET },
  'gateway.networking.k8s.io': {
    UDPRoute: NOT_YET,
    BackendTLSPolicy:
      'NOT ENFORCED: heddle does not carry out this policy yet; its backends are spoken to without the TLS that it asks for',
  },
  'policy.linkerd.io': {
    Server: UNENFORCED,
    ServerAuthorization: UNENFORCED,
    AuthorizationPolicy: UNENFORCED,
    MeshTLSAuthentication: UNENFORCED,
    NetworkAuthentication: UNENFORCED,
    HTTPRoute: NOT_YET,
  },
  'linkerd.io': { ServiceProfile: NOT_YET },
  'split.smi-spec.io': { TrafficSplit: NOT_YET },
}

/** What an apiVersion and a kind stand for. `unused`: nothing that a proxy would read. */
export type KindLookup =
  | { readonly found: 'carried-out'; readonly definition: KindDefinition }
  | { readonly found: 'later' | 'unused' | 'wrong'; readonly reason: string; readonly onKind: boolean }

export function lookUpKind(apiVersion: string, kind: string): KindLookup {
  const group = groupOf(apiVersion)
  const version = apiVersion.slice(apiVersion.indexOf('/') + 1)
  const definition = KINDS.find((k) => (k.written ?? k.kind) === kind && k.group === group)
  if (definition !== undefined) {
    if (definition.versions.includes(version)) return { found: 'carried-out', definition }
    const expected = definition.versions.map((x) => (group === '' ? x : `${group}/${x}`)).join(', ')
    return { found: 'wrong', reason: `unknown version \`${apiVersion}\` of ${kind}; expected ${expected}`, onKind: false }
  }
  const later = LATER[group]?.[kind]
  if (later !== undefined) return { found: 'later', reason: later === NOT_YET ? `${kind} ${NOT_YET}` : later, onKind: true }
  return unknownKind(group, apiVersion, kind)
}

function unknownKind(group: string, apiVersion: string, kind: string): KindLookup {
  const sameName = KINDS.find((k) => (k.written ?? k.kind) === kind)
  // `v1` is no group of its own that could have a VirtualService; a foreign group may well have a Service.
  if (sameName !== undefined && (group === '' || didYouMean(group, [sameName.group]) !== '')) {
    const version = sameName.versions[0] ?? 'v1'
    const expected = sameName.group === '' ? version : `${sameName.group}/${version}`
    return { found: 'wrong', reason: `${kind} belongs to apiVersion \`${expected}\`, found \`${apiVersion}\``, onKind: false }
  }
  const inGroup = [...KINDS.filter((k) => k.group === group).map((k) => k.written ?? k.kind), ...Object.keys(LATER[group] ?? {})]
  const guess = didYouMean(kind, inGroup)
  if (guess !== '' || group === ISTIO || LATER[group] !== undefined) {
    const known = guess === '' ? `; known in ${group}: ${inGroup.join(', ')}` : guess
    return { found: 'wrong', reason: `unknown kind \`${kind}\`${known}`, onKind: true }
  }
  const read = [...new Set(KINDS.map((k) => k.written ?? k.kind))].join(', ')
  return { found: 'unused', reason: `not used by this role: heddle reads ${read}`, onKind: true }
}

// What the compiler works on: the valid objects by kind, and whose view of them is asked for.
import type { BootstrapConfig } from '../../state/bootstrap-config.ts'
import type { Kind } from '../kinds.ts'
import type { ResourceObject } from '../resource-object.ts'
import { RequestAuthentications } from './authentication/request-authentications.ts'
import { Authorizations } from './authorization/authorizations.ts'
import { type Derived, deriveFromGatewayApi } from './gateway-api/derive.ts'
import { defaultRetries } from './retry-policy.ts'
import { SidecarScope } from './sidecar-scope.ts'
import type { Verdicts } from './verdicts.ts'

/** The workload that this proxy serves. */
export interface Client {
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
  /** Who asks is others, of whom configuration knows nothing: what is only for some clients is for nobody. */
  readonly unknown: boolean
}

export class World {
  readonly bootstrap: BootstrapConfig
  readonly client: Client
  /** A waypoint. */
  readonly servesOthers: boolean
  /** `cluster.local`. */
  readonly domain: string
  readonly rootNamespace: string
  /** Of services with a single port: a gateway takes it for a destination that names none. */
  readonly onlyPorts: Map<string, number>
  /** Whether Gateways are carried out. */
  readonly isGateway: boolean
  /** Whether somebody asks for services of the mesh by their names, as a workload does. */
  readonly servesMesh: boolean
  /** Whether what the application dials is led here, and what dials it. */
  readonly capturesOutbound: boolean
  readonly capturesInbound: boolean
  /** Whether the workload has a certificate of the mesh. */
  readonly meshIdentity: boolean
  readonly trustDomain: string
  readonly verdicts: Verdicts
  /** What the workload's Sidecar lets it see. */
  readonly scope: SidecarScope
  /** Whose tokens chains believe. */
  readonly authentications: RequestAuthentications
  /** What AuthorizationPolicies make of chains. */
  readonly authorizations: Authorizations
  /** The policy of routes without `retries`. */
  readonly defaultRetry: ReturnType<typeof defaultRetries>
  /** What objects of the Gateway API come to. */
  readonly gatewayApi: Derived
  private readonly byKind: Map<Kind, ResourceObject[]>

  constructor(bootstrap: BootstrapConfig, objects: readonly ResourceObject[], verdicts: Verdicts) {
    this.bootstrap = bootstrap
    this.servesOthers = bootstrap.role === 'waypoint'
    this.client = { namespace: bootstrap.workload.namespace, labels: bootstrap.workload.labels, unknown: this.servesOthers }
    this.domain = bootstrap.mesh.domain
    this.rootNamespace = bootstrap.mesh.rootNamespace
    this.onlyPorts = new Map()
    this.isGateway = bootstrap.role === 'gateway'
    this.servesMesh = !this.isGateway || bootstrap.listeners.some((l) => l.direction === 'outbound')
    const { mode, outboundPort, inboundPort } = bootstrap.capture
    this.capturesOutbound = mode !== 'none' && outboundPort !== 0
    this.capturesInbound = mode !== 'none' && inboundPort !== 0
    this.meshIdentity = bootstrap.identity.source !== 'none'
    this.trustDomain = bootstrap.identity.trustDomain
    this.verdicts = verdicts
    this.defaultRetry = defaultRetries(bootstrap.mesh)
    this.byKind = new Map()
    for (const object of objects) {
      const list = this.byKind.get(object.kind)
      if (list === undefined) this.byKind.set(object.kind, [object])
      else list.push(object)
    }
    for (const list of this.byKind.values()) list.sort(olderFirst)
    this.gatewayApi = deriveFromGatewayApi(this)
    this.#add('VirtualService', this.gatewayApi.virtualServices)
    this.#add('Gateway', this.gatewayApi.gateways)
    this.scope = new SidecarScope(this)
    this.authentications = new RequestAuthentications(this)
    this.authorizations = new Authorizations(this)
  }

  #add(kind: Kind, derived: readonly ResourceObject[]): void {
    if (derived.length > 0) this.byKind.set(kind, [...this.objects(kind), ...derived].sort(olderFirst))
  }

  /** Oldest first, then by name and namespace, as istiod orders them. */
  objects<K extends Kind>(kind: K): readonly ResourceObject<K>[] {
    return (this.byKind.get(kind) ?? []) as ResourceObject[] as ResourceObject<K>[]
  }
}

function olderFirst(a: ResourceObject, b: ResourceObject): number {
  if (a.createdMs !== b.createdMs) return a.createdMs < b.createdMs ? -1 : 1
  const x = `${a.name}.${a.namespace}`
  const y = `${b.name}.${b.namespace}`
  return x < y ? -1 : x > y ? 1 : 0
}

// Which endpoints are reached through a tunnel (HBONE): those whose connections a node's tunnel takes, and sidecars that say that they take it.
import { isIP } from 'node:net'
import { workloadIdentityText } from '../../identity/spiffe-id.ts'
import type { Endpoint, EndpointTunnel } from '../../state/cluster.ts'
import type { ResourceObject } from '../resource-object.ts'
import { type Backend, directBackends, type Workloads } from './backends.ts'
import { ownBaggage } from './own-baggage.ts'
import type { World } from './world.ts'

/** Of a pod or WorkloadEntry: `http` is HBONE (istiod model.SupportsTunnel). */
const TUNNEL = 'networking.istio.io/tunnel'
/** Of a pod or its namespace: `ambient`, `none`. */
const DATAPLANE_MODE = 'istio.io/dataplane-mode'
/** Istio's CNI agent writes it on pods that it has redirected. */
const REDIRECTION = 'ambient.istio.io/redirection'
const HBONE_PORT = 15_008

export class EndpointTunnels {
  readonly #world: World
  readonly #workloads: Workloads
  readonly #ambient: ReadonlySet<string>
  readonly #fields: string

  constructor(world: World, workloads: Workloads) {
    this.#world = world
    this.#workloads = workloads
    const namespaces = world.objects('Namespace').filter((n) => n.labels[DATAPLANE_MODE] === 'ambient')
    this.#ambient = new Set(namespaces.map((n) => n.name))
    this.#fields = ownBaggage(world.bootstrap)
  }

  /** null: it is dialled. A sidecar that takes the mesh's mutual TLS as well gets that, but from a waypoint (istiod preferHBONE). */
  of(backend: Backend): EndpointTunnel | null {
    const { meshIdentity, servesOthers } = this.#world
    if (!meshIdentity || isIP(backend.address) === 0 || (backend.hasSidecar && !servesOthers)) return null
    return this.#takes(backend) ? this.#to(backend.address, backend.namespace, backend.serviceAccount) : null
  }

  /** Of workloads that are dialled themselves: each of their addresses, of any port. */
  direct(objects: readonly (ResourceObject<'Pod'> | ResourceObject<'WorkloadEntry'>)[]): Endpoint[] {
    return objects.flatMap((object) =>
      directBackends(this.#workloads, object)
        .filter((b) => isIP(b.address) !== 0)
        .map((backend): Endpoint => {
          const { address, port, weight, locality, workload, origin } = backend
          const rest = { priority: 0, healthy: true, keepsSessions: true, healthCheck: null, tls: false, tlsReason: null, origin }
          return { address, otherAddresses: [], port, weight, locality, workload, tunnel: this.of(backend), ...rest }
        }),
    )
  }

  #to(address: string, namespace: string, serviceAccount: string): EndpointTunnel {
    const { trustDomain } = this.#world
    const identities = serviceAccount === '' ? [] : [workloadIdentityText(trustDomain, namespace, serviceAccount)]
    return { address, port: HBONE_PORT, identities, authority: '', fields: this.#fields, innerFields: null }
  }

  #takes({ address, labels, namespace, hasSidecar }: Backend): boolean {
    if ((labels[TUNNEL] ?? '').split(',').includes('http')) return true
    const pod = this.#workloads.pod('', '', address)
    if (pod?.annotations[REDIRECTION] === 'enabled') return true
    // Only pods are redirected, and not those that have a sidecar.
    return (
      pod !== undefined &&
      !hasSidecar &&
      (labels[DATAPLANE_MODE] ?? (this.#ambient.has(namespace) ? 'ambient' : '')) === 'ambient'
    )
  }
}

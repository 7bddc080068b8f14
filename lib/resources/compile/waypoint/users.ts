// Who goes through this waypoint: what names it by a label, of its own or of its namespace (Istio istio.io/use-waypoint).
import type { ResourceObject } from '../../resource-object.ts'
import type { Registry, RegistryService } from '../registry.ts'
import type { World } from '../world.ts'

export const USE_WAYPOINT = 'istio.io/use-waypoint'
const USE_WAYPOINT_NAMESPACE = 'istio.io/use-waypoint-namespace'
/** Set by Istio on the pods of gateways and waypoints. */
const GATEWAY_NAME = 'gateway.networking.k8s.io/gateway-name'
/** Who made a gateway's Service: of waypoints the controller of the mesh. */
const MANAGED = 'gateway.istio.io/managed'
const WAYPOINT_CONTROLLER = 'istio.io-mesh-controller'
const NONE = 'none'

type Workload = ResourceObject<'Pod'> | ResourceObject<'WorkloadEntry'>

export class WaypointUsers {
  readonly #world: World
  readonly #namespaces: ReadonlyMap<string, ResourceObject<'Namespace'>>

  constructor(world: World) {
    this.#world = world
    this.#namespaces = new Map(world.objects('Namespace').map((n) => [n.name, n]))
  }

  /** Those in front of which it stands, with all of their ports. */
  services(registry: Registry): RegistryService[] {
    if (this.#world.bootstrap.waypoint.serves === 'workload') return []
    // The Service of a waypoint is not itself reached through one.
    return [...registry.values()].filter(({ object }) => object.labels[MANAGED] !== WAYPOINT_CONTROLLER && this.#uses(object))
  }

  /** Those in front of which it stands when they themselves are dialled. */
  workloads(): Workload[] {
    const { serves } = this.#world.bootstrap.waypoint
    if (serves === 'service') return []
    const all = [...this.#world.objects('Pod'), ...this.#world.objects('WorkloadEntry')]
    // A proxy like this one is nobody's workload.
    return all.filter((o) => o.labels[GATEWAY_NAME] === undefined && this.#uses(o))
  }

  #uses(object: ResourceObject): boolean {
    const { services, name } = this.#world.bootstrap.waypoint
    const { namespace } = this.#world.client
    const labels = this.#labelsFor(object)
    const named = labels[USE_WAYPOINT]
    if (named === undefined) return services === 'namespace' && object.namespace === namespace
    return named === name && named !== NONE && (labels[USE_WAYPOINT_NAMESPACE] ?? object.namespace) === namespace
  }

  /** An object that says nothing is as its namespace. */
  #labelsFor(object: ResourceObject): Readonly<Record<string, string>> {
    if (object.labels[USE_WAYPOINT] !== undefined) return object.labels
    return this.#namespaces.get(object.namespace)?.labels ?? {}
  }
}

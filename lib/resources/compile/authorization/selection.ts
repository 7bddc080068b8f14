// Which AuthorizationPolicies and RequestAuthentications are for this proxy, or for a service behind it (istiod WorkloadPolicyMatcher).
import type { ResourceObject } from '../../resource-object.ts'
import { type PolicyTargetSpec, type TargetReference, targetsOf } from '../../schema/policy-target.ts'
import { hasLabels } from '../host-names.ts'
import type { RegistryService } from '../registry.ts'
import type { World } from '../world.ts'

/** Set by Istio on the pods of gateways and waypoints of the Gateway API. */
const GATEWAY_NAME = 'gateway.networking.k8s.io/gateway-name'
const WAYPOINT_CLASS = 'istio-waypoint'

type PolicyKind = 'AuthorizationPolicy' | 'RequestAuthentication'

/** Of the root namespace, of the proxy's, and of the service's; in this order, each oldest first. `service`: of a waypoint. */
export function selectPolicies<K extends PolicyKind>(
  world: World,
  service: RegistryService | null,
  kind: K,
): ResourceObject<K>[] {
  const namespaces = new Set([world.rootNamespace, world.client.namespace, ...(service === null ? [] : [service.namespace])])
  const all = world.objects(kind)
  return [...namespaces].flatMap((namespace) => all.filter((o) => o.namespace === namespace && isFor(world, o, service)))
}

function isFor(world: World, object: ResourceObject<PolicyKind>, service: RegistryService | null): boolean {
  const spec: PolicyTargetSpec = object.spec
  const targets = targetsOf(spec)
  const gateway = gatewayName(world)
  if (gateway === null) return targets.length === 0 && selects(world, spec)
  // Waypoints are never selected by their labels.
  if (targets.length === 0) return !world.servesOthers && selects(world, spec)
  return targets.some((target) => isTarget(world, object, target, gateway, service))
}

/** Of the Gateway that this proxy is an instance of; null: of none. */
export function gatewayName(world: World): string | null {
  if (world.servesOthers) return world.bootstrap.waypoint.name
  return world.client.labels[GATEWAY_NAME] ?? null
}

function selects({ client }: World, { selector }: PolicyTargetSpec): boolean {
  return hasLabels(client.labels, selector?.matchLabels ?? {})
}

function isTarget(
  world: World,
  { namespace }: ResourceObject<PolicyKind>,
  { kind = '', name = '' }: TargetReference,
  gateway: string,
  service: RegistryService | null,
): boolean {
  switch (kind) {
    case 'Service':
    case 'ServiceEntry':
      return service !== null && service.object.kind === kind && service.object.name === name && service.namespace === namespace
    case 'GatewayClass':
      return world.servesOthers && namespace === world.rootNamespace && name === WAYPOINT_CLASS
    default:
      return kind === 'Gateway' && namespace === world.client.namespace && name === gateway
  }
}

/** Why a policy that holds for nobody does. */
export function unusedText(world: World, { targetRef, targetRefs = [] }: PolicyTargetSpec): string {
  const targets = targetRef !== undefined || targetRefs.length > 0
  if (targets && gatewayName(world) === null)
    return 'holds for nobody here: a policy with targetRefs is for gateways and waypoints of the Gateway API'
  if (!targets && world.servesOthers)
    return 'holds for nobody here: at a waypoint a policy holds for what its targetRefs name, and selectors are for the workloads themselves'
  return 'holds for no workload and no service that is served here'
}

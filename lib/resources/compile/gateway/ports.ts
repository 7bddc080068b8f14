// Which port is bound for one that a Gateway names.
import type { ResourceObject } from '../../resource-object.ts'
import { hasLabels } from '../host-names.ts'
import type { World } from '../world.ts'

/** By heddle.yaml, else as a Service of the workload leads it here (Istio: the target port), else moved by the offset. -1: there is no such port. */
export function boundPort(world: World, port: number): number {
  const { ports, portOffset } = world.bootstrap.gateway
  const mapped = ports.find((p) => p.port === port)
  if (mapped !== undefined) return mapped.bound
  const target = targetPort(world, port)
  if (target !== 0) return target
  return port + portOffset <= 65_535 ? port + portOffset : -1
}

/** 0: no Service of the workload has the port. */
function targetPort(world: World, port: number): number {
  for (const service of ownServices(world)) {
    const found = (service.spec.ports ?? []).find((p) => p.port === port && (p.protocol ?? 'TCP') === 'TCP')
    // Names of container ports are known to the kubelet only.
    if (found !== undefined && typeof found.targetPort === 'number') return found.targetPort
  }
  return 0
}

/** The Services whose selector picks the workload. */
export function ownServices(world: World): ResourceObject<'Service'>[] {
  const { namespace, labels } = world.client
  return world.objects('Service').filter((service) => {
    const selector = service.spec.selector ?? {}
    return service.namespace === namespace && Object.keys(selector).length > 0 && hasLabels(labels, selector)
  })
}

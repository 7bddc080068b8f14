// What this workload says of itself in the tunnels that it opens, as lines of a head: the same in all of them.
import { baggageOf } from '../../decide/tunnel/tunnel-headers.ts'
import type { BootstrapConfig } from '../../state/bootstrap-config.ts'
import { parseLocality } from './topology.ts'

/** Empty where there is nothing to say. */
export function ownBaggage({ workload, identity }: BootstrapConfig): string {
  const { namespace, name, labels } = workload
  const canonicalName = labels['service.istio.io/canonical-name'] ?? labels['app.kubernetes.io/name'] ?? labels['app'] ?? name
  const canonicalRevision =
    labels['service.istio.io/canonical-revision'] ?? labels['app.kubernetes.io/version'] ?? labels['version'] ?? 'latest'
  const baggage = baggageOf({
    clusterId: identity.istioCa.clusterId,
    namespace,
    workloadType: 'pod',
    workloadName: name,
    canonicalName,
    canonicalRevision,
    locality: parseLocality(workload.locality),
  })
  return baggage === '' ? '' : `baggage: ${baggage}\r\n`
}

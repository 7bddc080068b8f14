// Where workloads are, and the topology labels that istiod adds to theirs (Istio locality load balancing).
import type { Locality } from '../../state/cluster.ts'
import type { World } from './world.ts'

type Labels = Readonly<Record<string, string>>

export const NETWORK = 'topology.istio.io/network'
export const REGION = 'topology.kubernetes.io/region'
export const ZONE = 'topology.kubernetes.io/zone'
export const SUBZONE = 'topology.istio.io/subzone'
export const HOSTNAME = 'kubernetes.io/hostname'
/** A pod's own word for its locality, with dots in place of slashes, which a label cannot hold. */
const LOCALITY_LABEL = 'istio-locality'

/** `region/zone/subzone`; what is missing is empty. */
export function parseLocality(text: string): Locality {
  const [region = '', zone = '', subzone = ''] = text.split('/')
  return { region, zone, subzone }
}

/** Regions by zone. An EndpointSlice names zones only; other objects name the regions that they are in. */
export type Regions = ReadonlyMap<string, string>

export function knownRegions(world: World): Regions {
  const regions = new Map<string, string>()
  const learn = ({ region, zone }: Locality): void => {
    if (region !== '' && zone !== '' && !regions.has(zone)) regions.set(zone, region)
  }
  learn(parseLocality(world.bootstrap.workload.locality))
  for (const pod of world.objects('Pod')) learn(labelledLocality(pod.labels))
  for (const slice of world.objects('EndpointSlice'))
    for (const endpoint of slice.spec.endpoints ?? []) learn(labelledLocality(endpoint.deprecatedTopology ?? {}))
  for (const entry of world.objects('WorkloadEntry')) learn(parseLocality(entry.spec.locality ?? ''))
  return regions
}

/** Of a pod: what its label `istio-locality` says, else the labels that nodes have and Kubernetes copies to pods, else `zone` of its slice. */
export function podLocality(labels: Labels, topology: Labels, zone: string, regions: Regions): Locality {
  const own = labels[LOCALITY_LABEL]
  if (own !== undefined && own !== '') return parseLocality(own.includes('/') ? own : own.replaceAll('.', '/'))
  const found = labelledLocality({ ...topology, ...labels })
  const named = found.zone === '' ? zone : found.zone
  return { ...found, zone: named, region: found.region === '' ? (regions.get(named) ?? '') : found.region }
}

function labelledLocality(labels: Labels): Locality {
  return { region: labels[REGION] ?? '', zone: labels[ZONE] ?? '', subzone: labels[SUBZONE] ?? '' }
}

/** Labels with those of the place, which win where they are known (istiod AugmentLabels). Subsets and failoverPriority see them. */
export function withTopology(labels: Labels, locality: Locality, node: string, network: string): Labels {
  const added: Record<string, string> = {}
  if (locality.region !== '') added[REGION] = locality.region
  if (locality.zone !== '') added[ZONE] = locality.zone
  if (locality.subzone !== '') added[SUBZONE] = locality.subzone
  if (node !== '') added[HOSTNAME] = node
  if (network !== '') added[NETWORK] = network
  return Object.keys(added).length === 0 ? labels : { ...labels, ...added }
}

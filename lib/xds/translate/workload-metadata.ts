// What istiod says of an endpoint's workload: `name;namespace;canonical name;canonical revision;cluster`. Workloads and localities are interned, since
// those of thousands of endpoints are few.
import type { EndpointWorkload, Locality } from '../../state/cluster.ts'
import type { Locality as LocalityMessage, Metadata } from '../proto/core.ts'
import { istioMetadata } from './istio-metadata.ts'

const UNKNOWN: EndpointWorkload = {
  workload: '',
  namespace: '',
  app: '',
  version: '',
  canonicalService: '',
  canonicalRevision: '',
  cluster: '',
}
/** Istio's word for the revision of a workload that names none. */
const LATEST = 'latest'
const NOWHERE: Locality = { region: '', zone: '', subzone: '' }

const MAX_INTERNED = 20_000
const workloads = new Map<string, EndpointWorkload>()
const localities = new Map<string, Locality>()

export function workloadOf(metadata: Metadata | null): EndpointWorkload {
  const text = istioMetadata(metadata)['workload']
  if (typeof text !== 'string' || text === '') return UNKNOWN
  return interned(workloads, text, () => {
    const [workload = '', namespace = '', canonicalService = '', revision = '', cluster = ''] = text.split(';')
    // Of an endpoint that is no workload only the cluster is known.
    if (workload === '' && namespace === '' && canonicalService === '') return UNKNOWN
    // Labels `app` and `version` do not come along; the canonical ones are made of them where nobody says otherwise.
    const labels = { app: canonicalService, version: revision }
    return { workload, namespace, ...labels, canonicalService, canonicalRevision: revision === '' ? LATEST : revision, cluster }
  })
}

export function localityOf(locality: LocalityMessage | null): Locality {
  if (locality === null) return NOWHERE
  const { region, zone, sub_zone: subzone } = locality
  if (region === '' && zone === '' && subzone === '') return NOWHERE
  return interned(localities, `${region}\n${zone}\n${subzone}`, () => ({ region, zone, subzone }))
}

function interned<T>(known: Map<string, T>, key: string, make: () => T): T {
  const found = known.get(key)
  if (found !== undefined) return found
  if (known.size >= MAX_INTERNED) known.clear()
  const made = make()
  known.set(key, made)
  return made
}

import type { Cluster, Endpoint } from '../state/cluster.ts'
import { BUILT_IN } from '../state/origin.ts'

/** Of an ORIGINAL_DST cluster: where the client wanted to go; null when that is no address. */
export function dialledEndpoint(address: string, { tls }: Cluster): Endpoint | null {
  const colon = address.lastIndexOf(':')
  if (colon < 0) return null
  return {
    address: address.slice(0, colon).replace(/^\[|\]$/g, ''),
    port: Number(address.slice(colon + 1)),
    weight: 1,
    locality: { region: '', zone: '', subzone: '' },
    priority: 0,
    healthCheck: null,
    tls: tls !== null,
    tlsReason: null,
    tunnel: null,
    workload: { workload: '', namespace: '', app: '', version: '', canonicalService: '', canonicalRevision: '' },
    origin: BUILT_IN,
  }
}

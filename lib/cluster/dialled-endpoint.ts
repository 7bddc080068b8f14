import type { Cluster, Endpoint, EndpointTunnel } from '../state/cluster.ts'
import { BUILT_IN } from '../state/origin.ts'

/** Of an ORIGINAL_DST cluster: where the client wanted to go, at the port of what stands for whatever is not listed, if that has one; null when that is no address. */
export function dialledEndpoint(text: string, { tls, endpoints }: Cluster): Endpoint | null {
  const colon = text.lastIndexOf(':')
  if (colon < 0) return null
  const address = text.slice(0, colon).replace(/^\[|\]$/g, '')
  const port = Number(text.slice(colon + 1))
  const known = endpoints.find((e) => e.address === address && (e.port === 0 || e.port === port))
  if (known !== undefined) return { ...known, port }
  const unlisted = endpoints.find((e) => e.address === '')
  if (unlisted !== undefined) {
    const { tunnel } = unlisted
    return { ...unlisted, address, port: unlisted.port || port, tunnel: tunnel === null ? null : tunnelTo(address, tunnel) }
  }
  return {
    address,
    otherAddresses: [],
    port,
    weight: 1,
    locality: { region: '', zone: '', subzone: '' },
    priority: 0,
    healthy: true,
    keepsSessions: true,
    healthCheck: null,
    tls: tls !== null,
    tlsReason: null,
    tunnel: null,
    workload: { workload: '', namespace: '', app: '', version: '', canonicalService: '', canonicalRevision: '', cluster: '' },
    origin: BUILT_IN,
  }
}

function tunnelTo(address: string, tunnel: EndpointTunnel): EndpointTunnel {
  return tunnel.address === '' ? { ...tunnel, address } : tunnel
}

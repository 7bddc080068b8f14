// The tunnel to an endpoint that is reached through one: compiled once for each endpoint that configuration describes.
import type { TunnelRoute } from '../hbone/tunnel-client.ts'
import type { EndpointTunnel } from '../state/cluster.ts'
import { MESH_TRUST, OWN_CERTIFICATE } from '../state/tls.ts'

const routes = new WeakMap<EndpointTunnel, TunnelRoute>()

/** As the workload itself, over TLS 1.3 without a server name, as ztunnel does. */
export function tunnelRoute(tunnel: EndpointTunnel, connectTimeoutMs: number, mark: number): TunnelRoute {
  const known = routes.get(tunnel)
  if (known !== undefined) return known
  const route: TunnelRoute = {
    address: tunnel.address,
    port: tunnel.port,
    tls: {
      certificate: OWN_CERTIFICATE,
      trust: MESH_TRUST,
      sni: '',
      autoSni: false,
      subjectAltNames: tunnel.identities,
      alpn: ['h2'],
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
    },
    source: null,
    foreignSource: false,
    mark,
    netns: null,
    connectTimeoutMs,
  }
  routes.set(tunnel, route)
  return route
}

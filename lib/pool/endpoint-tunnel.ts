// The tunnel to an endpoint that is reached through one, compiled once for each endpoint that configuration describes, and what a connection says of
// itself when it is opened.
import { randomBytes } from 'node:crypto'
import { unmapped } from '../base/ip-address.ts'
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
      subjectAltNamePrefixes: [],
      alpn: ['h2'],
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      cipherSuites: [],
      curves: [],
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

/**
 * Lines of the CONNECT. `fields`: those of the tunnel. `client`: `ip:port`, of a connection that is one client's alone; empty: others will use it, of whom it must not say that they are
 * this one. Telemetry takes the words, nobody's rights depend on them. `host`: the service that the client asked for; empty: none.
 */
export function connectFields(fields: string, client: string, host: string): string {
  const random = randomBytes(24).toString('hex')
  const traceparent = `traceparent: 00-${random.slice(0, 32)}-${random.slice(32)}-00\r\n`
  if (client === '') return fields + traceparent
  return `${fields}forwarded: for="${unmapped(client)}"${host === '' ? '' : `;host=${host}`}\r\n${traceparent}`
}

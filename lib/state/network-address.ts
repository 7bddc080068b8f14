// Where something is in a mesh of several networks (istio.workload NetworkAddress, GatewayAddress).
import type { IpPrefix } from '../base/ip-prefix.ts'

/** Networks may use the same addresses for different things; empty is the default network. */
export interface NetworkAddress {
  readonly network: string
  /** An IP address as `canonicalIp` of base writes it. */
  readonly address: string
}

export interface NetworkPrefix {
  readonly network: string
  readonly prefix: IpPrefix
}

/** The proxy that something is reached through: a waypoint, or the gateway of another network. */
export interface GatewayAddress {
  readonly destination: GatewayDestination
  /** Where it takes HBONE, 15008. */
  readonly hboneMtlsPort: number
}

export type GatewayDestination =
  | ({ readonly kind: 'address' } & NetworkAddress)
  /** A service, or a workload that has this host name. */
  | { readonly kind: 'hostname'; readonly namespace: string; readonly hostname: string }

/** `istio-gateways/waypoint.default.svc.cluster.local:15008`, `network/10.0.0.1:15008`. */
export function gatewayText({ destination: d, hboneMtlsPort }: GatewayAddress): string {
  const place = d.kind === 'address' ? `${d.network}/${ipText(d.address)}` : `${d.namespace}/${d.hostname}`
  return `${place}:${hboneMtlsPort}`
}

/** `10.0.0.1:80`, `[::1]:80`. */
export function addressText(ip: string, port: number): string {
  return `${ipText(ip)}:${port}`
}

function ipText(ip: string): string {
  return ip.includes(':') ? `[${ip}]` : ip
}

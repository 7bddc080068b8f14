// Small resources of xDS as JSON, and their way into a fake control plane, by protobufjs.
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { envoyProtos } from './envoy-protos.ts'
import type { FakeControlPlane } from './fake-control-plane.ts'

export const ADS = { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' }

/** By its type, which is also its name: `http.rbac.v3.RBAC`. */
export function httpFilter(type: string, config: object = {}): object {
  return { name: type, typed_config: { '@type': `type.googleapis.com/envoy.extensions.filters.${type}`, ...config } }
}

export function xdsCluster(name: string, more: object = {}): object {
  return { name, type: 'EDS', connect_timeout: '1s', eds_cluster_config: { eds_config: ADS, service_name: name }, ...more }
}

export interface HostAndPort {
  readonly host: string
  readonly port: number
}

export function xdsEndpoints(name: string, ...upstreams: readonly HostAndPort[]): object {
  const lb_endpoints = upstreams.map(({ host, port }) => ({
    endpoint: { address: { socket_address: { address: host, port_value: port } } },
  }))
  return { cluster_name: name, endpoints: [{ lb_endpoints, load_balancing_weight: 1 }] }
}

export interface XdsListener extends HostAndPort {
  readonly name: string
  /** Of its routes. */
  readonly routes: string
  /** In front of the router. */
  readonly filters?: readonly object[]
  readonly transportSocket?: object
}

/** With one chain, for requests. */
export function xdsListener({ name, host, port, routes, filters = [], transportSocket }: XdsListener): object {
  const manager = {
    stat_prefix: name,
    rds: { config_source: ADS, route_config_name: routes },
    http_filters: [...filters, httpFilter('http.router.v3.Router')],
  }
  return {
    name,
    traffic_direction: 'OUTBOUND',
    address: { socket_address: { address: host, port_value: port } },
    filter_chains: [
      {
        filters: [httpFilter('network.http_connection_manager.v3.HttpConnectionManager', manager)],
        ...(transportSocket === undefined ? {} : { transport_socket: transportSocket }),
      },
    ],
  }
}

/** One virtual host for each entry: its name is its only domain. Routes in order, prefix to cluster. */
export function xdsRoutes(name: string, hosts: Readonly<Record<string, Readonly<Record<string, string>>>>): object {
  const virtual_hosts = Object.entries(hosts).map(([host, routes]) => ({
    name: host,
    domains: [host],
    routes: Object.entries(routes).map(([prefix, cluster]) => ({ match: { prefix }, route: { cluster } })),
  }))
  return { name, virtual_hosts }
}

/** `envoy.extensions.…` of the resources of a type. */
function messageOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.indexOf('/') + 1)
}

/** In force for streams to come; `plane.push` tells those that are open. Its name is what it says. */
export function setResource(plane: FakeControlPlane, typeUrl: string, json: object): void {
  const named = json as { readonly name?: string; readonly cluster_name?: string }
  plane.set(typeUrl, named.cluster_name ?? named.name ?? '', envoyProtos().encode(messageOf(typeUrl), json as never))
}

/** Sets and pushes. */
export function putResource(plane: FakeControlPlane, typeUrl: string, json: object): void {
  setResource(plane, typeUrl, json)
  plane.push([typeUrl])
}

/** A cluster with its endpoints, without a push. */
export function setService(plane: FakeControlPlane, name: string, ...upstreams: readonly HostAndPort[]): void {
  setResource(plane, XDS.cluster, xdsCluster(name))
  setResource(plane, XDS.endpoints, xdsEndpoints(name, ...upstreams))
}

// Resources for tests, written as JSON documents in one YAML text. Services are ServiceEntries, since those can give each
// endpoint a port of its own, and test upstreams listen wherever the system lets them.
import { stringify } from 'yaml'
import { UPSTREAM } from './versions.ts'

export interface EndpointSpec {
  /** `address:port` */
  readonly address: string
  readonly labels?: Readonly<Record<string, string>>
  readonly weight?: number
  readonly locality?: string
}

export interface ServiceSpec {
  /** `reviews` (in `default.svc.cluster.local`) or a whole host. */
  readonly host: string
  /** 80 */
  readonly port?: number
  /** HTTP, or HTTP2 where the test is run so (versions.ts). */
  readonly protocol?: 'HTTP' | 'TCP' | 'HTTP2' | 'GRPC'
  /** Upstreams of the kit, or endpoints. */
  readonly endpoints: readonly (EndpointSpec | { readonly address: string })[]
  /** STATIC */
  readonly resolution?: 'STATIC' | 'DNS' | 'NONE' | 'DNS_ROUND_ROBIN'
}

type Resource = Readonly<Record<string, unknown>>

/** Documents as one YAML text. */
export function yaml(...resources: readonly Resource[]): string {
  return resources.map((r) => stringify(r)).join('---\n')
}

export function service(spec: ServiceSpec): Resource {
  const host = spec.host.includes('.') ? spec.host : `${spec.host}.default.svc.cluster.local`
  const endpoints = spec.endpoints.map((e) => {
    const { address, labels, weight, locality } = e as EndpointSpec
    const colon = address.lastIndexOf(':')
    const where = { address: address.slice(0, colon), ports: { main: Number(address.slice(colon + 1)) } }
    return {
      ...where,
      ...(labels === undefined ? {} : { labels }),
      ...(weight === undefined ? {} : { weight }),
      ...(locality === undefined ? {} : { locality }),
    }
  })
  return resource('ServiceEntry', spec.host.replaceAll('.', '-').replaceAll('*', 'any'), {
    hosts: [host],
    location: 'MESH_INTERNAL',
    resolution: spec.resolution ?? 'STATIC',
    ports: [{ number: spec.port ?? 80, name: 'main', protocol: spec.protocol ?? (UPSTREAM === 'http2' ? 'HTTP2' : 'HTTP') }],
    ...(endpoints.length === 0 ? {} : { endpoints }),
  })
}

/** `http` rules as in the API. */
export function virtualService(name: string, hosts: readonly string[], http: readonly Resource[], more: Resource = {}): Resource {
  return resource('VirtualService', name, { hosts, http, ...more })
}

export function destinationRule(name: string, host: string, spec: Resource): Resource {
  return resource('DestinationRule', name, { host, ...spec })
}

export function resource(kind: string, name: string, spec: Resource, namespace = 'default'): Resource {
  return { apiVersion: 'networking.istio.io/v1', kind, metadata: { name, namespace }, spec }
}

/** For the workloads of `startProxy` that have the label `istio: ingress`, in namespace `default`. */
export function gateway(name: string, servers: readonly Resource[]): Resource {
  return resource('Gateway', name, { selector: { istio: 'ingress' }, servers })
}

/** Of type kubernetes.io/tls with a certificate, else with roots alone. */
export function tlsSecret(
  name: string,
  pair: { readonly certPem: string; readonly keyPem: string } | null,
  rootsPem = '',
  crlPem = '',
): Resource {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: 'default' },
    type: pair === null ? 'Opaque' : 'kubernetes.io/tls',
    data: {
      ...(pair === null ? {} : { 'tls.crt': base64(pair.certPem), 'tls.key': base64(pair.keyPem) }),
      ...(rootsPem === '' ? {} : { 'ca.crt': base64(rootsPem) }),
      ...(crlPem === '' ? {} : { 'ca.crl': base64(crlPem) }),
    },
  }
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
}

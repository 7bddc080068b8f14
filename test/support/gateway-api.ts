// Resources of the Gateway API for tests, and Kubernetes Services for them to lead to.
type Resource = Readonly<Record<string, unknown>>

const API = 'gateway.networking.k8s.io'

/** Of the Gateway API, in `default` unless `more` says otherwise. */
export function route(kind: string, name: string, spec: Resource, more: Resource = {}): Resource {
  const version = kind === 'TLSRoute' || kind === 'TCPRoute' ? 'v1alpha2' : kind === 'ReferenceGrant' ? 'v1beta1' : 'v1'
  return { apiVersion: `${API}/${version}`, kind, metadata: { name, namespace: 'default', ...more }, spec }
}

/** Of class `istio`, for the workloads of `startProxy` that have the label `GATEWAY_NAME: name`. */
export function k8sGateway(name: string, listeners: readonly Resource[], more: Resource = {}): Resource {
  return route('Gateway', name, { gatewayClassName: 'istio', listeners, ...more })
}

export const GATEWAY_NAME = `${API}/gateway-name`

/** A Service of port 80 with one endpoint, `address:port`. */
export function k8sService(name: string, address: string, namespace = 'default', appProtocol = 'http'): Resource[] {
  const colon = address.lastIndexOf(':')
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec: { clusterIP: '10.96.9.9', ports: [{ name: 'main', port: 80, appProtocol }] },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: `${name}-1`, namespace, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: [{ name: 'main', port: Number(address.slice(colon + 1)) }],
      endpoints: [{ addresses: [address.slice(0, colon)] }],
    },
  ]
}

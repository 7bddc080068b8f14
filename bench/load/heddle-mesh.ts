// The resources heddle is loaded with: the service under load, its VirtualService, and a mesh around them.
import { IDENTITY } from './certificates.ts'
import { HOST, type Protocol } from './scenario.ts'
import { OTHER_ADDRESS } from './upstream.ts'

/** VirtualServices that no request of the benchmark matches; a sidecar sees those of its whole mesh. */
export const OTHER_VIRTUAL_SERVICES = 100

/** What Istio calls a protocol in a port. */
const PORT_PROTOCOLS: Readonly<Record<Protocol, string>> = { http1: 'HTTP', http2: 'HTTP2', grpc: 'GRPC' }

/**
 * One YAML file of Istio resources whose matching service answers at 127.0.0.1:`upstreamPort`. `survives`: with retries, circuit breakers, outlier
 * detection and a second locality. `mutual`: the service is spoken to with mTLS, and ours takes nothing else.
 */
export function meshYaml(upstreamPort: number, protocol: Protocol, survives: boolean, mutual: boolean): string {
  const documents = [serviceEntry(HOST, upstreamPort, protocol, survives), echoVirtualService(survives)]
  if (survives) documents.push(destinationRule())
  if (mutual) documents.push(MUTUAL)
  for (let i = 0; i < OTHER_VIRTUAL_SERVICES; i++) {
    const host = `other-${i}.bench.svc.cluster.local`
    documents.push(serviceEntry(host, upstreamPort, protocol, false), otherVirtualService(i, host))
  }
  return documents.join('---\n')
}

/** The service as bytes, from a workload that takes HBONE: tunnel and application are at `address`. */
export function hboneMeshYaml(address: string, upstreamPort: number): string {
  return `apiVersion: v1
kind: Service
metadata: { name: echo, namespace: bench }
spec: { clusterIP: 10.96.0.10, selector: { app: echo }, ports: [ { name: tcp, port: 80, targetPort: ${upstreamPort} } ] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: echo-1, namespace: bench, labels: { kubernetes.io/service-name: echo } }
addressType: IPv4
ports: [ { name: tcp, port: ${upstreamPort} } ]
endpoints: [ { addresses: [ ${address} ] } ]
---
apiVersion: v1
kind: Pod
metadata: { name: echo-1, namespace: bench, labels: { app: echo, istio.io/dataplane-mode: ambient } }
spec: { serviceAccountName: client }
status: { podIP: ${address} }
`
}

/** `twoLocalities`: ours, and one that is there for the day when ours is not well. */
function serviceEntry(host: string, upstreamPort: number, protocol: Protocol, twoLocalities: boolean): string {
  const endpoints = twoLocalities
    ? [`{ address: 127.0.0.1, locality: region1/zone1 }`, `{ address: ${OTHER_ADDRESS}, locality: region2/zone1 }`]
    : ['{ address: 127.0.0.1 }']
  return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${host.split('.')[0]}, namespace: bench }
spec:
  hosts: [ ${host} ]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - { number: 80, name: main, protocol: ${PORT_PROTOCOLS[protocol]}, targetPort: ${upstreamPort} }
  endpoints: [ ${endpoints.join(', ')} ]
`
}

const MUTUAL = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: echo, namespace: bench }
spec:
  host: ${HOST}
  trafficPolicy: { tls: { mode: ISTIO_MUTUAL, subjectAltNames: [ ${IDENTITY} ] } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: strict, namespace: bench }
spec: { mtls: { mode: STRICT } }
`

/** The route that matches is the third of its service, after one on a header and one on a path. */
function echoVirtualService(survives: boolean): string {
  const retries = survives
    ? '{ attempts: 3, perTryTimeout: 2s, retryOn: "5xx,reset,connect-failure,refused-stream,retriable-4xx,unavailable,cancelled" }'
    : '{ attempts: 2, retryOn: "connect-failure,refused-stream,unavailable,cancelled" }'
  return `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: echo, namespace: bench }
spec:
  hosts: [ ${HOST} ]
  http:
    - name: canary
      match: [ { headers: { x-canary: { exact: "true" } } } ]
      route: [ { destination: { host: ${HOST} } } ]
    - name: admin
      match: [ { uri: { prefix: /admin/ } } ]
      route: [ { destination: { host: ${HOST} } } ]
    - name: all
      timeout: 15s
      retries: ${retries}
      route: [ { destination: { host: ${HOST} } } ]
`
}

/** Limits that the load does not reach, detection of all kinds, failover. */
function destinationRule(): string {
  return `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: echo, namespace: bench }
spec:
  host: ${HOST}
  trafficPolicy:
    connectionPool:
      tcp: { maxConnections: 1000, connectTimeout: 2s }
      http: { http1MaxPendingRequests: 1000, http2MaxRequests: 1000, maxRetries: 50, idleTimeout: 60s }
    outlierDetection:
      consecutive5xxErrors: 5
      consecutiveGatewayErrors: 5
      splitExternalLocalOriginErrors: true
      consecutiveLocalOriginFailures: 5
      interval: 1s
      baseEjectionTime: 30s
      maxEjectionPercent: 50
    loadBalancer:
      localityLbSetting: { failover: [ { from: region1, to: region2 } ] }
`
}

function otherVirtualService(i: number, host: string): string {
  return `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: other-${i}, namespace: bench }
spec:
  hosts: [ ${host} ]
  http:
    - match: [ { uri: { prefix: /v${i}/ } } ]
      rewrite: { uri: / }
      route: [ { destination: { host: ${host} } } ]
    - route: [ { destination: { host: ${host} } } ]
`
}

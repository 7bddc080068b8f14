// The resources heddle is loaded with: the service under load, its VirtualService, and a mesh around them.
import { HOST } from './scenario.ts'

/** VirtualServices that no request of the benchmark matches; a sidecar sees those of its whole mesh. */
export const OTHER_VIRTUAL_SERVICES = 100

/** One YAML file of Istio resources whose matching service answers at 127.0.0.1:`upstreamPort`. */
export function meshYaml(upstreamPort: number): string {
  const documents = [serviceEntry(HOST, upstreamPort), echoVirtualService()]
  for (let i = 0; i < OTHER_VIRTUAL_SERVICES; i++) {
    const host = `other-${i}.bench.svc.cluster.local`
    documents.push(serviceEntry(host, upstreamPort), otherVirtualService(i, host))
  }
  return documents.join('---\n')
}

function serviceEntry(host: string, upstreamPort: number): string {
  return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${host.split('.')[0]}, namespace: bench }
spec:
  hosts: [ ${host} ]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - { number: 80, name: http, protocol: HTTP, targetPort: ${upstreamPort} }
  endpoints:
    - { address: 127.0.0.1 }
`
}

/** The route that matches is the third of its service, after one on a header and one on a path. */
function echoVirtualService(): string {
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
      retries: { attempts: 2, retryOn: "connect-failure,refused-stream,unavailable,cancelled" }
      route: [ { destination: { host: ${HOST} } } ]
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

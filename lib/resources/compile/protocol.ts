// Which protocol a port speaks, from what is declared (Istio protocol selection). Nothing is sniffed here.

/** UNKNOWN is to be sniffed where bytes can be; it is given to HTTP rules as well as to TCP ones. */
export type Protocol = 'HTTP' | 'HTTP2' | 'GRPC' | 'TCP' | 'TLS' | 'UDP' | 'UNKNOWN'

const NAMES: Readonly<Record<string, Protocol>> = {
  http: 'HTTP',
  http_proxy: 'HTTP',
  http2: 'HTTP2',
  grpc: 'GRPC',
  'grpc-web': 'GRPC',
  https: 'TLS',
  tls: 'TLS',
  tcp: 'TCP',
  mongo: 'TCP',
  mysql: 'TCP',
  redis: 'TCP',
  udp: 'UDP',
  'kubernetes.io/h2c': 'HTTP2',
  'kubernetes.io/ws': 'HTTP',
  'kubernetes.io/wss': 'TLS',
}

/** Ports on which the server speaks first, so that sniffing would hang. */
const SERVER_FIRST = new Set([25, 53, 3306, 27017])

/** Of a Kubernetes port. `transport` is TCP, UDP or SCTP. */
export function kubernetesProtocol(port: number, name: string, appProtocol: string, transport: string): Protocol {
  if (transport === 'UDP' || transport === 'SCTP') return 'UDP'
  return declared(appProtocol) ?? declared(name) ?? (SERVER_FIRST.has(port) ? 'TCP' : 'UNKNOWN')
}

/** Of a port of a ServiceEntry, whose name counts when the protocol is left out. */
export function serviceEntryProtocol(port: number, name: string, protocol: string): Protocol {
  return declared(protocol) ?? declared(name) ?? (SERVER_FIRST.has(port) ? 'TCP' : 'UNKNOWN')
}

/** Whether HTTP routes apply. */
export function isHttp(protocol: Protocol): boolean {
  return protocol === 'HTTP' || protocol === 'HTTP2' || protocol === 'GRPC' || protocol === 'UNKNOWN'
}

/** What the endpoints of a port are spoken to. Where nothing is declared they get what the client speaks, as Istio does after sniffing. */
export function clusterProtocol(protocol: Protocol): 'http1' | 'http2' | 'client' | 'tcp' {
  if (protocol === 'HTTP2' || protocol === 'GRPC') return 'http2'
  if (protocol === 'UNKNOWN') return 'client'
  return protocol === 'HTTP' ? 'http1' : 'tcp'
}

function declared(text: string): Protocol | undefined {
  const lower = text.toLowerCase()
  if (lower === '') return undefined
  if (lower === 'grpc-web' || lower.startsWith('grpc-web-')) return 'GRPC'
  return NAMES[lower] ?? NAMES[lower.split('-')[0] ?? '']
}

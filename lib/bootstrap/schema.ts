// What heddle.yaml may say, with every default. `config/reference.yaml` says the same with explanations; a test compares them.
import * as v from 'valibot'
import { appProbes, scrapeTargets } from './agent.ts'
import {
  address,
  bundles,
  bytes,
  choice,
  count,
  duration,
  flag,
  fraction,
  headers,
  hostAndPort,
  hosts,
  labels,
  names,
  netns,
  nullablePath,
  path,
  paths,
  port,
  portMap,
  ports,
  retryOn,
  servedPorts,
  servers,
  statuses,
  text,
  trustDomain,
  trustDomains,
  whole,
} from './leaf.ts'
import { readinessProbe } from './readiness-probe.ts'

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/

const listener = v.strictObject({
  name: text('a name of letters, digits, `.`, `_` and `-`', 'out', /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
  direction: choice('outbound', 'inbound'),
  protocol: v.optional(choice('http', 'http1', 'http2', 'tcp'), 'http'),
  address: v.optional(address('127.0.0.1'), '127.0.0.1'),
  port: port(),
  destination: v.optional(hostAndPort('`host:port` of a service', '"db.default.svc.cluster.local:5432"', false)),
  forwardTo: v.optional(hostAndPort('`address:port` of the application', '"127.0.0.1:9000"', true)),
  destinationPort: v.optional(port(), 0),
  connect: v.optional(choice('refuse', 'tunnel'), 'refuse'),
})

const inARow = (fallback: number) => v.optional(whole(1, 1000, 'a number of results in a row', String(fallback)), fallback)

const healthCheck = v.strictObject({
  hosts: v.optional(hosts('[ reviews, "*.example.com" ]'), []),
  ports: v.optional(ports('[ 80 ]'), []),
  listeners: v.optional(names('a list of names of inbound listeners', '[ in ]'), []),
  http: v.optional(
    v.strictObject({
      path: v.optional(text('a path that begins with `/`', '/healthz', /^\/[!-~]*$/), '/'),
      host: v.optional(text('a host name, with or without a port', 'reviews.example.com', /^[-._:[\]A-Za-z0-9]+$/)),
      port: v.optional(port(), 0),
      scheme: v.optional(choice('http', 'https'), 'http'),
      headers: v.optional(headers('{ x-probe: "1" }'), {}),
      expectedStatuses: v.optional(statuses('[ "200-299" ]'), ['200-299']),
    }),
  ),
  tcp: v.optional(v.strictObject({ port: v.optional(port(), 0) })),
  grpc: v.optional(
    v.strictObject({
      service: v.optional(text('the name of a gRPC service, or an empty text', 'shop.Cart', /^[!-~]*$/), ''),
      port: v.optional(port(), 0),
    }),
  ),
  interval: v.optional(duration(10, '5s'), '5s'),
  timeout: v.optional(duration(1, '1s'), '1s'),
  unhealthyThreshold: inARow(2),
  healthyThreshold: inARow(2),
  initialDelay: v.optional(duration(0, '0s'), '0s'),
})

const WORKLOAD_CERTIFICATES = '/var/run/secrets/workload-spiffe-credentials'
const SPIFFE_ID = /^$|^spiffe:\/\//i
/** Istio MAX_WORKLOAD_CERT_TTL. */
const LONGEST_TTL_HOURS = 2160

const pathOf = (what: string, example: string, fallback: string) => v.optional(path(`the path of ${what}`, example), fallback)

const identity = v.strictObject({
  source: v.optional(choice('none', 'files', 'dev-ca', 'workload-api', 'istio-ca'), 'none'),
  trustDomain: v.optional(trustDomain('cluster.local'), 'cluster.local'),
  trustDomainAliases: v.optional(trustDomains('[ old.example ]'), []),
  spiffeId: v.optional(text('a SPIFFE id, or an empty text', 'spiffe://cluster.local/ns/shop/sa/web', SPIFFE_ID), ''),
  key: v.optional(choice('ecdsa-p256', 'rsa-2048'), 'ecdsa-p256'),
  certificateTtl: v.optional(duration(1000, '24h', LONGEST_TTL_HOURS), '24h'),
  rotation: v.strictObject({
    graceRatio: v.optional(fraction('0.5'), 0.5),
    jitter: v.optional(fraction('0.01'), 0.01),
  }),
  onOldCertificate: v.optional(choice('keep', 'drain-before-expiry'), 'drain-before-expiry'),
  bundles: v.optional(bundles('{ other.example: ./other-roots.pem }'), {}),
  revocation: pathOf('a file with revocation lists, or an empty text', './ca-crl.pem', ''),
  files: v.strictObject({
    certificateChain: pathOf('a file with certificates', 'cert-chain.pem', `${WORKLOAD_CERTIFICATES}/cert-chain.pem`),
    privateKey: pathOf('a file with a key', 'key.pem', `${WORKLOAD_CERTIFICATES}/key.pem`),
    roots: pathOf('a file with roots', 'root-cert.pem', `${WORKLOAD_CERTIFICATES}/root-cert.pem`),
  }),
  devCa: v.strictObject({
    folder: pathOf('a folder made by `heddle ca init`, or an empty text', './ca', ''),
  }),
  workloadApi: v.strictObject({
    socket: v.optional(
      text('`unix:///path`, `tcp://ip:port`, or an empty text', 'unix:///run/spire/agent.sock', /^$|^unix:\/|^tcp:\/\//),
      '',
    ),
    hint: v.optional(text('the hint of an SVID, or an empty text', 'internal'), ''),
  }),
  istioCa: v.strictObject({
    address: v.optional(
      hostAndPort('`host:port` of the CA', '"istiod.istio-system.svc:15012"', false),
      'istiod.istio-system.svc:15012',
    ),
    serverName: v.optional(text('a host name, or an empty text', 'istiod.istio-system.svc', /^[-._:A-Za-z0-9]*$/), ''),
    roots: pathOf('a file with roots, or an empty text', 'root-cert.pem', '/var/run/secrets/istio/root-cert.pem'),
    token: pathOf('a file with a token, or an empty text', 'istio-token', '/var/run/secrets/tokens/istio-token'),
    clientCertificate: pathOf('a file with certificates, or an empty text', 'cert-chain.pem', ''),
    clientKey: pathOf('a file with a key, or an empty text', 'key.pem', ''),
    clusterId: v.optional(text('the name of a cluster, or an empty text', 'Kubernetes', /^[!-~]*$/), 'Kubernetes'),
    certSigner: v.optional(text('the name of a signer, or an empty text', 'clusterissuers.istio', /^[!-~]*$/), ''),
  }),
})

const ISTIOD = 'istiod.istio-system.svc:15012'

const xds = v.strictObject({
  address: v.optional(
    text('`host:port` of a control plane, or an empty text', `"${ISTIOD}"`, /^$|^(\[[0-9a-fA-F:.]+\]|[^\s:[\]/]+):\d{1,5}$/),
    '',
  ),
  protocol: v.optional(choice('delta', 'sotw'), 'delta'),
  transport: v.optional(choice('tls', 'plaintext'), 'tls'),
  serverName: v.optional(text('a host name, or an empty text', 'istiod.istio-system.svc', /^[-._:A-Za-z0-9]*$/), ''),
  roots: pathOf('a file with roots, or an empty text', 'root-cert.pem', '/var/run/secrets/istio/root-cert.pem'),
  token: pathOf('a file with a token, or an empty text', 'istio-token', '/var/run/secrets/tokens/istio-token'),
  clientCertificate: pathOf('a file with certificates, or an empty text', 'cert-chain.pem', ''),
  clientKey: pathOf('a file with a key, or an empty text', 'key.pem', ''),
  clusterId: v.optional(text('the name of a cluster, or an empty text', 'Kubernetes', /^[!-~]*$/), 'Kubernetes'),
  headers: v.optional(headers('{ x-tenant: "1" }'), {}),
  state: pathOf('a folder, or an empty text', './state', ''),
  onDemand: v.optional(flag('false'), false),
  nodeId: v.optional(
    text(
      'four parts with `~` between them, or an empty text',
      '"sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local"',
      /^$|^[^~]+~[^~]*~[^~]*~[^~]*$/,
    ),
    '',
  ),
  metadata: v.optional(labels('{ NETWORK: network1 }'), {}),
  istioVersion: v.optional(
    text('a version of Istio, or an empty text', '"1.29"', /^(\d+\.\d+(\.\d+)?([-.+][-.+0-9A-Za-z]*)?)?$/),
    '1.29',
  ),
  podLabels: pathOf('a file of the downward API', '/etc/istio/pod/labels', '/etc/istio/pod/labels'),
  podAnnotations: pathOf('a file of the downward API', '/etc/istio/pod/annotations', '/etc/istio/pod/annotations'),
})

const pod = v.strictObject({
  name: text('the name of a pod', 'web-1', /./),
  namespace: v.optional(text('a Kubernetes namespace', 'default', DNS_LABEL), 'default'),
  serviceAccount: v.optional(text('the name of a service account', 'web', /./), 'default'),
  netns: netns('/run/netns/web-1'),
})

const yesOrNo = (fallback: boolean) => v.optional(flag(String(fallback)), fallback)

export const bootstrapSchema = v.strictObject({
  role: v.optional(choice('sidecar', 'node', 'waypoint', 'gateway'), 'sidecar'),
  workload: v.strictObject({
    namespace: v.optional(text('a Kubernetes namespace', 'default', DNS_LABEL), 'default'),
    serviceAccount: v.optional(text('the name of a service account', 'web', /./), 'default'),
    name: v.optional(text('a name', 'web', /./)),
    labels: v.optional(labels('{ app: web }'), {}),
    address: v.optional(address('10.0.0.7'), '127.0.0.1'),
    locality: v.optional(text('`region/zone/subzone`', 'region1/zone1', /^[^/\s]*(\/[^/\s]*){0,2}$/), ''),
  }),
  concurrency: v.optional(whole(1, 256, 'a number of worker threads', '2'), 2),
  admin: v.strictObject({
    address: v.optional(address('127.0.0.1'), '127.0.0.1'),
    port: v.optional(port(), 15_000),
  }),
  health: v.strictObject({
    address: v.optional(address('127.0.0.1'), '127.0.0.1'),
    port: v.optional(port(), 15_021),
  }),
  accessLog: v.strictObject({
    path: v.optional(nullablePath('/dev/stdout'), '/dev/stdout'),
    format: v.optional(choice('text', 'istio', 'json'), 'text'),
  }),
  logLevel: v.optional(choice('info', 'debug', 'warning', 'error'), 'info'),
  resources: v.optional(paths('[ ./mesh ]'), []),
  xds,
  listeners: v.optional(v.array(listener), []),
  capture: v.strictObject({
    mode: v.optional(choice('none', 'redirect', 'tproxy'), 'none'),
    address: v.optional(address('0.0.0.0'), '0.0.0.0'),
    outboundPort: v.optional(port(), 15_001),
    inboundPort: v.optional(port(), 15_006),
    tunnelPort: v.optional(port(), 15_008),
    detectionTimeout: v.optional(duration(0, '2s'), '2s'),
    ports: v.optional(servedPorts('{ 8080: http }'), {}),
  }),
  node: v.strictObject({
    workloads: v.optional(paths('[ ./mesh.yaml ]'), []),
    pods: v.optional(v.array(pod), []),
    agentSocket: v.optional(path('the path of a socket, or nothing', '/var/run/ztunnel/ztunnel.sock'), ''),
    outboundPort: v.optional(port(), 15_001),
    inboundPort: v.optional(port(), 15_006),
    tunnelPort: v.optional(port(), 15_008),
    keepSource: yesOrNo(true),
    mark: v.optional(whole(0, 2_147_483_647, 'a mark of packets, 0 for none', '1337'), 1337),
    localTunnel: yesOrNo(true),
  }),
  gateway: v.strictObject({
    address: v.optional(address('0.0.0.0'), '0.0.0.0'),
    ports: v.optional(portMap('{ 80: 8080, 443: 8443 }'), {}),
    portOffset: v.optional(whole(0, 60_000, 'a number that is added to ports', '8000'), 0),
    trustedProxies: v.optional(whole(0, 100, 'a number of proxies', '1'), 0),
    proxyProtocol: yesOrNo(false),
  }),
  waypoint: v.strictObject({
    name: v.optional(text('the name of a Gateway', 'waypoint', /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/), 'waypoint'),
    address: v.optional(address('0.0.0.0'), '0.0.0.0'),
    port: v.optional(port(), 15_008),
    services: v.optional(choice('labelled', 'namespace'), 'labelled'),
    serves: v.optional(choice('service', 'workload', 'all'), 'service'),
    detectionTimeout: v.optional(duration(0, '2s'), '2s'),
  }),
  healthChecks: v.optional(v.array(healthCheck), []),
  identity,
  drain: v.strictObject({
    // Istio's terminationDrainDuration.
    accept: v.optional(duration(0, '5s'), '5s'),
    deadline: v.optional(duration(0, '5s'), '5s'),
    changes: v.optional(duration(0, '45s'), '45s'),
  }),
  limits: v.strictObject({
    maxHeaderBytes: v.optional(bytes('60KiB'), '60KiB'),
    maxHeaders: v.optional(count('100'), 100),
    bufferBytes: v.optional(bytes('1MiB'), '1MiB'),
    maxConnections: v.optional(count('10000'), 10_000),
    maxRequestsPerConnection: v.optional(count('100000'), 100_000),
    headerTimeout: v.optional(duration(0, '60s'), '60s'),
    connectionIdleTimeout: v.optional(duration(0, '1h'), '1h'),
    streamIdleTimeout: v.optional(duration(0, '5m'), '0s'),
    streamStallTimeout: v.optional(duration(0, '30s'), '30s'),
    maxSeries: v.optional(count('10000'), 10_000),
  }),
  mesh: v.strictObject({
    rootNamespace: v.optional(text('a Kubernetes namespace', 'istio-system', DNS_LABEL), 'istio-system'),
    domain: v.optional(text('a DNS domain', 'cluster.local', /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/), 'cluster.local'),
    outboundTrafficPolicy: v.optional(choice('ALLOW_ANY', 'REGISTRY_ONLY'), 'ALLOW_ANY'),
    pathNormalization: v.optional(choice('BASE', 'NONE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'), 'BASE'),
    defaultRetryAttempts: v.optional(whole(0, 100, 'a number of further attempts, 0 for none', '2'), 2),
    defaultRetryOn: v.optional(retryOn('503,connect-failure'), ''),
    localityFailover: v.optional(choice('on', 'off'), 'on'),
    autoMtls: v.optional(choice('on', 'off'), 'on'),
    minTlsVersion: v.optional(choice('TLSV1_3', 'TLSV1_2'), 'TLSV1_3'),
    dnsRefresh: v.optional(duration(1000, '60s'), '60s'),
    dnsServers: v.optional(servers('[ "10.96.0.10:53" ]'), []),
  }),
  agent: v.strictObject({
    address: v.optional(address('0.0.0.0'), '0.0.0.0'),
    statusPort: v.optional(port(), 0),
    metricsPort: v.optional(port(), 0),
    metricsFor: v.optional(choice('all', 'local'), 'all'),
    applicationMetrics: v.optional(scrapeTargets('[ "8080/metrics" ]'), []),
    probeAddress: v.optional(address('127.0.0.1'), '127.0.0.1'),
    probes: v.optional(appProbes('{ /app-health/web/livez: { httpGet: { path: /healthz, port: 8080 } } }'), {}),
    readinessProbe: v.optional(readinessProbe('{ httpGet: { path: /healthz, port: 8080 }, periodSeconds: 10 }'), null),
  }),
  dns: v.strictObject({
    address: v.optional(address('127.0.0.1'), '127.0.0.1'),
    port: v.optional(port(), 0),
    servers: v.optional(servers('[ "10.96.0.10:53" ]'), []),
  }),
  http1: v.strictObject({
    halfClose: v.optional(choice('serve', 'abort'), 'serve'),
  }),
  mirror: v.strictObject({
    hostSuffix: v.optional(text('a suffix of a host name, or an empty text', '-shadow', /^[-.A-Za-z0-9]*$/), '-shadow'),
    maxRequests: v.optional(count('1024'), 1024),
  }),
  retries: v.optional(choice('guarded', 'exact'), 'guarded'),
  faults: v.strictObject({
    headers: v.optional(choice('ignore', 'allow'), 'ignore'),
  }),
})

export type BootstrapDocument = v.InferOutput<typeof bootstrapSchema>
export type IdentityDocument = v.InferOutput<typeof identity>
export type XdsDocument = v.InferOutput<typeof xds>
export type ListenerDocument = v.InferOutput<typeof listener>

export type NodeDocument = BootstrapDocument['node']
export type HealthCheckDocument = v.InferOutput<typeof healthCheck>

export { healthCheck as healthCheckSchema, listener as listenerSchema, pod as podSchema }

// What becomes of a pod as Istio's injector writes it, of which only the image was exchanged.
import t from 'tap'
import { stringify } from 'yaml'
import { parseBootstrap } from '../../../../lib/bootstrap/load.ts'
import { problemText } from '../../../../lib/bootstrap/problem.ts'
import type { BootstrapConfig } from '../../../../lib/state/bootstrap-config.ts'
import { type AgentCall, type IstioBootstrap, istioBootstrap, type PodFacts } from '../../../../lib/xds/agent/istio-bootstrap.ts'

/** The container istio-proxy of the injection template: its arguments are `proxy sidecar` and these flags. */
const FLAGS = {
  domain: 'shop.svc.cluster.local',
  proxyLogLevel: 'warning',
  log_output_level: 'default:info',
}
const PROBERS = {
  '/app-health/web/livez': {
    httpGet: { path: '/alive', port: 8080, scheme: 'HTTP', httpHeaders: [{ name: 'x-probe', value: '1' }] },
    timeoutSeconds: 3,
  },
  '/app-health/web/readyz': { tcpSocket: { port: 8081 } },
  '/app-health/web/startupz': { grpc: { port: 9000, service: 'shop.Cart' }, timeoutSeconds: 2 },
}
const ENV = {
  PILOT_CERT_PROVIDER: 'istiod',
  CA_ADDR: 'istiod.istio-system.svc:15012',
  POD_NAME: 'web-7d9f-x2x',
  POD_NAMESPACE: 'shop',
  INSTANCE_IP: '10.1.2.3',
  SERVICE_ACCOUNT: 'web',
  HOST_IP: '192.168.1.7',
  ISTIO_CPU_LIMIT: '4',
  PROXY_CONFIG: '{"terminationDrainDuration":"9s","drainDuration":"30s","meshId":"mesh1"}',
  ISTIO_META_POD_PORTS: '[{"containerPort":8080,"protocol":"TCP"}]',
  ISTIO_META_APP_CONTAINERS: 'web',
  GOMEMLIMIT: '1073741824',
  GOMAXPROCS: '2',
  ISTIO_META_CLUSTER_ID: 'cluster-7',
  ISTIO_META_NODE_NAME: 'node-1',
  ISTIO_META_INTERCEPTION_MODE: 'REDIRECT',
  ISTIO_META_WORKLOAD_NAME: 'web',
  ISTIO_META_OWNER: 'kubernetes://apis/apps/v1/namespaces/shop/deployments/web',
  ISTIO_META_MESH_ID: 'mesh1',
  TRUST_DOMAIN: 'mesh.example',
  ISTIO_META_DNS_CAPTURE: 'true',
  ISTIO_PROMETHEUS_ANNOTATIONS: '{"scrape":"true","path":"/own","port":"8080"}',
  ISTIO_KUBE_APP_PROBERS: JSON.stringify(PROBERS),
  PROXY_XDS_VIA_AGENT: 'true',
  SECRET_TTL: '12h0m0s',
}
const POD: PodFacts = {
  env: ENV,
  labels: 'app="web"\nversion="v1"\n',
  annotations: 'kubernetes.io/config.source="api"\n',
  meshConfig: null,
  exists: (path) => path === '/etc/istio/proxy',
  cpus: 8,
}

const made = (pod: Partial<PodFacts> = {}, call: Partial<AgentCall> = {}): IstioBootstrap =>
  istioBootstrap({ role: 'sidecar', flags: FLAGS, ...call }, { ...POD, ...pod })

function loaded({ document, notes, problems }: IstioBootstrap): BootstrapConfig {
  t.same([notes, problems], [[], []])
  return read(document)
}

function read(document: object): BootstrapConfig {
  const result = parseBootstrap(stringify(document), "Istio's environment", {})
  if (!result.ok) throw new Error(result.errors.map(problemText).join('\n'))
  return result.config
}

const with_ = (env: Readonly<Record<string, string>>): IstioBootstrap => made({ env: { ...ENV, ...env } })

t.test('a sidecar', async (t) => {
  const c = loaded(made())
  t.equal(c.role, 'sidecar')
  t.match(c.workload, { namespace: 'shop', serviceAccount: 'web', name: 'web', address: '10.1.2.3', labels: { app: 'web' } })
  t.equal(c.concurrency, 4, 'the limit of its CPU')
  t.same(c.admin, { address: '127.0.0.1', port: 15000 })
  t.same(c.health, { address: '0.0.0.0', port: 15021 })
  t.match(c.xds, {
    address: 'istiod.istio-system.svc:15012',
    transport: 'tls',
    roots: '/var/run/secrets/istio/root-cert.pem',
    token: '/var/run/secrets/tokens/istio-token',
    clusterId: 'cluster-7',
    state: '/etc/istio/proxy/xds',
  })
  t.match(c.identity, {
    source: 'istio-ca',
    trustDomain: 'mesh.example',
    certificateTtlMs: 12 * 3_600_000,
    istioCa: {
      address: 'istiod.istio-system.svc:15012',
      roots: '/var/run/secrets/istio/root-cert.pem',
      token: '/var/run/secrets/tokens/istio-token',
      clusterId: 'cluster-7',
    },
  })
  t.equal(c.mesh.domain, 'cluster.local')
  t.same(c.http1, { halfClose: 'abort' }, 'as Envoy: who closes is gone')
  t.match(c.drain, { acceptMs: 9000, deadlineMs: 9000, changesMs: 30_000 })
  t.equal(c.capture.mode, 'redirect')
  t.equal(c.logLevel, 'info')
  t.strictSame(c.accessLog, { path: null, format: 'istio', isDefault: false })
  t.same(c.dns, { address: '127.0.0.1', port: 15053, servers: [] })
  t.match(c.agent, {
    address: '0.0.0.0',
    statusPort: 15020,
    metricsPort: 15090,
    metricsFor: 'all',
    applicationMetrics: [{ port: 8080, path: '/own' }],
    probeAddress: '10.1.2.3',
  })
  t.same(c.agent.probes, [
    {
      path: '/app-health/web/livez',
      timeoutMs: 3000,
      ask: { kind: 'http', port: 8080, path: '/alive', tls: false, headers: [['x-probe', '1']] },
    },
    { path: '/app-health/web/readyz', timeoutMs: 1000, ask: { kind: 'tcp', port: 8081 } },
    { path: '/app-health/web/startupz', timeoutMs: 2000, ask: { kind: 'grpc', port: 9000, service: 'shop.Cart' } },
  ])
})

t.test('nothing is said', async (t) => {
  const c = loaded(istioBootstrap({ role: 'sidecar', flags: {} }, { ...POD, env: {}, labels: null, annotations: null }))
  t.equal(c.xds.address, 'istiod.istio-system.svc:15012')
  t.equal(c.identity.trustDomain, 'cluster.local')
  t.equal(c.concurrency, 2)
  t.equal(c.dns.port, 0)
  t.match(c.drain, { acceptMs: 5000, deadlineMs: 5000 })
  t.match(c.agent, { statusPort: 15020, probeAddress: '127.0.0.1', probes: [], applicationMetrics: [] })
})

t.test('revocation lists', async (t) => {
  t.equal(loaded(made()).identity.revocation, '')
  const mounted = made({ exists: (path) => path === '/var/run/secrets/istio/crl' })
  t.equal(loaded(mounted).identity.revocation, '/var/run/secrets/istio/crl/ca-crl.pem', 'the file may come later')
  const tunnel = made({ env: { ...ENV, CRL_PATH: '/crl.pem' } }, { role: 'ztunnel' })
  t.equal(read(tunnel.document).identity.revocation, '/crl.pem')
})

t.test('other values', async (t) => {
  for (const [what, env, expected] of [
    ['no limit of CPU', { ISTIO_CPU_LIMIT: '8' }, { concurrency: 2 }],
    ['all CPUs', { PROXY_CONFIG: '{"concurrency":0}' }, { concurrency: 8 }],
    ['three', { PROXY_CONFIG: '{"concurrency":3}' }, { concurrency: 3 }],
    [
      'plain text',
      { PROXY_CONFIG: '{"discoveryAddress":"istiod.other:15010"}', CA_ADDR: '' },
      {
        xds: { address: 'istiod.other:15010', transport: 'plaintext', token: '' },
        identity: { istioCa: { address: 'istiod.other:15012' } },
      },
    ],
    ['a CA of its own', { CA_ADDR: 'ca.example:443' }, { identity: { istioCa: { address: 'ca.example:443' } } }],
    [
      'the kubelet’s CA',
      { PILOT_CERT_PROVIDER: 'kubernetes' },
      { xds: { roots: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt' } },
    ],
    [
      'roots by name',
      { XDS_ROOT_CA: '/x.pem', CA_ROOT_CA: 'SYSTEM' },
      { xds: { roots: '/x.pem' }, identity: { istioCa: { roots: '' } } },
    ],
    [
      'the first token',
      { JWT_POLICY: 'first-party-jwt' },
      { xds: { token: '/var/run/secrets/kubernetes.io/serviceaccount/token' } },
    ],
    [
      'mounted certificates',
      { FILE_MOUNTED_CERTS: 'true' },
      { identity: { source: 'files', files: { privateKey: '/etc/certs/key.pem' } } },
    ],
    ['TPROXY', { ISTIO_META_INTERCEPTION_MODE: 'TPROXY' }, { capture: { mode: 'tproxy' } }],
    ['none', { ISTIO_META_INTERCEPTION_MODE: 'NONE' }, { capture: { mode: 'none' } }],
    [
      'IPv6',
      { INSTANCE_IP: '2001:db8::7' },
      { health: { address: '::' }, agent: { address: '::', probeAddress: '2001:db8::7' }, dns: { address: '::1' } },
    ],
    ['another DNS port', { DNS_PROXY_ADDR: '[::1]:5353' }, { dns: { address: '::1', port: 5353 } }],
    ['no capture of DNS', { ISTIO_META_DNS_CAPTURE: 'false' }, { dns: { port: 0 } }],
    [
      'until nobody is there',
      { EXIT_ON_ZERO_ACTIVE_CONNECTIONS: 'true', MINIMUM_DRAIN_DURATION: '7s' },
      { drain: { acceptMs: 7000, deadlineMs: 86_400_000 } },
    ],
    [
      'ports',
      {
        ISTIO_META_ENVOY_STATUS_PORT: '15031',
        ISTIO_META_ENVOY_PROMETHEUS_PORT: '15091',
        PROXY_CONFIG: '{"statusPort":15022,"proxyAdminPort":15005}',
      },
      { health: { port: 15031 }, agent: { statusPort: 15022, metricsPort: 15091 }, admin: { port: 15005 } },
    ],
    ['metrics for nobody else', { METRICS_LOCALHOST_ACCESS_ONLY: 'true' }, { agent: { metricsFor: 'local' } }],
    [
      'the probe of a virtual machine',
      { PROXY_CONFIG: '{"readinessProbe":{"httpGet":{"port":8080,"path":"/up","host":"vm"},"periodSeconds":5}}' },
      {
        agent: {
          readinessProbe: {
            ...{ initialDelayMs: 0, timeoutMs: 1000, periodMs: 5000, successThreshold: 1, failureThreshold: 1, host: 'vm' },
            ask: { kind: 'http', port: 8080, path: '/up', tls: false, headers: [] },
          },
        },
      },
    ],
    ['the old place of probes', { REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION: 'true' }, { agent: { probeAddress: '127.0.0.1' } }],
    [
      'metrics that nobody wants',
      { ISTIO_PROMETHEUS_ANNOTATIONS: '{"scrape":"","path":"","port":""}' },
      { agent: { applicationMetrics: [] } },
    ],
    [
      'several applications',
      { ISTIO_PROMETHEUS_ANNOTATIONS: '{"scrape":"true","targets":[{"port":"81","path":"m"},{"port":"82"}]}' },
      {
        agent: {
          applicationMetrics: [
            { port: 81, path: '/m' },
            { port: 82, path: '/metrics' },
          ],
        },
      },
    ],
    [
      'renewal',
      { SECRET_GRACE_PERIOD_RATIO: '0.3', SECRET_GRACE_PERIOD_RATIO_JITTER: '0' },
      { identity: { rotation: { graceRatio: 0.3, jitter: 0 } } },
    ],
  ] as const)
    t.match(loaded(with_(env)), expected, what)
  t.match(
    loaded(made({ annotations: 'proxy.istio.io/config="concurrency: 5\\ndrainDuration: 1s\\n"\n' })),
    { concurrency: 5, drain: { changesMs: 1000, acceptMs: 9000 } },
    'the annotation goes before the variable, key by key',
  )
  t.match(loaded(made({ meshConfig: 'defaultConfig: { concurrency: 6 }\n' })), { concurrency: 6 })
  const spire = '/var/run/secrets/workload-spiffe-uds/socket'
  t.match(loaded(made({ exists: (path) => path === spire })), {
    identity: { source: 'workload-api', workloadApi: { socket: `unix://${spire}` } },
    xds: { state: '' },
  })
  t.equal(loaded(made({}, { flags: { ...FLAGS, log_output_level: 'xds:debug,default:error' } })).logLevel, 'error')
  t.equal(loaded(made({}, { flags: { ...FLAGS, proxyLogLevel: 'debug' } })).logLevel, 'debug')
})

t.test('other roles', async (t) => {
  t.match(loaded(made({}, { role: 'router' })), { role: 'gateway', capture: { mode: 'none' } })
  const labels = 'gateway.networking.k8s.io/gateway-name="front"\n'
  t.match(loaded(made({ labels }, { role: 'waypoint' })), { role: 'waypoint', waypoint: { name: 'front', port: 15008 } })
  const unlabelled = made({}, { role: 'waypoint', flags: { ...FLAGS, serviceCluster: 'back.shop' } })
  t.equal(read(unlabelled.document).waypoint.name, 'back')
  t.match(unlabelled.notes, [/no label gateway/])
  const env = {
    ...ENV,
    XDS_ADDRESS: 'https://istiod.x:15012',
    CA_ADDRESS: 'https://ca.x:15012',
    TERMINATION_GRACE_PERIOD_SECONDS: '30',
    CA_ADDR: '',
    ZTUNNEL_WORKER_THREADS: '4',
    PROXY_CONFIG: '',
  }
  t.match(loaded(made({ env }, { role: 'ztunnel' })), {
    role: 'node',
    concurrency: 4,
    xds: { address: 'istiod.x:15012' },
    identity: { istioCa: { address: 'ca.x:15012' } },
    node: { agentSocket: '/var/run/ztunnel/ztunnel.sock' },
    drain: { deadlineMs: 30_000 },
    agent: { statusPort: 15020, metricsPort: 0, probes: [] },
    dns: { port: 15_053 },
  })
  // Unlike an agent beside an application it answers unless it is told not to.
  for (const [said, port] of [
    ['', 15_053],
    ['false', 0],
  ] as const)
    t.equal(loaded(made({ env: { ...env, ISTIO_META_DNS_CAPTURE: said } }, { role: 'ztunnel' })).dns.port, port)
})

t.test('what is contradictory or broken is told', async (t) => {
  for (const [env, note] of [
    [{ PROXY_CONFIG: '[]' }, /PROXY_CONFIG/],
    [{ PROXY_CONFIG: '{"interceptionMode":"TPROXY"}' }, /INTERCEPTION_MODE is REDIRECT.*TPROXY: the former/],
    [{ POD_NAMESPACE: 'other' }, /--domain shop.* POD_NAMESPACE is other/],
    [{ PROXY_CONFIG: '{"terminationDrainDuration":"soon"}' }, /terminationDrainDuration is no duration \(soon\): 5s/],
    [{ PROXY_CONFIG: '{"statusPort":99999}' }, /statusPort is no port \(99999\): 15020/],
    [{ SECRET_TTL: 'long' }, /SECRET_TTL/],
    [{ SECRET_GRACE_PERIOD_RATIO: '2' }, /SECRET_GRACE_PERIOD_RATIO/],
    [{ PILOT_CERT_PROVIDER: 'nobody' }, /PILOT_CERT_PROVIDER nobody/],
    [{ DNS_PROXY_ADDR: 'here' }, /DNS_PROXY_ADDR/],
    [{ ISTIO_PROMETHEUS_ANNOTATIONS: '{"scrape":"true","port":"15020"}' }, /that is this proxy/],
    [{ ISTIO_PROMETHEUS_ANNOTATIONS: '{"scrape":"true","port":"http"}' }, /port http/],
    [{ ISTIO_PROMETHEUS_ANNOTATIONS: 'yes' }, /ISTIO_PROMETHEUS_ANNOTATIONS/],
  ] as const) {
    const { notes, document, problems } = with_(env)
    t.equal(notes.length, 1, notes.join())
    t.match(notes[0], note)
    t.same(problems, [])
    read(document)
  }
  t.match(with_({ CA_PROVIDER: 'GoogleCA' }).problems, [/CA_PROVIDER GoogleCA/])
  t.match(with_({ ISTIO_KUBE_APP_PROBERS: 'x' }).problems, [/ISTIO_KUBE_APP_PROBERS/])
})

// Who we say to be: Istio's environment, the files of the downward API, and what heddle.yaml says over them.
import t from 'tap'
import { loadBootstrap, parseBootstrap } from '../../../../lib/bootstrap/load.ts'
import { readIstioEnvironment } from '../../../../lib/xds/client/istio-environment.ts'
import { type NodeIdentityInput, nodeIdentity } from '../../../../lib/xds/client/node-identity.ts'

const NO_FILES = { labels: null, annotations: null }

function identity(
  yaml: string,
  env: Readonly<Record<string, string>>,
  over: Partial<NodeIdentityInput> & { labels?: string } = {},
) {
  const loaded = yaml === '' ? loadBootstrap(null) : parseBootstrap(yaml, 'heddle.yaml')
  if (!loaded.ok) throw new Error(loaded.errors.map((e) => e.message).join('; '))
  const istio = readIstioEnvironment(env, { ...NO_FILES, labels: over.labels ?? null })
  return nodeIdentity({ bootstrap: loaded.config, env, istio, addresses: [], hostname: 'machine', version: '1.2.3', ...over })
}

/** As the injection template sets it, but for what depends on the pod's fields. */
const INJECTED = {
  POD_NAME: 'web-1',
  POD_NAMESPACE: 'shop',
  INSTANCE_IP: '10.0.0.7',
  SERVICE_ACCOUNT: 'web',
  HOST_IP: '192.168.0.1',
  PROXY_CONFIG: '{"discoveryAddress":"istiod.istio-system.svc:15012","holdApplicationUntilProxyStarts":true}',
  ISTIO_META_POD_PORTS: '[{"containerPort":8080,"protocol":"TCP"}]',
  ISTIO_META_APP_CONTAINERS: 'web',
  ISTIO_META_CLUSTER_ID: 'c1',
  ISTIO_META_NODE_NAME: 'node-a',
  ISTIO_META_INTERCEPTION_MODE: 'REDIRECT',
  ISTIO_META_WORKLOAD_NAME: 'web',
  ISTIO_META_OWNER: 'kubernetes://apis/apps/v1/namespaces/shop/deployments/web',
  ISTIO_META_MESH_ID: 'cluster.local',
  ISTIO_META_DNS_CAPTURE: 'true',
  TRUST_DOMAIN: 'cluster.local',
}

t.test('a sidecar that was injected', async (t) => {
  const node = identity('', INJECTED, {
    labels: 'app="web"\nversion="v1"\nservice.istio.io/canonical-name="web"\nistio-locality="r.z"\n',
    addresses: ['10.0.0.7', 'fd00::7'],
  })
  t.equal(node.id, 'sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local')
  t.equal(node.cluster, 'web.shop')
  t.same(node.locality, { region: 'r', zone: 'z', sub_zone: '' })
  t.same([node.user_agent_name, node.user_agent_version], ['heddle', '1.2.3'])
  t.same(node.metadata, {
    ISTIO_VERSION: '1.29',
    WORKLOAD_NAME: 'web',
    INTERCEPTION_MODE: 'REDIRECT',
    POD_PORTS: '[{"containerPort":8080,"protocol":"TCP"}]',
    APP_CONTAINERS: 'web',
    CLUSTER_ID: 'c1',
    NODE_NAME: 'node-a',
    OWNER: 'kubernetes://apis/apps/v1/namespaces/shop/deployments/web',
    MESH_ID: 'cluster.local',
    DNS_CAPTURE: 'true',
    NAME: 'web-1',
    NAMESPACE: 'shop',
    SERVICE_ACCOUNT: 'web',
    INSTANCE_IPS: '10.0.0.7,fd00::7',
    LABELS: { app: 'web', version: 'v1', 'service.istio.io/canonical-name': 'web', 'istio-locality': 'r.z' },
    PROXY_CONFIG: { discoveryAddress: 'istiod.istio-system.svc:15012', holdApplicationUntilProxyStarts: true },
  })
})

t.test('without an environment', async (t) => {
  const yaml = `
workload: { namespace: shop, serviceAccount: web, name: web, labels: { app: web }, address: 10.0.0.7, locality: r/z/s }
xds: { address: "istiod:15010", transport: plaintext, clusterId: c2, istioVersion: 1.30.1, metadata: { NETWORK: n1, NAME: other } }
`
  const node = identity(yaml, {})
  t.equal(node.id, 'sidecar~10.0.0.7~web.shop~shop.svc.cluster.local')
  t.same(node.locality, { region: 'r', zone: 'z', sub_zone: 's' })
  t.same(node.metadata, {
    ISTIO_VERSION: '1.30.1',
    WORKLOAD_NAME: 'web',
    INTERCEPTION_MODE: 'NONE',
    CLUSTER_ID: 'c2',
    NAME: 'other',
    NAMESPACE: 'shop',
    SERVICE_ACCOUNT: 'web',
    INSTANCE_IPS: '10.0.0.7',
    LABELS: { app: 'web' },
    PROXY_CONFIG: {},
    NETWORK: 'n1',
  })
})

t.test('roles', async (t) => {
  const of = (yaml: string, env: Readonly<Record<string, string>> = INJECTED) => identity(yaml, env)
  const waypoint = of('role: waypoint\nwaypoint: { name: wp }')
  t.equal(waypoint.id, 'waypoint~10.0.0.7~web-1.shop~shop.svc.cluster.local')
  t.equal(waypoint.cluster, 'web.shop', 'service account and namespace')
  t.equal(waypoint.metadata?.['METADATA_DISCOVERY'], 'true', 'a text')
  t.same(waypoint.metadata?.['LABELS'], { 'gateway.networking.k8s.io/gateway-name': 'wp' })

  t.equal(of('role: gateway').id, 'router~10.0.0.7~web-1.shop~shop.svc.cluster.local')
  t.equal(of('xds: { nodeId: "sidecar~1.2.3.4~a.b~c" }').id, 'sidecar~1.2.3.4~a.b~c')
  t.equal(of('workload: { address: 10.0.0.8, namespace: own }').id, 'sidecar~10.0.0.8~web-1.own~own.svc.cluster.local')
  t.equal(of('workload: { name: a.b~c }', {}).id, 'sidecar~127.0.0.1~a-b-c.default~default.svc.cluster.local')
  t.equal(of('workload: { namespace: own }', {}).id, 'sidecar~127.0.0.1~machine.own~own.svc.cluster.local')

  const node = of('role: node\nidentity: { source: dev-ca }\nxds: { address: "istiod:15012" }', {
    POD_NAME: 'heddle-x',
    POD_NAMESPACE: 'istio-system',
    NODE_NAME: 'node-a',
    ISTIO_META_CLUSTER_ID: 'c1',
  })
  t.equal(node.id, 'ztunnel~1.1.1.1~heddle-x.istio-system~istio-system.svc.cluster.local')
  t.same(node.metadata, {
    NAME: 'heddle-x',
    NAMESPACE: 'istio-system',
    NODE_NAME: 'node-a',
    INSTANCE_IPS: '1.1.1.1',
    CLUSTER_ID: 'c1',
  })
})

t.test('the environment', async (t) => {
  const of = (env: Readonly<Record<string, string>>, labels: string | null = null) =>
    readIstioEnvironment(env, { labels, annotations: null })
  t.same(
    of({ ISTIO_METAJSON_X: '{"A":{"b":[1,true,null]},"ENABLE_HBONE":true}', ISTIO_META_ENVOY_STATUS_PORT: '15021' }).metadata,
    {
      A: { b: [1, true, null] },
      ENABLE_HBONE: 'true',
      ENVOY_STATUS_PORT: 15021,
    },
  )
  t.same(of({ ISTIO_META_HTTP10: '1', ISTIO_META_UNPRIVILEGED_POD: 'true' }).metadata, { HTTP10: '1', UNPRIVILEGED_POD: 'true' })
  t.same(of({ ISTIO_METAJSON_LABELS: '{"app":"b"}' }, 'app="a"\nv="1"\n').labels, { app: 'b', v: '1' })
  t.same(of({ ISTIO_METAJSON_ANNOTATIONS: '{"a":"b"}' }).annotations, { a: 'b' })
  t.same(of({ PROXY_CONFIG: 'discoveryAddress: a:1\nproxyMetadata:\n  X: "1"\n' }).proxyConfig, {
    discoveryAddress: 'a:1',
    proxyMetadata: { X: '1' },
  })
  t.same(of({}).proxyConfig, null)
  t.same(of({}, 'a="x\\"y\\\\z\\n\\t"\nb="\\u00e9\\x41\\U0001f600\\101"\n').labels, { a: 'x"y\\z\n\t', b: 'éA😀A' })

  const bad = of({ ISTIO_METAJSON_X: '[]', PROXY_CONFIG: '[1]', ISTIO_METAJSON_LABELS: '{' }, 'app=web\nv="1"\n')
  t.same(bad.labels, { v: '1' })
  t.same(bad.problems, [
    'ISTIO_METAJSON_X is no JSON object and is left out',
    'a line of the pod\'s labels is not `key="value"` and is left out',
    'ISTIO_METAJSON_LABELS is no JSON object and is left out',
    'PROXY_CONFIG is no mapping and is left out',
  ])
})

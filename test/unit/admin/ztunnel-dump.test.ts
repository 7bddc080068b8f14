// What istioctl ztunnel-config reads of a node: the fields are those of ztunnel's own dump.
import t from 'tap'
import { ztunnelDump } from '../../../lib/admin/ztunnel-dump.ts'
import { parseBootstrap } from '../../../lib/bootstrap/load.ts'
import { EMPTY_WORLD } from '../../../lib/state/workload-world.ts'
import { gateway, memberOf, policy, prefixes, rule, service, texts, vips, workload } from '../../support/mesh-nouns.ts'
import { SigningCa } from '../../support/signing-ca.ts'

const HOST = 'web.ns.svc.cluster.local'

const NODE = { name: 'node1', pod: 'ztunnel-abc', network: 'net1', clusterId: 'c1' }
const VIEW = { source: 'control plane', node: NODE, waitingFor: [], pods: [], world: EMPTY_WORLD } as const

const OF_FILES = 'role: node\nidentity: { source: dev-ca }\nnode: { workloads: [ /mesh.yaml ] }\n'

function settings(text = OF_FILES) {
  const loaded = parseBootstrap(text, '/heddle.yaml')
  if (!loaded.ok) throw new Error(JSON.stringify(loaded))
  return { version: '1.2.3', bootstrap: loaded.config }
}

t.test('what is known of the mesh', async (t) => {
  const waypoint = gateway('net1/10.0.0.9')
  const world = {
    workloads: [
      workload('a', { addresses: ['10.1.0.1'], services: [memberOf(`ns/${HOST}`, { 80: 8080 })], waypoint }),
      workload('b', { networkMode: 'HOST_NETWORK', protocol: 'TCP', healthy: false }),
    ],
    services: [service(HOST, { vips: vips('net1/10.0.0.1'), ipFamilies: 'IPV4', canonical: true })],
    policies: [
      policy(
        'DENY',
        [rule([{ principals: texts('*', 'td/ns/x/sa/y'), sourceIps: prefixes('10.0.0.0/8'), destinationPorts: [80] }])],
        {
          scope: 'WORKLOAD_SELECTOR',
        },
      ),
    ],
  }
  const pod = { uid: 'u1', name: 'a', namespace: 'ns', serviceAccount: 'a', workload: 'a', identity: 'spiffe://td/ns/ns/sa/a' }
  const dump = ztunnelDump({ ...VIEW, pods: [{ ...pod, hasCertificate: false }], world }, [], settings())
  t.match(dump, {
    workloads: [
      {
        ...{ uid: 'cluster1//Pod/ns/a', name: 'a', workloadIps: ['10.1.0.1'], protocol: 'HBONE', status: 'Healthy' },
        waypoint: { destination: 'net1/10.0.0.9', hboneMtlsPort: 15008 },
        services: [`ns/${HOST}`],
      },
      { name: 'b', workloadIps: [], protocol: 'TCP', status: 'Unhealthy', networkMode: 'HostNetwork' },
    ],
    services: [
      {
        ...{ hostname: HOST, vips: ['net1/10.0.0.1'], ports: { 80: 8080 }, ipFamilies: 'IPv4', canonical: true },
        endpoints: { 'cluster1//Pod/ns/a': { workloadUid: 'cluster1//Pod/ns/a', port: { 80: 8080 }, status: 'Healthy' } },
      },
    ],
    policies: [
      {
        ...{ name: 'deny', namespace: 'ns', action: 'Deny', scope: 'WorkloadSelector' },
        rules: [
          [[{ principals: [{ Presence: [] }, { Exact: 'td/ns/x/sa/y' }], sourceIps: ['10.0.0.0/8'], destinationPorts: [80] }]],
        ],
      },
    ],
    certificates: [{ identity: pod.identity, state: 'Initializing', certChain: [] }],
    workloadState: { u1: { state: 'Up', info: { name: 'a', namespace: 'ns', serviceAccount: 'a' } } },
  })
  t.notMatch(JSON.stringify(dump), /"(?:origin|addresses)"/)
})

t.test('certificates of the pods, and the roots', async (t) => {
  const ca = await SigningCa.root(t, 'mesh')
  const identity = 'spiffe://cluster.local/ns/ns/sa/a'
  const { chain } = await ca.issue({ uris: [identity] })
  const secret = { version: '1', updatedMs: 0, chainPem: '', rootsPem: [] }
  const { certificates } = ztunnelDump(
    VIEW,
    [
      { ...secret, name: 'default', chainPem: chain },
      { ...secret, name: 'ROOTCA', rootsPem: [ca.rootPem] },
    ],
    settings(),
  ) as { certificates: { certChain: { pem: string }[]; rootCerts: object[] }[] }
  t.match(certificates, [
    {
      ...{ identity, state: 'Available', rootCerts: [{ serialNumber: /^\d+$/ }] },
      certChain: [{ serialNumber: /^\d+$/, validFrom: /Z$/, expirationTime: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/ }],
    },
  ])
  t.equal(
    Buffer.from(certificates[0]?.certChain[0]?.pem ?? '', 'base64')
      .toString()
      .trim(),
    chain.trim(),
  )
})

// Kinds matter: Kiali reads the whole dump with fixed kinds, and a text where it has an object is an error of all.
t.test('what it was started with', async (t) => {
  const { config, version } = ztunnelDump(
    VIEW,
    [],
    settings(`role: node
concurrency: 3
workload: { name: ztunnel-x, namespace: istio-system, serviceAccount: ztunnel }
admin: { port: 15000 }
health: { address: 0.0.0.0, port: 15021 }
agent: { address: '::', statusPort: 15020 }
dns: { port: 15053 }
drain: { deadline: 25s }
xds: { address: 'istiod.istio-system.svc:15012', roots: /run/root.pem, onDemand: true }
identity: { source: istio-ca, trustDomain: td, istioCa: { address: 'ca:15012', roots: /run/root.pem } }
node: { agentSocket: /run/ztunnel.sock }
`),
  ) as { config: Record<string, unknown>; version: object }
  const rows: [field: string, expected: unknown][] = [
    ['proxy', true],
    ['proxyMode', 'Shared'],
    ['dnsProxy', true],
    ['adminAddr', { Localhost: [false, 15000] }],
    ['readinessAddr', { SocketAddr: '0.0.0.0:15021' }],
    ['statsAddr', { SocketAddr: '[::]:15020' }],
    ['inboundAddr', '[::]:15008'],
    ['inboundPlaintextAddr', '[::]:15006'],
    ['outboundAddr', '[::]:15001'],
    ['illegalPorts', [15008, 15006, 15001]],
    ['network', 'net1'],
    ['localNode', 'node1'],
    ['clusterId', 'c1'],
    ['clusterDomain', 'cluster.local'],
    ['xdsAddress', 'https://istiod.istio-system.svc:15012'],
    ['xdsRootCert', { File: '/run/root.pem' }],
    ['xdsOnDemand', true],
    ['caAddress', 'https://ca:15012'],
    ['secretTtl', { secs: 86400, nanos: 0 }],
    ['selfTerminationDeadline', { secs: 25, nanos: 0 }],
    ['numWorkerThreads', 3],
    ['packetMark', 1337],
    ['inpodUds', '/run/ztunnel.sock'],
    ['poolMaxStreamsPerConn', 100],
    ['ztunnelWorkload', { name: 'ztunnel-abc', namespace: 'istio-system', serviceAccount: 'ztunnel' }],
    ['ztunnelIdentity', 'spiffe://td/ns/istio-system/sa/ztunnel'],
  ]
  for (const [field, expected] of rows) t.strictSame(config[field], expected, field)
  t.strictSame(version, { version: '1.2.3' })
  const { config: alone } = ztunnelDump(VIEW, [], settings()) as { config: Record<string, unknown> }
  t.strictSame([alone['xdsAddress'], alone['caAddress']], [null, null], 'of files')
})

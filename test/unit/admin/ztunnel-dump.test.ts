// What istioctl ztunnel-config reads of a node: the fields are those of ztunnel's own dump.
import t from 'tap'
import { ztunnelDump } from '../../../lib/admin/ztunnel-dump.ts'
import { gateway, memberOf, policy, prefixes, rule, service, texts, vips, workload } from '../../support/mesh-nouns.ts'
import { SigningCa } from '../../support/signing-ca.ts'

const HOST = 'web.ns.svc.cluster.local'

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
  const dump = ztunnelDump({ source: 'control plane', waitingFor: [], pods: [{ ...pod, hasCertificate: false }], world }, [])
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
  const world = { workloads: [], services: [], policies: [] }
  const secret = { version: '1', updatedMs: 0, chainPem: '', rootsPem: [] }
  const { certificates } = ztunnelDump({ source: 'control plane', waitingFor: [], pods: [], world }, [
    { ...secret, name: 'default', chainPem: chain },
    { ...secret, name: 'ROOTCA', rootsPem: [ca.rootPem] },
  ]) as { certificates: { certChain: { pem: string }[]; rootCerts: object[] }[] }
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

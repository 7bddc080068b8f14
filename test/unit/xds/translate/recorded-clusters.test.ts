// The clusters and endpoints of each recorded world, as they arrive and as they are compiled from the YAML beside them: the same nouns, but for what is
// declared here.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ResourceLoader } from '../../../../lib/resources/load.ts'
import type { Cluster } from '../../../../lib/state/cluster.ts'
import { decode } from '../../../../lib/xds/proto/decode.ts'
import { DeltaDiscoveryResponse } from '../../../../lib/xds/proto/discovery.ts'
import { assembleCluster } from '../../../../lib/xds/translate/assemble-cluster.ts'
import { translateCluster } from '../../../../lib/xds/translate/cluster.ts'
import { type LoadAssignment, translateLoadAssignment } from '../../../../lib/xds/translate/load-assignment.ts'
import { bootstrapFor, peersFolder } from '../../resources/kit.ts'
import { assignmentFrom, clusterFrom, endpointsOf, endpointTerms, found, type Json } from './kit.ts'

const peers = peersFolder()
const skip = peers === null ? 'the peers folder is not there (HEDDLE_PEERS)' : false

interface Difference {
  readonly world: string
  readonly cluster: string
  /** `bind.source6`, `endpoints.0.weight`; `` of a cluster that one side has alone. */
  readonly path: string
  readonly ours: unknown
  readonly theirs: unknown
}

const accountless = (id: unknown): string => String(id).replace(/\/sa\/default$/, '/sa/')

/** Why they may differ. Each has to be of use. */
const DECLARED: Readonly<Record<string, (d: Difference) => boolean>> = {
  'istiod asks for names in the families that the workload has; static configuration for both, IPv4 first': (d) =>
    d.path === 'dnsFamily' && d.ours === 'V4_PREFERRED' && d.theirs === 'V4_ONLY',
  'istiod writes a source for the families that the workload has; static configuration for both': (d) =>
    d.path === 'bind.source6' && d.ours === '::6' && d.theirs === '',
  'a pod that names no account runs as `default`, as the API server has it; istiod finds it empty here': (d) =>
    /^tls\.subjectAltNames\.\d+$/.test(d.path) && accountless(d.ours) === d.theirs,
  'with headless services, and where a rule asks for plaintext, nothing that arrives says why there is no TLS': (d) =>
    d.path === 'tlsReason.why' && d.theirs === 'off' && (d.ours === 'no-sidecar' || d.ours === 'rule'),
  'istiod gives a gateway TLS to a headless service only where all of its endpoints take it; here each is told apart': (d) =>
    d.world === 'gateway' && d.cluster.startsWith('outbound|9080||h.') && d.path.startsWith('tls'),
  'the same, of its endpoints': (d) =>
    d.world === 'gateway' && d.cluster.startsWith('outbound|9080||h.') && /^endpoints\.\d\.tlsReason$/.test(d.path),
  'of two hash keys in one DestinationRule one would be dropped without a word: it is refused as a file': (d) =>
    d.world === 'refused' && /\|a\.default/.test(d.cluster) && d.path.startsWith('loadBalancer.'),
  'no connection leads out of it, so that limits, time-outs and protocol mean nothing': (d) =>
    d.cluster === 'BlackHoleCluster' && (d.path.startsWith('limits.') || d.path === 'protocol'),
  'where unknown hosts are passed on nothing leads to it but a chain that refuses': (d) =>
    d.cluster === 'BlackHoleCluster' && d.ours === undefined,
  'the way through the tunnel is no cluster here': (d) =>
    d.world === 'waypoint' && d.ours === undefined && /^(main_internal|.*connect_originate)$/.test(d.cluster),
  'a tunnel to a workload that is dialled itself is a cluster only where there is such a workload': (d) =>
    d.world === 'waypoint' && d.cluster === 'encap' && d.ours === undefined,
  'istiod names the cluster of Kubernetes; static configuration has one, its own': (d) =>
    /^endpoints\.\d\.workload\.cluster$/.test(d.path) && d.ours === '' && d.theirs === 'Kubernetes',
  'static configuration has it always': (d) => d.cluster === 'PassthroughCluster' && d.theirs === undefined,
  'a pod of an ambient namespace has a tunnel before the agent of its node has annotated it': (d) =>
    d.world === 'waypoint' && /^endpoints\.\d\.tunnel$/.test(d.path) && d.theirs === null,
}

t.test('recorded worlds', { skip }, async (t) => {
  const used = new Set<string>()
  for (const world of readdirSync(join(peers as string, 'cases'))) {
    await t.test(world, async (t) => {
      const folder = join(peers as string, 'cases', world)
      for (const difference of differences(world, staticClusters(folder), arrivedClusters(t, folder))) {
        const why = Object.entries(DECLARED).find(([, fits]) => fits(difference))?.[0]
        if (why === undefined) t.fail(JSON.stringify(difference))
        else used.add(why)
      }
    })
  }
  for (const why of Object.keys(DECLARED)) t.ok(used.has(why), `of use: ${why}`)
})

t.test('the bytes of a sidecar', { skip }, async (t) => {
  const lines = readFileSync(join(peers as string, 'captures/sidecar/routing.jsonl'), 'utf8')
    .split('\n')
    .filter((l) => l !== '')
  const responses = lines.map((l) =>
    decode(DeltaDiscoveryResponse, Buffer.from((JSON.parse(l) as { response: string }).response, 'base64')),
  )
  const of = (kind: string) =>
    responses
      .filter((r) => r.type_url.endsWith(kind))
      .flatMap((r) => r.resources.map(({ name, resource }) => ({ name, bytes: resource!.value })))
  const xds = JSON.parse(readFileSync(join(peers as string, 'examples/routing/xds.json'), 'utf8')) as Recorded
  t.equal(of('.Cluster').length, 8)
  for (const { name, bytes } of of('.Cluster')) {
    const arrived = found((f) => translateCluster(bytes, '', f))
    const recorded = xds.clusters.find((c) => c['name'] === name) as Json
    t.same(arrived, clusterFrom(recorded), name)
    t.equal(arrived.faults, '')
  }
  t.equal(of('.ClusterLoadAssignment').length, 4)
  for (const { name, bytes } of of('.ClusterLoadAssignment')) {
    const arrived = found((f) => translateLoadAssignment(bytes, null, endpointTerms(), f))
    const recorded = xds.endpoints.find((c) => c['cluster_name'] === name) as Json
    t.same(arrived.result?.groups, assignmentFrom(recorded).result?.groups, name)
    t.same(endpointsOf(arrived.result), endpointsOf(assignmentFrom(recorded).result), name)
    t.equal(arrived.faults, '')
  }
})

interface Recorded {
  readonly clusters: readonly Json[]
  readonly endpoints: readonly Json[]
}

/** By name. Of a waypoint `inbound-vip|9080|http/v1|host` is `outbound|9080|v1|host`. */
type Clusters = ReadonlyMap<string, Cluster>

function arrivedClusters(t: Test, folder: string): Clusters {
  const xds = JSON.parse(readFileSync(join(folder, 'xds.json'), 'utf8')) as Recorded
  const assignments = new Map<string, LoadAssignment>()
  for (const resource of xds.endpoints) {
    const { result, faults, notes } = assignmentFrom(resource)
    t.same([faults, notes], ['', ''], `endpoints of ${resource['cluster_name']}`)
    if (result !== null) assignments.set(result.name, result)
  }
  return new Map(
    xds.clusters.flatMap((resource): [string, Cluster][] => {
      const { result, faults, notes } = clusterFrom(resource)
      t.same([faults, notes], ['', ''], `cluster ${resource['name']}`)
      if (result === null) return []
      const { edsName } = result
      const { cluster } = assembleCluster(result, edsName === null ? null : (assignments.get(edsName) ?? null), null)
      const name = cluster.name.replace(/^inbound-vip\|(\d+)\|http\/?/, 'outbound|$1|')
      return [[name, { ...cluster, name }]]
    }),
  )
}

function staticClusters(folder: string): Clusters {
  const proxy = JSON.parse(readFileSync(join(folder, 'proxy.json'), 'utf8')) as {
    readonly type?: string
    readonly ip: string
    readonly namespace: string
    readonly labels: Readonly<Record<string, string>>
  }
  const role = proxy.type === 'router' ? 'gateway' : proxy.type === 'waypoint' ? 'waypoint' : 'sidecar'
  const mesh = join(folder, 'mesh.yaml')
  const registryOnly = existsSync(mesh) && readFileSync(mesh, 'utf8').includes('REGISTRY_ONLY')
  const files = readdirSync(folder).filter((f) => f.endsWith('.yaml') && f !== 'mesh.yaml')
  const bootstrap = bootstrapFor(
    files.map((f) => join(folder, f)),
    {
      role,
      namespace: proxy.namespace,
      labels: proxy.labels,
      address: proxy.ip,
      outboundTrafficPolicy: registryOnly ? 'REGISTRY_ONLY' : 'ALLOW_ANY',
      listeners: [],
      ...(role === 'sidecar' ? { capture: { mode: 'redirect', tunnelPort: 0 } } : {}),
      identity: 'files',
      minTlsVersion: 'TLSv1.2',
    },
  )
  return new Map(new ResourceLoader(bootstrap).load().snapshot.clusters.map((c) => [c.name, c]))
}

function differences(world: string, ours: Clusters, theirs: Clusters): Difference[] {
  return [...new Set([...ours.keys(), ...theirs.keys()])].flatMap((cluster) => {
    const found: Difference[] = []
    compare(ours.get(cluster), theirs.get(cluster), '', (path, one, other) =>
      found.push({ world, cluster, path, ours: one, theirs: other }),
    )
    return found
  })
}

/** Leaves that differ; origins are the sources' own. */
function compare(
  ours: unknown,
  theirs: unknown,
  path: string,
  tell: (path: string, ours: unknown, theirs: unknown) => void,
): void {
  if (!isObject(ours) || !isObject(theirs)) {
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) tell(path, ours, theirs)
    return
  }
  for (const key of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    if (key === 'origin' || key === 'policyOrigin') continue
    compare(ours[key], theirs[key], path === '' ? key : `${path}.${key}`, tell)
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

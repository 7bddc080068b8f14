// The clusters that istiod generated from the same YAML, and what its validator refused, against what we compile and refuse. Routes are compared in
// test/unit/xds/translate/recorded-routes.test.ts.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type LoadResult, ResourceLoader } from '../../../lib/resources/load.ts'
import { bootstrapFor, peersFolder } from './kit.ts'

const peers = peersFolder()
/** Every recorded sidecar whose YAML has nothing that is not carried out yet. */
const CASES = ['match', 'hosts', 'rewrite', 'headers', 'limits-and-paths', 'retry', 'faults', 'weights', 'grpc', 'registry-only']

/**
 * What we do otherwise, on purpose: an unknown field is a misspelling, and a rule that lost a condition matches too much; of two hash keys one would
 * be dropped without a word, so the schema of the API server refuses them, as we do.
 */
const REFUSED_BY_US_ALONE = new Set(['VirtualService/unknown-field', 'DestinationRule/dr-two-hash'])

interface Recorded {
  readonly clusters: {
    readonly name: string
    readonly type?: string
    readonly lb_policy?: string
    readonly common_lb_config?: {
      readonly healthy_panic_threshold?: { readonly value?: number }
      readonly locality_weighted_lb_config?: object
    }
    readonly ring_hash_lb_config?: { readonly minimum_ring_size?: string }
    readonly maglev_lb_config?: { readonly table_size?: string }
  }[]
  readonly endpoints: {
    readonly cluster_name: string
    readonly endpoints?: {
      readonly locality?: { readonly region?: string; readonly zone?: string; readonly sub_zone?: string }
      readonly priority?: number
      readonly load_balancing_weight?: number
      readonly lb_endpoints: readonly RecordedEndpoint[]
    }[]
  }[]
  readonly refused: { readonly kind: string; readonly name: string; readonly reason: string }[]
}

interface RecordedEndpoint {
  readonly load_balancing_weight?: number
  readonly endpoint: { readonly address: { readonly socket_address: { readonly address: string; readonly port_value: number } } }
}

function caseOf(folder: string): { xds: Recorded; result: LoadResult } {
  const xds = JSON.parse(readFileSync(join(folder, 'xds.json'), 'utf8')) as Recorded
  const proxy = JSON.parse(readFileSync(join(folder, 'proxy.json'), 'utf8')) as {
    namespace: string
    labels: Record<string, string>
  }
  const files = readdirSync(folder).filter((f) => f.endsWith('.yaml') && f !== 'mesh.yaml')
  const registryOnly =
    existsSync(join(folder, 'mesh.yaml')) && readFileSync(join(folder, 'mesh.yaml'), 'utf8').includes('REGISTRY_ONLY')
  const view = {
    namespace: proxy.namespace,
    labels: proxy.labels,
    outboundTrafficPolicy: registryOnly ? 'REGISTRY_ONLY' : 'ALLOW_ANY',
  } as const
  return {
    xds,
    result: new ResourceLoader(
      bootstrapFor(
        files.map((f) => join(folder, f)),
        view,
      ),
    ).load(),
  }
}

t.test(
  'recorded configurations',
  { skip: peers === null ? 'the peers folder is not there (HEDDLE_PEERS)' : false },
  async (t) => {
    for (const name of CASES) {
      t.test(name, async (t) => {
        const { xds, result } = caseOf(join(peers!, 'cases', name))
        compareClusters(t, result, xds)
      })
    }
    for (const name of ['resilience', 'routing']) {
      t.test(`example ${name}`, async (t) => {
        const { xds, result } = caseOf(join(peers!, 'examples', name))
        t.equal(result.statuses.filter((s) => s.state === 'refused').length, xds.refused.length)
      })
    }
  },
)

function compareClusters(t: Test, result: LoadResult, xds: Recorded): void {
  const recorded = xds.clusters.filter((c) => c.name.startsWith('outbound|'))
  const ours = result.snapshot.clusters.filter((c) => c.name.startsWith('outbound|'))
  t.same(ours.map((c) => c.name).sort(), recorded.map((c) => c.name).sort(), 'names of clusters')
  for (const { name, common_lb_config: common = {} } of recorded) {
    const cluster = ours.find((c) => c.name === name)
    // Not written is Envoy's 50, written without a value is 0.
    const threshold = common.healthy_panic_threshold
    t.equal(cluster?.panicThreshold, threshold === undefined ? 50 : (threshold.value ?? 0), `panic threshold of ${name}`)
    t.equal(cluster?.localityWeights !== null, common.locality_weighted_lb_config !== undefined, `locality weights of ${name}`)
  }
  for (const { name, lb_policy: kind, ring_hash_lb_config: ring, maglev_lb_config: maglev } of recorded) {
    // Headless services, which istiod leaves to the address that the client dialled, are balanced here.
    if (kind === 'CLUSTER_PROVIDED') continue
    const sizes = {
      ...(kind === 'RING_HASH' ? { minimumRingSize: Number(ring?.minimum_ring_size ?? 1024), maximumRingSize: 8_388_608 } : {}),
      ...(kind === 'MAGLEV' ? { tableSize: Number(maglev?.table_size ?? 65_537) } : {}),
    }
    t.same(ours.find((c) => c.name === name)?.loadBalancer, { kind: kind ?? 'ROUND_ROBIN', ...sizes }, `balancer of ${name}`)
  }
  for (const { cluster_name: name, endpoints = [] } of xds.endpoints) {
    const cluster = ours.find((c) => c.name === name)
    const placeOf = ({ region = '', zone = '', sub_zone = '' }: NonNullable<(typeof endpoints)[number]['locality']>) =>
      `${region}/${zone}/${sub_zone}`
    const expected = endpoints.flatMap((group) =>
      group.lb_endpoints.map(({ endpoint, load_balancing_weight: weight = 1 }) => {
        const { address, port_value: port } = endpoint.address.socket_address
        return `${address}:${port} weight ${weight} priority ${group.priority ?? 0} in ${placeOf(group.locality ?? {})}`
      }),
    )
    const found = cluster?.endpoints.map(
      ({ address, port, weight, priority, locality: { region, zone, subzone } }) =>
        `${address}:${port} weight ${weight} priority ${priority} in ${region}/${zone}/${subzone}`,
    )
    t.same(found?.toSorted(), expected.sort(), `endpoints of ${name}`)
    for (const weight of cluster?.localityWeights ?? []) {
      const { region, zone, subzone } = weight.locality
      const group = endpoints.find(
        (e) => (e.priority ?? 0) === weight.priority && placeOf(e.locality ?? {}) === `${region}/${zone}/${subzone}`,
      )
      t.equal(weight.weight, group?.load_balancing_weight, `weight of ${region}/${zone}/${subzone} in ${name}`)
    }
  }
}

t.test('the validator', { skip: peers === null ? 'the peers folder is not there (HEDDLE_PEERS)' : false }, async (t) => {
  const folder = join(peers!, 'cases', 'refused')
  const { refused } = JSON.parse(readFileSync(join(folder, 'xds.json'), 'utf8')) as Recorded
  const reasons = new Map(refused.map((r) => [`${r.kind}/${r.name.slice(r.name.indexOf('/') + 1)}`, r.reason]))
  const { statuses } = new ResourceLoader(bootstrapFor([join(folder, 'objects.yaml')])).load()
  t.ok(statuses.length > 80)
  for (const status of statuses) {
    const key = `${status.kind}/${status.name}`
    const expected = reasons.has(key) || REFUSED_BY_US_ALONE.has(key)
    t.equal(status.state === 'refused', expected, `${key}: ${reasons.get(key) ?? 'accepted'} — ${status.reason}`)
    t.ok(status.line > 0 && status.column > 0)
    reasons.delete(key)
  }
  t.same([...reasons.keys()], [], 'every refused object was seen')
})

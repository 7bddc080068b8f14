// The authorization filters that istiod generated from AuthorizationPolicies, translated, against those that we compile from the same objects.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ResourceLoader } from '../../../lib/resources/load.ts'
import type { Listener } from '../../../lib/state/listener.ts'
import type { RbacFilter, RbacRules } from '../../../lib/state/rbac.ts'
import { fromJson, type JsonObject } from '../../../lib/xds/proto/json.ts'
import { HttpRbac, NetworkRbac } from '../../../lib/xds/proto/rbac.ts'
import { REGISTRY } from '../../../lib/xds/proto/registry.ts'
import { Findings, findingsText } from '../../../lib/xds/translate/findings.ts'
import { translateHttpRbac, translateNetworkRbac } from '../../../lib/xds/translate/rbac.ts'
import { bootstrapFor, peersFolder, type View } from './kit.ts'

const peers = peersFolder()

interface RecordedFilter {
  readonly typed_config: JsonObject & { readonly '@type'?: string; readonly http_filters?: readonly RecordedFilter[] }
}

interface RecordedListener {
  readonly name: string
  readonly filter_chains?: readonly { readonly filters: readonly RecordedFilter[] }[]
}

interface Proxy {
  readonly ip: string
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
}

/** Filters of the chains for requests, and of those for bytes: of each kind each list once. */
interface Lists {
  readonly http: readonly (readonly RbacFilter[])[]
  readonly tcp: readonly (readonly RbacFilter[])[]
}

if (peers === null) t.plan(0, 'the recordings of Istio and Envoy are not here; HEDDLE_PEERS names their folder')
else {
  for (const name of ['cases/inbound', 'examples/inbound-policy'])
    t.test(name, async (t) => {
      const { listeners, proxy } = recorded(t, join(peers, name), (l) => l.name === 'virtualInbound')
      const ours = compiled(join(peers, name), {
        ...viewOf(proxy),
        listeners: [],
        capture: { mode: 'redirect', tunnelPort: 0 },
        identity: 'files',
      }).filter((l) => l.name === 'virtualInbound')
      t.ok(listeners.http[0]?.length, 'requests are filtered')
      t.ok(listeners.tcp[0]?.length, 'bytes are filtered')
      t.same(oursOf(ours), listeners)
    })

  t.test('cases/waypoint', async (t) => {
    const folder = join(peers, 'cases/waypoint')
    const { listeners, proxy } = recorded(t, folder, (l) => l.name === 'main_internal')
    const ours = compiled(folder, {
      ...viewOf(proxy),
      waypoint: { name: 'waypoint', services: 'namespace' },
      listeners: [],
      identity: 'files',
    })
    const filters = oursOf(ours).http.filter((list) => list.length > 0)
    t.same(
      filters,
      listeners.http.filter((list) => list.length > 0),
    )
    t.equal(filters.length, 1)
  })
}

function viewOf({ namespace, labels, ip }: Proxy): View {
  return { namespace, labels, address: ip }
}

function compiled(folder: string, view: View): readonly Listener[] {
  const files = readdirSync(folder).filter((f) => f.endsWith('.yaml') && f !== 'mesh.yaml')
  return new ResourceLoader(
    bootstrapFor(
      files.map((f) => join(folder, f)),
      view,
    ),
  ).load().snapshot.listeners
}

function recorded(t: Test, folder: string, only: (l: RecordedListener) => boolean): { listeners: Lists; proxy: Proxy } {
  const read = (file: string): unknown => JSON.parse(readFileSync(join(folder, file), 'utf8'))
  const { listeners } = read('xds.json') as { listeners: readonly RecordedListener[] }
  const http: RbacFilter[][] = []
  const tcp: RbacFilter[][] = []
  const findings = new Findings()
  for (const { filters } of listeners.filter(only).flatMap((l) => l.filter_chains ?? [])) {
    const last = filters.at(-1)?.typed_config
    if (last?.http_filters === undefined) tcp.push(filters.flatMap((f) => networkFilter(f, findings)))
    else http.push(last.http_filters.flatMap((f) => httpFilter(f, findings)))
  }
  t.equal(findingsText(findings.faults), '')
  return { listeners: { http: distinct(http), tcp: distinct(tcp) }, proxy: read('proxy.json') as Proxy }
}

function httpFilter({ typed_config: json = {} }: RecordedFilter, findings: Findings): RbacFilter[] {
  if (!json['@type']?.endsWith(HttpRbac.typeName)) return []
  return [translateHttpRbac(fromJson(HttpRbac, json, REGISTRY), findings)]
}

function networkFilter({ typed_config: json = {} }: RecordedFilter, findings: Findings): RbacFilter[] {
  if (!json['@type']?.endsWith(NetworkRbac.typeName)) return []
  return [translateNetworkRbac(fromJson(NetworkRbac, json, REGISTRY), findings)]
}

function oursOf(listeners: readonly Listener[]): Lists {
  const chains = listeners.flatMap((l) => l.filterChains.map((c) => c.network))
  return {
    http: distinct(chains.flatMap((c) => (c.kind === 'http' ? [c.authorization] : []))),
    tcp: distinct(chains.flatMap((c) => (c.kind === 'tcp' ? [c.authorization] : []))),
  }
}

/** The chain that closes connections which come to the proxy itself has none, and is no chain of bytes here. */
function distinct(lists: readonly (readonly RbacFilter[])[]): RbacFilter[][] {
  const all = new Map(lists.map((list) => list.map(withoutPlaces)).map((list) => [JSON.stringify(list), list]))
  all.delete('[]')
  return [...all.values()]
}

/** Where a policy was read is known of files only. */
function withoutPlaces({ rules, shadow }: RbacFilter): RbacFilter {
  const without = (r: RbacRules | null): RbacRules | null =>
    r === null
      ? null
      : { ...r, policies: r.policies.map((p) => ({ ...p, origin: { ...p.origin, file: '', line: 0, column: 0 } })) }
  return { rules: without(rules), shadow: without(shadow) }
}

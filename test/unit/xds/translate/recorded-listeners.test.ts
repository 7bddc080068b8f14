// What istiod sends for a world and what we compile of the same world are the same nouns.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { FilterChain, FilterChainMatch, Listener } from '../../../../lib/state/listener.ts'
import type { Origin } from '../../../../lib/state/origin.ts'
import type { RbacFilter } from '../../../../lib/state/rbac.ts'
import type { RouteTable } from '../../../../lib/state/route.ts'
import { findingsText } from '../../../../lib/xds/translate/findings.ts'
import { type TranslatedListener, translateListener } from '../../../../lib/xds/translate/listener.ts'
import { peersFolder } from '../../resources/kit.ts'
import { plainTable } from './plain-routes.ts'
import { compiled, recordedListeners } from './recorded.ts'

const peers = peersFolder()
const WAYPOINT = join('cases', 'waypoint')
const TERMS = { extensions: new Map(), routes: { unsafeRetries: 'allowed' } } as const
const CASES = [
  ...['match', 'hosts', 'rewrite', 'headers', 'limits-and-paths', 'retry', 'faults', 'weights', 'grpc', 'registry-only'],
  ...['inbound', 'visibility', 'gateway-api-mesh', 'gateway', 'waypoint'],
].map((name) => join('cases', name))
const EXAMPLES = ['routing', 'resilience', 'inbound-policy'].map((name) => join('examples', name))

/*
 * What is otherwise, on purpose:
 * - names of chains, which are of the match here and of their purpose there; origins, which istiod says of routes and clusters alone;
 * - what a connection manager says of its own (settings), where YAML leaves it to heddle.yaml; limits of TCP, which YAML has in clusters;
 * - words of refusals;
 * - authorities of tunnels that are names, which istiod sends where there are several networks, and we have always; how long a client may say nothing;
 * - suites of TLS 1.3, of which istiod says nothing and ztunnel has two;
 * - tables of waypoints, which we compile of those of ports: with their virtual hosts and clusters;
 * - metrics: these worlds have no provider for them, so that istiod wants none;
 * - the prefix of our trust domain for identities of clients, which is in the trust itself here.
 */
function plain({ match, tls, network }: FilterChain): unknown {
  const suites = tls === null || tls.minVersion === 'TLSv1.3' ? [] : tls.cipherSuites
  const plainTls = tls === null ? null : { ...tls, subjectAltNamePrefixes: [], cipherSuites: suites }
  return { match: plainMatch(match), tls: plainTls, network: plainNetwork(network) }
}

function plainNetwork(network: FilterChain['network']): unknown {
  if (network.kind === 'refuse') return { kind: 'refuse' }
  if (network.kind === 'tcp')
    return { ...network, metrics: null, idleTimeoutMs: null, maxDurationMs: null, authorization: rules(network) }
  return network.kind === 'http' ? { ...network, settings: null, authorization: rules(network) } : { ...network, names: [] }
}

/** Files and lines are of YAML alone. */
function rules({ authorization }: { readonly authorization: readonly RbacFilter[] }): unknown {
  return JSON.parse(JSON.stringify(authorization, (key, value: unknown) => (key === 'origin' ? nameOf(value as Origin) : value)))
}

function nameOf({ kind, namespace, name }: Origin): string {
  return `${kind} ${namespace}/${name}`
}

function plainMatch(m: FilterChainMatch): unknown {
  return { ...m, applicationProtocols: m.applicationProtocols.toSorted() }
}

function compare(t: Test, ours: Listener, { listener, name }: TranslatedListener): void {
  if (listener === null) {
    t.fail(`${name} is no listener`)
    return
  }
  const facts = ({ filterChains: _, defaultFilterChain: __, origin: ___, detectionTimeoutMs: ____, ...rest }: Listener) => rest
  t.same(facts(listener), facts(ours), `${name}: facts`)
  t.same(listener.filterChains.map(plain), ours.filterChains.map(plain), `${name}: chains`)
  const otherwise = (l: Listener) => (l.defaultFilterChain === null ? null : plain(l.defaultFilterChain))
  t.same(otherwise(listener), otherwise(ours), `${name}: default chain`)
  const names = [...listener.filterChains, ...(listener.defaultFilterChain === null ? [] : [listener.defaultFilterChain])]
  t.equal(new Set(names.map((c) => c.name)).size, names.length, `${name}: names of chains`)
}

/** Those that listeners carry. */
function compareTables(t: Test, ours: readonly RouteTable[], listeners: readonly TranslatedListener[]): void {
  for (const table of listeners.flatMap((l) => l.inlineTables)) {
    const own = ours.find((r) => r.name === table.name)
    if (own === undefined) t.fail(`there is no table ${table.name}`)
    else t.same(plainTable(table), plainTable(own), `table ${table.name}`)
  }
}

t.test('recorded listeners', { skip: peers === null ? 'the peers folder is not there (HEDDLE_PEERS)' : false }, async (t) => {
  for (const folder of [...CASES, ...EXAMPLES]) {
    t.test(folder, async (t) => {
      const ours = compiled(join(peers!, folder)).listeners
      const sent = recordedListeners(join(peers!, folder))
      const translated = [...sent.values()].map((bytes) => translateListener(bytes, null, TERMS))
      for (const l of translated) t.equal(findingsText(l.faults), '', l.name)
      if (folder !== WAYPOINT) compareTables(t, compiled(join(peers!, folder)).routeTables, translated)
      const there = translated.filter((l) => l.listener !== null)
      t.same(there.map((l) => l.name).sort(), ours.map((l) => l.name).sort(), 'names')
      for (const l of there) compare(t, ours.find((o) => o.name === l.name)!, l)
    })
  }
})

// The routes that istiod sent for a world, translated, and what we compile of the same YAML are the same nouns.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Route, RouteTable } from '../../../../lib/state/route.ts'
import { Findings } from '../../../../lib/xds/translate/findings.ts'
import { translateRoutes } from '../../../../lib/xds/translate/route-configuration.ts'
import { peersFolder } from '../../resources/kit.ts'
import { plainRoute } from './plain-routes.ts'
import { compiled, recordedRoutes } from './recorded.ts'

const peers = peersFolder()

/** What else is otherwise in one world: tables, domains of them, or the names of their virtual hosts, and why. All of it has to be otherwise. */
const JOINED = 'istiod joins hosts of one VirtualService in one virtual host'
const WAYPOINT = 'virtual hosts of waypoints are named after the service'
const PLUMBING = "a part of Envoy's plumbing that heddle does without"
const DIFFERS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'cases/gateway': {
    'http.8081':
      'where no proxy in front is believed, everything that comes by plaintext is sent to https without a look at x-forwarded-proto',
    'http.8082 names': JOINED,
  },
  'cases/refused': {
    ...ofService('9080', 'a', 'default', '10.96.0.2', 'objects that only we refuse, and a fault that neither delays nor aborts'),
  },
  'cases/waypoint': {
    default: PLUMBING,
    encap: PLUMBING,
    'inbound-vip|9080|http|a.default.svc.cluster.local names': WAYPOINT,
    'inbound-vip|9080|http|c.default.svc.cluster.local names': WAYPOINT,
  },
}

/** Every domain of a service, as a client in `default` has them. */
function ofService(table: string, name: string, namespace: string, address: string, reason: string): Record<string, string> {
  const full = `${name}.${namespace}.svc.cluster.local`
  const short = namespace === 'default' ? [name] : []
  const domains = [full, `${full}.`, `${name}.${namespace}.svc`, `${name}.${namespace}`, address, ...short]
  return Object.fromEntries(domains.map((domain) => [`${table} ${domain}`, reason]))
}

t.test('recorded routes', { skip: peers === null ? 'the peers folder is not there (HEDDLE_PEERS)' : false }, async (t) => {
  for (const kind of ['cases', 'examples']) {
    for (const name of readdirSync(join(peers!, kind)).sort()) {
      t.test(`${kind}/${name}`, async (t) => compareWorld(t, `${kind}/${name}`, join(peers!, kind, name)))
    }
  }
})

function compareWorld(t: Test, name: string, folder: string): void {
  const { routeTables } = compiled(folder)
  const reasons = new Map(Object.entries(DIFFERS[name] ?? {}))
  for (const [tableName, bytes] of recordedRoutes(folder)) {
    const findings = new Findings()
    const table = translateRoutes(bytes, { unsafeRetries: 'allowed' }, findings, null)
    t.same(findings.faults, [], `${tableName} is understood`)
    const ours = routeTables.find((r) => r.name === tableName)
    if (table === null) continue
    if (ours === undefined) t.ok(reasons.delete(tableName), `there is a table ${tableName}`)
    else if (reasons.delete(tableName)) t.not(textOf(table), textOf(ours), `${tableName} differs`)
    else compareTables(t, table, ours, reasons)
  }
  t.same([...reasons.keys()], [], 'what is declared to differ was met')
}

function textOf(table: RouteTable): string {
  return JSON.stringify([...byDomain(table)])
}

function byDomain({ name, virtualHosts }: RouteTable): ReadonlyMap<string, unknown> {
  return new Map(
    virtualHosts.flatMap((v) => v.domains.map((d) => [d, v.routes.map((r) => plainRoute(withDefaults(r), name))] as const)),
  )
}

/** Redirects of HTTPRoutes that name no status: 302, which an API server writes. These worlds were recorded without one, and istiod takes nothing for 301. */
const STATUS_UNSAID = new Set(['default.a.7', 'default.a.9', 'default.a.10', 'default.a.11'])

function withDefaults(route: Route): Route {
  const { action } = route
  return action.kind === 'redirect' && action.code === 301 && STATUS_UNSAID.has(route.name)
    ? { ...route, action: { ...action, code: 302 } }
    : route
}

function compareTables(t: Test, table: RouteTable, ours: RouteTable, reasons: Map<string, string>): void {
  const { name, port } = ours
  t.equal(table.port, port, `port of ${name}`)
  const names = (r: RouteTable) => r.virtualHosts.map((v) => v.name)
  if (reasons.delete(`${name} names`)) t.not(names(table).join(), names(ours).join(), `names in ${name} differ`)
  else t.same(names(table), names(ours), `virtual hosts of ${name}`)
  const [found, expected] = [byDomain(table), byDomain(ours)]
  t.same([...found.keys()].sort(), [...expected.keys()].sort(), `domains of ${name}`)
  for (const [domain, routes] of found) {
    const key = `${name} ${domain}`
    const own = expected.get(domain)
    if (reasons.delete(key)) t.not(JSON.stringify(routes), JSON.stringify(own), `${key} differs`)
    else t.same(routes, own, key)
  }
}

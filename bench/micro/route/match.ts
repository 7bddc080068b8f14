// Route match: what a request pays for the routes before its own.
import { compileTables } from '../../../lib/route/compile.ts'
import type { RequestView } from '../../../lib/route/request-view.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import { ANY_REQUEST, type Route, type RouteMatch } from '../../../lib/state/route.ts'
import { type Bench, keep } from '../contract.ts'

const FACTS = { draw: 0, context: null }
const HEADERS: readonly (readonly [string, string])[] = [
  ['host', 'reviews:9080'],
  ['user-agent', 'curl/8.5.0'],
  ['accept', '*/*'],
  ['x-request-id', '691c3a2e-3d5e-4ac9-ae09-d6697da3596b'],
  ['x-forwarded-proto', 'http'],
  ['x-user', 'jason'],
]

const headers: RequestView['headers'] = {
  get: (name) => HEADERS.find(([n]) => n === name)?.[1] ?? null,
  indexOf: (name, from) => {
    for (let i = from; i < HEADERS.length; i++) if ((HEADERS[i] as readonly [string, string])[0] === name) return i
    return -1
  },
  valueAt: (i) => (HEADERS[i] as readonly [string, string])[1],
}

function request(path: string, query: string | null = null): RequestView {
  return { method: 'GET', path, query, scheme: 'http', authority: 'reviews:9080', headers, metadata: null }
}

function route(match: Partial<RouteMatch>): Route {
  return {
    name: 'r',
    origin: BUILT_IN,
    match: { ...ANY_REQUEST, ...match },
    action: { kind: 'direct', status: 200, body: '' },
    requestEdits: [],
    responseEdits: [],
  }
}

const quiet = { tried: (): void => {} }

function bench(name: string, matches: readonly Partial<RouteMatch>[], view: RequestView): Bench {
  const routes = matches.map(route)
  const virtualHost = { name: 'v', domains: ['*'], routes, origin: BUILT_IN }
  const snapshot = {
    version: 1,
    listeners: [],
    routeTables: [{ name: '80', port: 80, ignorePort: true, virtualHosts: [virtualHost] }],
    defaultPorts: [],
    clusters: [],
    world: { workloads: [], services: [], policies: [] },
  }
  const host = compileTables(snapshot, new Map()).list[0]?.virtualHosts[0]
  if (host === undefined) throw new Error('no virtual host')
  return {
    name: `route/match: ${name}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) keep(host.match(view, FACTS, quiet))
    },
  }
}

const prefix = (value: string): Partial<RouteMatch> => ({ path: { kind: 'prefix', value, ignoreCase: false } })
const regex = (value: string): Partial<RouteMatch> => ({ path: { kind: 'regex', value, ignoreCase: false } })
const user = (value: string): RouteMatch['headers'][number] => ({
  name: 'x-user',
  field: 'headers[x-user]',
  match: { kind: 'exact', value, ignoreCase: false },
  invert: false,
  missingIsEmpty: false,
})
const prefixes = (n: number) => Array.from({ length: n }, (_, i) => prefix(`/api/v1/service-${i}/`))

export const benches: readonly Bench[] = [
  bench('one route for everything', [{}], request('/api/v1/x')),
  bench('header, then everything', [{ headers: [user('jane')] }, {}], request('/api/v1/x')),
  bench(
    'query, then everything',
    [{ query: [{ name: 'v', field: '', match: { kind: 'exact', value: '2', ignoreCase: false } }] }, {}],
    request('/x', 'a=b&v=1'),
  ),
  bench('5 prefixes, last one fits', prefixes(5), request('/api/v1/service-4/x')),
  bench('11 prefixes, last one fits (no index)', prefixes(11), request('/api/v1/service-10/x')),
  bench('12 prefixes, last one fits (index)', prefixes(12), request('/api/v1/service-11/x')),
  bench('100 prefixes, last one fits', prefixes(100), request('/api/v1/service-99/x')),
  bench('1000 prefixes, none fits', prefixes(1000), request('/other')),
  bench(
    '10 patterns, last one fits',
    Array.from({ length: 10 }, (_, i) => regex(`/api/v[0-9]+/service-${i}/.*`)),
    request('/api/v1/service-9/x'),
  ),
]

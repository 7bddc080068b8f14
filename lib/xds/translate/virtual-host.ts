// VirtualHost of envoy.config.route.v3 to the noun of the same name. One may have thousands of routes, of which mostly one changes: a route whose bytes are what
// they were stays the object that it was.
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import { ANY_REQUEST, type Route as RouteNoun, type VirtualHost as VirtualHostNoun } from '../../state/route.ts'
import { loadedRoutes, UnloadableHost } from '../../state/unloadable-host.ts'
import { type Parts, partAt, partsOf, samePlaces } from '../proto/parts.ts'
import { Route, VirtualHost } from '../proto/route.ts'
import type { Finding, Findings } from './findings.ts'
import { followedBy, headerEditsOf } from './header-edits.ts'
import { overriding } from './per-filter-config.ts'
import { type RouteSurroundings, routeOf } from './route.ts'

/** A virtual host, and what it was made of. */
export interface TranslatedHost {
  readonly noun: VirtualHostNoun
  /** A view of the message that it came in. */
  readonly bytes: Uint8Array
  readonly notes: readonly Finding[]
}

/** `routes` of VirtualHost. */
const ROUTES = 3

/** null with a fault. `around`: what the route configuration says of all virtual hosts. `before`: that of this name in the same surroundings; null: there was none. */
export function translateVirtualHost(
  bytes: Uint8Array,
  index: number,
  before: TranslatedHost | null,
  around: RouteSurroundings,
  findings: Findings,
): TranslatedHost | null {
  const parts = partsOf(bytes, ROUTES)
  const host = findings.at('virtual_hosts', index).decode(parts === null ? bytes : parts.rest, VirtualHost)
  if (parts === null || host === null) return null
  const notesBefore = findings.notes.length
  // By name: its place changes with others.
  const noun = virtualHostOf(host, parts, before, around, findings.at(`virtual_hosts[${host.name}]`))
  return { noun, bytes, notes: findings.notes.slice(notesBefore) }
}

function virtualHostOf(
  host: VirtualHost,
  parts: Parts,
  before: TranslatedHost | null,
  around: RouteSurroundings,
  findings: Findings,
): VirtualHostNoun {
  if (host.domains.length === 0) findings.fault('it has no domains')
  const request = headerEditsOf(host.request_headers_to_add, host.request_headers_to_remove, 'request_headers', findings)
  const response = headerEditsOf(host.response_headers_to_add, host.response_headers_to_remove, 'response_headers', findings)
  const { editsFirst } = around
  const inHost: RouteSurroundings = {
    ...around,
    requestEdits: editsFirst ? followedBy(around.requestEdits, request) : followedBy(request, around.requestEdits),
    responseEdits: editsFirst ? followedBy(around.responseEdits, response) : followedBy(response, around.responseEdits),
    filters: overriding(around.filters, host.typed_per_filter_config),
    retry: host.retry_policy,
    countsAttempts: host.include_request_attempt_count,
  }
  const { routes, another } = routesOf(parts, before, inHost, findings)
  // Routes are what istiod says the objects of; those of a virtual host are mostly of one. Where none was said before, only new ones can say it.
  const telling = before?.noun.origin === BUILT_IN ? another : routes
  const origin = telling.find((r) => r.origin !== BUILT_IN)?.origin ?? BUILT_IN
  return new UnloadableHost({
    name: host.name,
    domains: shared(
      host.domains.map((d) => d.toLowerCase()),
      before?.noun.domains,
    ),
    routes: host.require_tls === 'NONE' ? routes : [toHttps(origin), ...routes],
    origin,
  })
}

/** The list of before where it says the same. */
function shared(domains: readonly string[], before: readonly string[] = []): readonly string[] {
  return domains.length === before.length && domains.every((d, i) => d === before[i]) ? before : domains
}

interface Routes {
  readonly routes: readonly RouteNoun[]
  /** Those of them that were not there before. */
  readonly another: readonly RouteNoun[]
}

function routesOf(parts: Parts, before: TranslatedHost | null, around: RouteSurroundings, findings: Findings): Routes {
  const known = before === null ? null : knownRoutes(before, parts, findings.path)
  const same = known === null ? null : samePlaces(known.parts, parts)
  const routes: RouteNoun[] = []
  const another: RouteNoun[] = []
  for (let i = 0; i < parts.places.length / 2; i++) {
    const was = same?.[i] ?? -1
    const route = was >= 0 ? known?.routes[was] : undefined
    if (route !== undefined) {
      routes.push(route)
      known?.repeatNotes?.(was, i, findings)
      continue
    }
    const at = findings.at('routes', i)
    const decoded = at.decode(partAt(parts, i), Route)
    const made = decoded === null ? null : routeOf(decoded, around, at)
    if (made === null) continue
    routes.push(made)
    another.push(made)
  }
  // As long as it is: a list that grew has room for many more.
  return { routes: routes.slice(), another }
}

interface KnownRoutes {
  readonly parts: Parts
  /** For each of the parts. */
  readonly routes: readonly RouteNoun[]
  /** Null: there are none. */
  readonly repeatNotes: ((was: number, is: number, findings: Findings) => void) | null
}

/** null: something that holds for all of its routes is another, or they are few and elsewhere. */
function knownRoutes({ noun, bytes, notes }: TranslatedHost, { rest }: Parts, path: string): KnownRoutes | null {
  const all = loadedRoutes(noun)
  const parts = all === null ? null : partsOf(bytes, ROUTES)
  if (all === null || parts === null || Buffer.compare(parts.rest, rest) !== 0) return null
  // One that leads to https stands before them.
  const routes = all.slice(all.length - parts.places.length / 2)
  if (notes.length === 0) return { parts, routes, repeatNotes: null }
  const byRoute = notesByRoute(notes, `${path}.routes[`)
  const repeatNotes = (was: number, is: number, findings: Findings): void => {
    const own = byRoute.get(was)
    if (own === undefined) return
    const to = findings.at('routes', is).path
    const from = findings.at('routes', was).path
    findings.repeat(own.map((n) => ({ path: to + n.path.slice(from.length), text: n.text })))
  }
  return { parts, routes, repeatNotes }
}

function notesByRoute(notes: readonly Finding[], prefix: string): ReadonlyMap<number, readonly Finding[]> {
  const byRoute = new Map<number, Finding[]>()
  for (const note of notes) {
    if (!note.path.startsWith(prefix)) continue
    const index = Number.parseInt(note.path.slice(prefix.length), 10)
    const own = byRoute.get(index)
    if (own === undefined) byRoute.set(index, [note])
    else own.push(note)
  }
  return byRoute
}

/** Before all routes: whoever has not come by https, to a proxy in front that is believed either, is sent there (require_tls). */
function toHttps(origin: Origin): RouteNoun {
  const notHttps = {
    name: 'x-forwarded-proto',
    field: 'require_tls',
    match: { kind: 'exact', value: 'https', ignoreCase: false },
    invert: true,
    missingIsEmpty: true,
  } as const
  const action = {
    kind: 'redirect',
    code: 301,
    scheme: 'https',
    authority: '',
    port: 0,
    portFromListener: false,
    path: '',
    prefixRewrite: null,
    regexRewrite: null,
    stripQuery: false,
  } as const
  return {
    name: '',
    origin,
    match: { ...ANY_REQUEST, headers: [notHttps] },
    action,
    requestEdits: [],
    responseEdits: [],
  }
}

// HTTPMatchRequest to RouteMatch (Istio HTTPMatchRequest), and which of its conditions are decided here and now.
import {
  ANY_REQUEST,
  type HeaderMatch,
  JWT_METADATA,
  type MetadataMatch,
  type PathMatch,
  type QueryMatch,
  type RouteMatch,
  type StringMatch,
  type ValueMatch,
} from '../../state/route.ts'
import type { StringMatchSpec } from '../schema/string-match.ts'
import type { HttpMatchSpec } from '../schema/virtual-service.ts'
import { routingClaim } from '../validate/routing-claim.ts'
import { hasLabels } from './host-names.ts'
import type { Client } from './world.ts'

export const MATCH_ALL: RouteMatch = ANY_REQUEST

/** Where a rule is asked for: the mesh, or a gateway by its full name. */
export interface RuleScope {
  /** `mesh`, or `namespace/name`. */
  readonly gateway: string
  /** What comes in there is TLS. */
  readonly encrypted: boolean
}

export const IN_MESH: RuleScope = { gateway: 'mesh', encrypted: false }

/** Whether `gateways` of a VirtualService in `namespace`, or of a match of it, name the scope's. */
export function namesGateway(gateways: readonly string[], namespace: string, { gateway }: RuleScope): boolean {
  return gateways.some((g) => gatewayName(g, namespace) === gateway)
}

/** `mesh`, or the full name: without a namespace it is that of the VirtualService. */
export function gatewayName(written: string, namespace: string): string {
  if (written === 'mesh') return written
  const [first = '', name] = written.split('/')
  return name === undefined ? `${namespace}/${first}` : `${first === '.' ? namespace : first}/${name}`
}

/** Whether the match can ever hold for this client on this port; it is not generated otherwise. `namespace`: of its VirtualService. */
export function isForClient(
  match: Pick<HttpMatchSpec, 'port' | 'gateways' | 'sourceLabels' | 'sourceNamespace'>,
  client: Client,
  port: number,
  namespace: string,
  scope: RuleScope = IN_MESH,
): boolean {
  if ((match.port ?? 0) !== 0 && match.port !== port) return false
  // With gateways listed, labels and namespace are not consulted.
  if ((match.gateways?.length ?? 0) > 0) return namesGateway(match.gateways!, namespace, scope)
  return isOneOf(client, match)
}

/** Whether the client is among those that a match asks for. */
export function isOneOf(client: Client, { sourceLabels = {}, sourceNamespace = '' }: ClientMatch): boolean {
  if (client.unknown) return Object.keys(sourceLabels).length === 0 && sourceNamespace === ''
  return hasLabels(client.labels, sourceLabels) && (sourceNamespace === '' || sourceNamespace === client.namespace)
}

type ClientMatch = Pick<HttpMatchSpec, 'sourceLabels' | 'sourceNamespace'>

/** `segments`: a prefix of the path ends where one of its segments does. */
export function compileMatch(match: HttpMatchSpec, segments = false): RouteMatch {
  const headers = [...headerMatches(match.headers, false), ...headerMatches(match.withoutHeaders, true)].toSorted((a, b) =>
    compare(a.name, b.name),
  )
  for (const field of ['method', 'authority', 'scheme'] as const) {
    const compiled = stringMatch(match[field])
    // An empty StringMatch means any here, not presence.
    if (compiled === null || compiled.kind === 'present') continue
    headers.push({ name: `:${field}`, field, match: compiled, invert: false, missingIsEmpty: false })
  }
  const metadata = [...claimMatches(match.headers, false), ...claimMatches(match.withoutHeaders, true)]
  return { ...ANY_REQUEST, path: pathMatch(match, segments), headers, query: queryMatches(match.queryParams), metadata }
}

/** Nothing after such a route is ever asked. */
export function isCatchAll(match: RouteMatch): boolean {
  if (match.headers.length > 0 || match.query.length > 0 || match.metadata.length > 0) return false
  const path = match.path
  return path === null || (path.kind === 'prefix' && path.value === '/') || (path.kind === 'regex' && path.value === '.*')
}

function pathMatch(match: HttpMatchSpec, segments: boolean): PathMatch | null {
  const compiled = stringMatch(match.uri)
  if (compiled === null || compiled.kind === 'present') return null
  const written = compiled.kind as 'exact' | 'prefix' | 'regex'
  const kind = segments && written === 'prefix' && compiled.value !== '/' ? 'pathPrefix' : written
  return { kind, value: compiled.value, ignoreCase: match.ignoreUriCase === true && kind !== 'regex' }
}

function headerMatches(headers: Readonly<Record<string, StringMatchSpec>> | undefined, invert: boolean): HeaderMatch[] {
  const list = invert ? 'withoutHeaders' : 'headers'
  return Object.entries(headers ?? {}).flatMap(([key, spec]) => {
    if (routingClaim(key) !== null) return []
    const match = stringMatch(spec) ?? PRESENT
    const lower = key.toLowerCase()
    // Envoy keeps Host under the name of the pseudo-header.
    const name = lower === 'host' ? ':authority' : lower
    return { name, field: `${list}[${key}]`, match, invert, missingIsEmpty: invert && match.kind !== 'present' }
  })
}

/** Claims of a verified token: a text, or a list with it; by the name of the claim. */
function claimMatches(headers: Readonly<Record<string, StringMatchSpec>> | undefined, invert: boolean): MetadataMatch[] {
  const list = invert ? 'withoutHeaders' : 'headers'
  return Object.entries(headers ?? {})
    .toSorted(([a], [b]) => compare(a, b))
    .flatMap(([key, spec]) => {
      const claim = routingClaim(key)
      if (claim === null) return []
      const path = ['payload', ...claim]
      return [{ filter: JWT_METADATA, path, field: `${list}[${key}]`, value: claimValue(stringMatch(spec) ?? PRESENT), invert }]
    })
}

function claimValue(match: StringMatch): ValueMatch {
  if (match.kind === 'present') return { kind: 'present', value: true }
  const text: ValueMatch = { kind: 'text', match }
  return { kind: 'or', of: [{ kind: 'element', of: text }, text] }
}

function queryMatches(query: Readonly<Record<string, StringMatchSpec>> | undefined): QueryMatch[] {
  const entries = Object.entries(query ?? {}).toSorted(([a], [b]) => compare(a, b))
  return entries.map(([name, spec]) => ({ name, field: `queryParams[${name}]`, match: stringMatch(spec) ?? PRESENT }))
}

const PRESENT: StringMatch = { kind: 'present', value: '', ignoreCase: false }

/** null when there is none. */
export function stringMatch(spec: StringMatchSpec | undefined): StringMatch | null {
  if (spec === undefined) return null
  if (spec.exact !== undefined) return { kind: 'exact', value: spec.exact, ignoreCase: false }
  if (spec.prefix !== undefined) return { kind: 'prefix', value: spec.prefix, ignoreCase: false }
  if (spec.regex !== undefined) return { kind: 'regex', value: spec.regex, ignoreCase: false }
  return PRESENT
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

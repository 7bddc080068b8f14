// RouteConfiguration of envoy.config.route.v3 to RouteTable. One configuration holds all services of a port, and mostly one of them changes: a virtual host
// whose bytes are what they were stays the object that it was, and so does a table of which nothing has changed.
import type { RouteTable, VirtualHost as VirtualHostNoun } from '../../state/route.ts'
import { decode } from '../proto/decode.ts'
import { encode } from '../proto/encode.ts'
import { type RouteConfigurationInParts, routeConfigurationInParts, VirtualHost, virtualHostName } from '../proto/route.ts'
import type { Finding, Findings } from './findings.ts'
import { headerEditsOf } from './header-edits.ts'
import type { RouteSurroundings } from './route.ts'
import type { RouteTerms } from './route-terms.ts'
import { virtualHostOf } from './virtual-host.ts'

/** Envoy's for direct responses. */
const DEFAULT_MAX_BODY_BYTES = 4096

/** What the next translation of the same configuration is compared with. */
interface TranslatedRoutes {
  readonly parts: ReadonlyMap<string, TranslatedPart>
  /** The configuration without its virtual hosts. */
  readonly rest: Uint8Array
  readonly terms: RouteTerms
}

interface TranslatedPart {
  /** A view of the message that it came in. */
  readonly bytes: Uint8Array
  readonly virtualHost: VirtualHostNoun
  readonly notes: readonly Finding[]
}

/** For each table that was translated. */
const translated = new WeakMap<RouteTable, TranslatedRoutes>()

/** A configuration that nobody has, or that is not there yet. */
export function emptyTable(name: string): RouteTable {
  return { name, port: portOf(name), ignorePort: true, virtualHosts: [] }
}

/** null with faults. `from`: a RouteConfiguration. `previous`: what this returned for the configuration of that name before; null: nothing. */
export function translateRoutes(
  from: Uint8Array,
  terms: RouteTerms,
  findings: Findings,
  previous: RouteTable | null,
): RouteTable | null {
  const decoded = findings.decode(from, routeConfigurationInParts())
  return decoded === null ? null : translateRouteConfiguration(decoded, terms, findings, previous)
}

export function translateRouteConfiguration(
  config: RouteConfigurationInParts,
  terms: RouteTerms,
  findings: Findings,
  previous: RouteTable | null,
): RouteTable | null {
  const rest = encode(routeConfigurationInParts(), { ...config, virtual_hosts: [] })
  const known = previous === null ? undefined : translated.get(previous)
  const comparable =
    known !== undefined && known.terms.unsafeRetries === terms.unsafeRetries && Buffer.compare(known.rest, rest) === 0
  const before = comparable ? known.parts : NOTHING
  const around = surroundingsOf(config, terms, findings)
  const parts = new Map<string, TranslatedPart>()
  const virtualHosts: VirtualHostNoun[] = []
  const domains = new Set<string>()
  for (const [i, bytes] of config.virtual_hosts.entries()) {
    const part = partOf(bytes, i, before, around, findings)
    if (part === null) continue
    const { virtualHost } = part
    const { name } = virtualHost
    if (parts.has(name)) findings.fault(`two virtual hosts have the name ${name}`)
    parts.set(name, part)
    virtualHosts.push(virtualHost)
    tellDoubles(virtualHost, domains, findings)
  }
  if (findings.faults.length > 0) return null
  const { name, ignore_port_in_host_matching: ignorePort } = config
  const same = comparable && previous !== null && areSame(previous.virtualHosts, virtualHosts)
  const table = same ? previous : { name, port: portOf(name), ignorePort, virtualHosts }
  translated.set(table, { parts, rest, terms })
  return table
}

function areSame(some: readonly VirtualHostNoun[], others: readonly VirtualHostNoun[]): boolean {
  return some.length === others.length && some.every((v, i) => v === others[i])
}

const NOTHING: ReadonlyMap<string, TranslatedPart> = new Map()

function surroundingsOf(config: RouteConfigurationInParts, terms: RouteTerms, findings: Findings): RouteSurroundings {
  if (config.ignore_path_parameters_in_path_matching)
    findings.at('ignore_path_parameters_in_path_matching').fault('it is not understood')
  if (config.internal_only_headers.length > 0)
    findings.at('internal_only_headers').fault('headers of clients outside of the mesh are not removed by a list')
  return {
    terms,
    requestEdits: headerEditsOf(config.request_headers_to_add, config.request_headers_to_remove, 'request_headers', findings),
    responseEdits: headerEditsOf(config.response_headers_to_add, config.response_headers_to_remove, 'response_headers', findings),
    editsFirst: config.most_specific_header_mutations_wins,
    filters: config.typed_per_filter_config,
    retry: null,
    maxBodyBytes: config.max_direct_response_body_size_bytes ?? DEFAULT_MAX_BODY_BYTES,
  }
}

function partOf(
  bytes: Uint8Array,
  index: number,
  before: ReadonlyMap<string, TranslatedPart>,
  around: RouteSurroundings,
  findings: Findings,
): TranslatedPart | null {
  if (before.size > 0) {
    const known = knownPart(bytes, before)
    if (known !== null) {
      findings.repeat(known.notes)
      // The new view, so that the old message can go.
      return { ...known, bytes }
    }
  }
  const decoded = findings.at('virtual_hosts', index).decode(bytes, VirtualHost)
  if (decoded === null) return null
  // By name: its place changes with others.
  const at = findings.at(`virtual_hosts[${decoded.name}]`)
  const notesBefore = findings.notes.length
  const virtualHost = virtualHostOf(decoded, around, at)
  return { bytes, virtualHost, notes: findings.notes.slice(notesBefore) }
}

function knownPart(bytes: Uint8Array, before: ReadonlyMap<string, TranslatedPart>): TranslatedPart | null {
  let name: string
  try {
    ;({ name } = decode(virtualHostName(), bytes))
  } catch {
    // Told when it is decoded as a whole.
    return null
  }
  const known = before.get(name)
  return known !== undefined && Buffer.compare(known.bytes, bytes) === 0 ? known : null
}

/** Envoy refuses them: which host a request is for must be clear. */
function tellDoubles({ name, domains }: VirtualHostNoun, seen: Set<string>, findings: Findings): void {
  for (const domain of domains) {
    if (seen.has(domain)) findings.at(`virtual_hosts[${name}]`).fault(`another virtual host has the domain ${domain}`)
    seen.add(domain)
  }
}

/** `9080`, `reviews.default.svc.cluster.local:9080`, `http.8080`, `https.443.https.gw.ns`, `inbound|9080||`; 0 without one. */
export function portOf(name: string): number {
  const found = /^(\d+)$|:(\d+)$|^https?\.(\d+)(?:\.|$)|^inbound(?:-vip)?\|(\d+)\|/.exec(name)
  if (found === null) return 0
  const [, plain, sniffed, gateway, inbound] = found
  const port = Number(plain ?? sniffed ?? gateway ?? inbound)
  return port <= 65_535 ? port : 0
}

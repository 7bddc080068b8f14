// RouteConfiguration of envoy.config.route.v3 to RouteTable. One configuration holds all services of a port, and mostly one of them changes: a virtual host
// whose bytes are what they were stays the object that it was, and so does a route of one that has changed (virtual-host.ts), and a table of which nothing has.
import type { RouteTable, VirtualHost as VirtualHostNoun } from '../../state/route.ts'
import { decode } from '../proto/decode.ts'
import { type Parts, partAt, partsOf, samePlaces } from '../proto/parts.ts'
import { type RouteConfigurationInParts, routeConfigurationInParts, virtualHostName } from '../proto/route.ts'
import type { Finding, Findings } from './findings.ts'
import { headerEditsOf } from './header-edits.ts'
import type { RouteSurroundings } from './route.ts'
import type { RouteTerms } from './route-terms.ts'
import { type TranslatedHost, translateVirtualHost } from './virtual-host.ts'

/** Envoy's for direct responses. */
const DEFAULT_MAX_BODY_BYTES = 4096
/** `virtual_hosts` of RouteConfiguration. */
const VIRTUAL_HOSTS = 2

/** What the next translation of the same configuration is compared with. */
interface TranslatedRoutes {
  /** The configuration, which whoever holds the resource has anyway. Its virtual hosts are the table's, in their order. */
  readonly from: Uint8Array
  readonly terms: RouteTerms
  /** Of virtual hosts that have any. */
  readonly notes: ReadonlyMap<VirtualHostNoun, readonly Finding[]>
}

/** A translation that the next one of the same surroundings can take from. */
interface Before extends TranslatedRoutes {
  readonly table: RouteTable
  readonly parts: Parts
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
  const parts = partsOf(from, VIRTUAL_HOSTS)
  const config = findings.decode(parts === null ? from : parts.rest, routeConfigurationInParts())
  if (parts === null || config === null) return null
  const before = comparable(previous, parts, terms)
  const around = surroundingsOf(config, terms, findings)
  const { virtualHosts, another, notes } = virtualHostsOf(parts, before, around, findings)
  if (mayHaveDoubles(virtualHosts, another)) tellDoubles(virtualHosts, findings)
  if (findings.faults.length > 0) return null
  const { name, ignore_port_in_host_matching: ignorePort } = config
  const same = before !== null && areSame(before.table.virtualHosts, virtualHosts)
  const table = same ? before.table : { name, port: portOf(name), ignorePort, virtualHosts }
  // Of the new bytes, so that the old ones can go.
  translated.set(table, { from, terms, notes })
  return table
}

/** null: nothing of it can be kept. */
function comparable(previous: RouteTable | null, { rest }: Parts, terms: RouteTerms): Before | null {
  const known = previous === null ? undefined : translated.get(previous)
  if (previous === null || known === undefined || known.terms.unsafeRetries !== terms.unsafeRetries) return null
  const parts = partsOf(known.from, VIRTUAL_HOSTS)
  return parts !== null && Buffer.compare(parts.rest, rest) === 0 ? { ...known, table: previous, parts } : null
}

interface Hosts {
  readonly virtualHosts: VirtualHostNoun[]
  /** Those that were not there before, or had other domains. */
  readonly another: readonly VirtualHostNoun[]
  readonly notes: ReadonlyMap<VirtualHostNoun, readonly Finding[]>
}

function virtualHostsOf(parts: Parts, before: Before | null, around: RouteSurroundings, findings: Findings): Hosts {
  const same = before === null ? null : samePlaces(before.parts, parts)
  const known = new KnownHosts(before)
  const virtualHosts: VirtualHostNoun[] = []
  const another: VirtualHostNoun[] = []
  const notes = new Map<VirtualHostNoun, readonly Finding[]>()
  const keep = (noun: VirtualHostNoun): void => {
    const own = before?.notes.get(noun)
    virtualHosts.push(noun)
    if (own === undefined) return
    notes.set(noun, own)
    findings.repeat(own)
  }
  for (let i = 0; i < parts.places.length / 2; i++) {
    const noun = before?.table.virtualHosts[same?.[i] ?? -1]
    if (noun !== undefined) {
      keep(noun)
      continue
    }
    const bytes = partAt(parts, i)
    const was = known.find(bytes, i)
    if (was !== null && Buffer.compare(was.bytes, bytes) === 0) {
      keep(was.noun)
      continue
    }
    const host = translateVirtualHost(bytes, i, was, around, findings)
    if (host === null) continue
    virtualHosts.push(host.noun)
    if (was?.noun.domains !== host.noun.domains) another.push(host.noun)
    if (host.notes.length > 0) notes.set(host.noun, host.notes)
  }
  return { virtualHosts, another, notes }
}

/** Empty where it cannot be read, which is told when it is decoded as a whole. */
function nameOf(bytes: Uint8Array): string {
  try {
    return decode(virtualHostName(), bytes).name
  } catch {
    return ''
  }
}

/** Virtual hosts of before, by name. */
class KnownHosts {
  readonly #before: Before | null
  /** Made when somebody asks, which is for those that have changed. */
  #byName: Map<string, number> | null

  constructor(before: Before | null) {
    this.#before = before
    this.#byName = null
  }

  /** That of the same name as this one, if there is one; likely at the same place. */
  find(bytes: Uint8Array, place: number): TranslatedHost | null {
    if (this.#before === null) return null
    const { table, parts, notes } = this.#before
    const name = nameOf(bytes)
    const index = table.virtualHosts[place]?.name === name ? place : this.#indexOf(name)
    const noun = table.virtualHosts[index]
    return noun === undefined ? null : { noun, bytes: partAt(parts, index), notes: notes.get(noun) ?? [] }
  }

  #indexOf(name: string): number {
    this.#byName ??= new Map(this.#before?.table.virtualHosts.map((v, i) => [v.name, i]))
    return this.#byName.get(name) ?? -1
  }
}

function areSame(some: readonly VirtualHostNoun[], others: readonly VirtualHostNoun[]): boolean {
  return some.length === others.length && some.every((v, i) => v === others[i])
}

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
    countsAttempts: false,
    maxBodyBytes: config.max_direct_response_body_size_bytes ?? DEFAULT_MAX_BODY_BYTES,
  }
}

/** Only what is new or another can have the name or a domain of somebody else; false: there is none. */
function mayHaveDoubles(virtualHosts: readonly VirtualHostNoun[], another: readonly VirtualHostNoun[]): boolean {
  if (another.length === 0) return false
  const names = new Set(another.map((v) => v.name))
  const domains = new Set(another.flatMap((v) => v.domains))
  if (names.size < another.length || domains.size < another.reduce((sum, v) => sum + v.domains.length, 0)) return true
  const own = new Set(another)
  return virtualHosts.some((v) => !own.has(v) && (names.has(v.name) || v.domains.some((d) => domains.has(d))))
}

/** Envoy refuses them: which host a request is for must be clear. */
function tellDoubles(virtualHosts: readonly VirtualHostNoun[], findings: Findings): void {
  const names = new Set<string>()
  const seen = new Set<string>()
  for (const { name, domains } of virtualHosts) {
    if (names.has(name)) findings.fault(`two virtual hosts have the name ${name}`)
    names.add(name)
    for (const domain of domains) {
      if (seen.has(domain)) findings.at(`virtual_hosts[${name}]`).fault(`another virtual host has the domain ${domain}`)
      seen.add(domain)
    }
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

/** Where its routes lead, but for those of virtual hosts that are in `inForce` too. */
export function clustersOf({ virtualHosts }: RouteTable, inForce: readonly RouteTable[]): string[] {
  const known = new Set(inForce.flatMap((table) => table.virtualHosts))
  const actions = virtualHosts.flatMap((host) => (known.has(host) ? [] : host.routes.map(({ action }) => action)))
  return actions.flatMap((action) => (action.kind === 'forward' ? action.clusters.map(({ cluster }) => cluster) : []))
}

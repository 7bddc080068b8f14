// A Listener as a control plane sends it (LDS) to the noun of the data path, and what it has to wait for.
import { isIP } from 'node:net'
import type { FilterChain, FilterChainMatch, Listener } from '../../state/listener.ts'
import type { RouteTable } from '../../state/route.ts'
import type { Credential } from '../../transport/secrets.ts'
import { ListenerShell } from '../proto/listener.ts'
import { translateAccessLogs } from './access-log.ts'
import type { Extensions } from './chain-scope.ts'
import { isUnchanged, type TranslatedChain, translateFilterChain } from './filter-chain.ts'
import { type Finding, Findings } from './findings.ts'
import { type InlineTable, InlineTables } from './inline-tables.ts'
import { originOf } from './istio-metadata.ts'
import { type ListenerFilters, translateListenerFilters } from './listener-filters.ts'
import { chainsByMatcher, type NamedAuthority } from './main-internal.ts'
import { matchedChains } from './matched-chains.ts'
import type { RouteTerms } from './route-terms.ts'
import { checkOriginating, isOriginating, isTunnelEnd, PLUMBING, tunnelChain } from './tunnel-plumbing.ts'

export interface ListenerTerms {
  /** What came by ECDS, by name. */
  readonly extensions: Extensions
  readonly routes: RouteTerms
}

export interface TranslatedListener {
  readonly name: string
  /**
   * null: it has faults; or it is a part of Envoy's plumbing that heddle's tunnels do without (`connect_originate`); or extensions are missing.
   */
  readonly listener: Listener | null
  /** Not empty: it is to be refused with these words, and what was there before stays. */
  readonly faults: readonly Finding[]
  readonly notes: readonly Finding[]
  /** Route configurations that it has to be warmed with (RDS). */
  readonly routeNames: readonly string[]
  /** Those that it carries, each once. */
  readonly inlineTables: readonly RouteTable[]
  /** TypedExtensionConfigs that are to be subscribed to (ECDS). */
  readonly extensionNames: readonly string[]
  /** Of these, those that it cannot do without and that are not there. */
  readonly missingExtensions: readonly string[]
  /** Certificates and roots (SDS, or heddle's own). */
  readonly secretNames: readonly string[]
  /** What of them the listener has written out itself. */
  readonly credentials: readonly Credential[]
  /** TPROXY: connections to the application have their client's address, and this mark (original_src); null: they have not. */
  readonly originalSrc: { readonly mark: number } | null
  /** What authorities of tunnels that are no addresses stand for, to whom this is where tunnels lead. */
  readonly authorities: readonly NamedAuthority[]
  readonly parts: ListenerParts
}

/** What the next translation of the same listener begins with. */
export interface ListenerParts {
  readonly chains: readonly TranslatedChain[]
  readonly inline: readonly InlineTable[]
  /** By name, with what it was made of. */
  readonly made: ReadonlyMap<string, { readonly chain: FilterChain; readonly of: TranslatedChain }>
}

/** A chain with the match that it has here, which may be wider or narrower than its own. */
export interface PlacedChain {
  readonly name: string
  readonly match: FilterChainMatch
  readonly of: TranslatedChain
}

/** Envoy's, where nothing is said. */
const INSPECTION_MS = 15_000

/**
 * `previous`: what the listener of this name was translated to before; chains that did not change are its objects, so that connections on them are left alone.
 */
export function translateListener(
  bytes: Uint8Array,
  previous: TranslatedListener | null,
  terms: ListenerTerms,
): TranslatedListener {
  const { extensions } = terms
  const findings = new Findings()
  const shell = findings.decode(bytes, ListenerShell)
  if (shell === null) return without('', findings)
  const direction = directionOf(shell)
  const tables = new InlineTables(previous?.parts.inline ?? [], terms.routes)
  const translate = (chain: Uint8Array): TranslatedChain => {
    const known = previous?.parts.chains.find((c) => isUnchanged(c, chain, direction, extensions))
    if (known === undefined) return translateFilterChain(chain, direction, extensions, tables)
    for (const table of known.inline) tables.keep(table)
    return known
  }
  const plumbing = PLUMBING.has(shell.name)
  if (shell.internal_listener !== null && !plumbing)
    findings.fault(`the internal listener ${shell.name} is none of ${[...PLUMBING].join(', ')}, which heddle knows`)
  // Those that open tunnels connect parts of Envoy: heddle opens them where it dials.
  if (isOriginating(shell)) {
    checkOriginating(shell, findings)
    return without(shell.name, findings)
  }
  const end = isTunnelEnd(shell)
  const sent = end ? [] : shell.filter_chains.map(translate)
  const otherwise = end || shell.default_filter_chain.length === 0 ? null : translate(shell.default_filter_chain)
  for (const [i, chain] of sent.entries()) chain.findings.retell(findings.at('filter_chains', i))
  otherwise?.findings.retell(findings.at('default_filter_chain'))
  const accessLogs = translateAccessLogs(shell.access_log, findings)
  const filters = translateListenerFilters(shell.listener_filters, findings)
  const all = otherwise === null ? sent : [...sent, otherwise]
  const { placed, authorities } =
    shell.filter_chain_matcher === null
      ? { placed: matchedChains(sent, filters, findings), authorities: [] }
      : chainsByMatcher(shell.filter_chain_matcher, sent, findings.at('filter_chain_matcher'))
  const made = new Map<string, { chain: FilterChain; of: TranslatedChain }>()
  const finish = ({ name, match, of }: PlacedChain): FilterChain => {
    const before = previous?.parts.made.get(name)
    const same = before !== undefined && before.of === of && JSON.stringify(before.chain.match) === JSON.stringify(match)
    const chain = same ? before.chain : nounOf(name, match, of)
    made.set(name, { chain, of })
    return chain
  }
  const tunnel = end ? tunnelChain(shell, previous?.listener?.filterChains[0] ?? null, extensions, findings) : null
  const filterChains = tunnel === null ? placed.map(finish) : [tunnel.chain]
  const defaultFilterChain =
    otherwise === null ? null : finish({ name: otherwise.sentName || 'default', match: otherwise.match, of: otherwise })
  const place = placeOf(shell, findings)
  const missing = unique(all.flatMap((c) => c.missing))
  const complete = findings.faults.length === 0 && missing.length === 0
  return {
    name: shell.name,
    listener: complete
      ? {
          name: shell.name,
          direction,
          ...place,
          ...captureOf(shell, filters),
          proxyProtocol: filters.proxyProtocol,
          detectionTimeoutMs: detectionTimeout(shell, filters, filterChains, findings),
          originalDst: '',
          filterChains,
          defaultFilterChain,
          accessLogs,
          origin: originOf(shell.metadata),
        }
      : null,
    faults: findings.faults,
    notes: findings.notes,
    routeNames: unique(all.flatMap((c) => c.routeNames)),
    inlineTables: tables.all.map((t) => t.table),
    extensionNames: unique(all.flatMap((c) => [...c.extensions.keys()])),
    missingExtensions: missing,
    secretNames: unique([...all.flatMap((c) => c.secretNames), ...(tunnel?.secretNames ?? [])]),
    credentials: [...all.flatMap((c) => c.credentials), ...(tunnel?.credentials ?? [])],
    originalSrc: filters.originalSrc,
    authorities,
    parts: { chains: all, inline: tables.all, made },
  }
}

function nounOf(name: string, match: FilterChainMatch, { tls, network, origin }: TranslatedChain): FilterChain {
  // Without a network it is not used: the listener has faults or waits.
  return { name, match, tls, network: network ?? { kind: 'refuse', reason: 'it is not complete', accessLogs: [] }, origin }
}

function directionOf({ name, traffic_direction: direction }: ListenerShell): 'inbound' | 'outbound' {
  if (direction === 'UNSPECIFIED') return PLUMBING.has(name) ? 'inbound' : 'outbound'
  return direction === 'INBOUND' ? 'inbound' : 'outbound'
}

/** Where it is bound, or what it stands for. */
function placeOf(shell: ListenerShell, findings: Findings): Pick<Listener, 'address' | 'otherAddresses' | 'port' | 'bind'> {
  if (shell.internal_listener !== null) return { address: '', otherAddresses: [], port: 0, bind: false }
  const at = findings.at('address')
  const socket = shell.address?.socket_address ?? null
  if (shell.udp_listener_config !== null || socket?.protocol === 'UDP') at.fault('UDP (HTTP/3) is not listened for')
  if (socket === null) at.fault('an address with a port is expected')
  else if ((socket.port_value ?? 0) > 65_535) at.fault(`${socket.port_value} is no port`)
  else if (socket.port_value === null) at.fault(`a port is expected, not the name ${socket.named_port ?? ''}`)
  else if (isIP(socket.address) === 0) at.fault(`an IP address is expected, not "${socket.address}"`)
  const addresses = [socket?.address ?? '']
  for (const [i, { address }] of shell.additional_addresses.entries()) {
    const other = address?.socket_address ?? null
    const within = findings.at('additional_addresses', i).at('address')
    if (other === null) within.fault('an address with a port is expected')
    else if (isIP(other.address) === 0) within.fault(`an IP address is expected, not "${other.address}"`)
    else if (other.port_value !== socket?.port_value)
      within.fault(`port ${other.port_value} beside ${socket?.port_value} is not listened on`)
    else if (!addresses.includes(other.address)) addresses.push(other.address)
  }
  // A socket of `::` is for both families.
  const bothFamilies = addresses.includes('::') && addresses.includes('0.0.0.0')
  const [address = '', ...otherAddresses] = bothFamilies
    ? ['::', ...addresses.filter((a) => a !== '::' && a !== '0.0.0.0')]
    : addresses
  if (shell.tcp_keepalive !== null) findings.at('tcp_keepalive').note("keepalive of clients' connections is the system's")
  return {
    address,
    otherAddresses,
    port: socket?.port_value ?? 0,
    bind: shell.bind_to_port !== false,
  }
}

function captureOf(shell: ListenerShell, { originalDst }: ListenerFilters): Pick<Listener, 'capture' | 'handOver'> {
  const handOver = shell.use_original_dst === true
  const captures = (originalDst || handOver) && shell.internal_listener === null && shell.bind_to_port !== false
  // What goes out is redirected whatever is done with what comes in.
  return { capture: !captures ? 'none' : shell.transparent === true && !handOver ? 'tproxy' : 'redirect', handOver }
}

function detectionTimeout(
  shell: ListenerShell,
  filters: ListenerFilters,
  chains: readonly FilterChain[],
  findings: Findings,
): number {
  if (!filters.inspects) return 0
  const timeout = shell.listener_filters_timeout ?? INSPECTION_MS
  const takesSilent = chains.some((c) => c.match.transportProtocol !== 'tls')
  if (timeout !== 0 && !shell.continue_on_listener_filters_timeout && takesSilent)
    findings
      .at('continue_on_listener_filters_timeout')
      .note('clients that say nothing are taken for such that wait for the server')
  return timeout
}

/** No listener of the data path. */
function without(name: string, { faults, notes }: Findings): TranslatedListener {
  const nothing = {
    routeNames: [],
    inlineTables: [],
    extensionNames: [],
    missingExtensions: [],
    secretNames: [],
    credentials: [],
  }
  const parts = { chains: [], inline: [], made: new Map() }
  return { name, listener: null, faults, notes, ...nothing, originalSrc: null, authorities: [], parts }
}

function unique(names: readonly string[]): readonly string[] {
  return [...new Set(names)]
}

/** Its findings are told as those of the resource. */
export function retold(of: TranslatedListener, findings: Findings): TranslatedListener {
  for (const { path, text } of of.faults) (path === '' ? findings : findings.at(path)).fault(text)
  for (const { path, text } of of.notes) (path === '' ? findings : findings.at(path)).note(text)
  return of
}

// One filter chain: what it asks of connections, its TLS, and what becomes of them. A chain whose bytes and surroundings did not change is not looked at again.
import type { FilterChain, FilterChainMatch } from '../../state/listener.ts'
import type { Origin } from '../../state/origin.ts'
import type { DownstreamTls } from '../../state/tls.ts'
import type { Credential } from '../../transport/secrets.ts'
import { FilterChain as SentChain } from '../proto/listener.ts'
import { type Any, typeUrlOf } from '../proto/schema.ts'
import { DownstreamTlsContext } from '../proto/tls.ts'
import { RawBuffer } from '../proto/transport-sockets.ts'
import { ChainScope, type Extensions } from './chain-scope.ts'
import { translateDownstreamTls } from './downstream-tls.ts'
import { translateFilterChainMatch } from './filter-chain-match.ts'
import { Findings } from './findings.ts'
import type { InlineTable, InlineTables } from './inline-tables.ts'
import { originOf } from './istio-metadata.ts'
import { translateNetworkFilters } from './network-filters.ts'

export interface TranslatedChain {
  readonly bytes: Uint8Array
  readonly direction: 'inbound' | 'outbound'
  /** As it was sent; need not be unique. */
  readonly sentName: string
  readonly match: FilterChainMatch
  readonly tls: DownstreamTls | null
  /** null: it waits for an extension, or has faults. */
  readonly network: FilterChain['network'] | null
  readonly origin: Origin
  readonly inline: readonly InlineTable[]
  readonly routeNames: readonly string[]
  readonly secretNames: readonly string[]
  readonly credentials: readonly Credential[]
  /** What each extension was that it asked for; null: not there. */
  readonly extensions: ReadonlyMap<string, Any | null>
  readonly missing: readonly string[]
  /** Paths are those within the chain. */
  readonly findings: Findings
}

export function isUnchanged(chain: TranslatedChain, bytes: Uint8Array, direction: string, extensions: Extensions): boolean {
  if (chain.direction !== direction || Buffer.compare(chain.bytes, bytes) !== 0) return false
  return [...chain.extensions].every(([name, before]) => sameAny(before, extensions.get(name) ?? null))
}

function sameAny(a: Any | null, b: Any | null): boolean {
  return a === b || (a !== null && b !== null && a.typeUrl === b.typeUrl && Buffer.compare(a.value, b.value) === 0)
}

export function translateFilterChain(
  bytes: Uint8Array,
  direction: 'inbound' | 'outbound',
  extensions: Extensions,
  tables: InlineTables,
): TranslatedChain {
  const findings = new Findings()
  const sent = findings.decode(bytes, SentChain) ?? SentChain.empty
  const scope = new ChainScope(direction, sent.name, extensions, tables)
  const match = translateFilterChainMatch(sent.filter_chain_match, findings.at('filter_chain_match'))
  const tls = chainTls(sent, scope, findings.at('transport_socket'))
  if (sent.use_proxy_proto === true) findings.at('use_proxy_proto').fault('the PROXY protocol of clients is not understood')
  const { network } = translateNetworkFilters(sent.filters, scope, findings)
  return {
    // Of their own: what they are views of would be held with them.
    bytes: Uint8Array.from(bytes),
    direction,
    sentName: sent.name,
    match,
    tls,
    network: scope.missing.size > 0 ? null : network,
    origin: originOf(sent.metadata),
    inline: [...scope.inline],
    routeNames: [...scope.routeNames],
    secretNames: [...scope.secretNames],
    credentials: scope.credentials,
    extensions: scope.extensions,
    missing: [...scope.missing],
    findings,
  }
}

/** null: plaintext. */
export function chainTls(
  { transport_socket: socket, transport_socket_connect_timeout: limit }: SentChain,
  scope: ChainScope,
  findings: Findings,
): DownstreamTls | null {
  if (socket === null || socket.typed_config?.typeUrl === typeUrlOf(RawBuffer)) return null
  const { typed_config: config } = socket
  if (config?.typeUrl !== typeUrlOf(DownstreamTlsContext)) {
    const type = config === null ? 'nothing' : config.typeUrl.slice(config.typeUrl.lastIndexOf('/') + 1)
    findings.fault(`the transport socket ${socket.name} (${type}) is not understood; TLS or plaintext is expected`)
    return null
  }
  const context = findings.unpack(config, DownstreamTlsContext)
  if (context === null) return null
  const { tls, credentials } = translateDownstreamTls(context, findings, limit)
  for (const name of [tls.certificate, tls.trust]) if (name !== '') scope.secretNames.add(name)
  scope.credentials.push(...credentials)
  return tls
}

// Listener filters: where a connection was going, what its first bytes are looked at for, and as whom the application is dialled.
import type { Listener } from '../../state/listener.ts'
import { HttpInspector, OriginalDst, OriginalSrc, ProxyProtocol, TlsInspector } from '../proto/filters.ts'
import type { ListenerFilter, ListenerFilterPredicate } from '../proto/listener.ts'
import { type Any, type Message, TYPE_URL_PREFIX } from '../proto/schema.ts'
import type { Findings } from './findings.ts'

export interface ListenerFilters {
  /** The address that was dialled is asked of the kernel, or comes out of a tunnel. */
  readonly originalDst: boolean
  /** Connections to the application have their client's address and this mark; null: they have not. */
  readonly originalSrc: { readonly mark: number } | null
  readonly hasTlsInspector: boolean
  readonly proxyProtocol: Listener['proxyProtocol']
  /** First bytes are looked at, on some port. */
  readonly inspects: boolean
  /** Whether first bytes are looked at for TLS, and for HTTP, on connections to a port. 0: of a chain for any port. */
  inspectsTls(port: number): boolean
  inspectsHttp(port: number): boolean
}

export function translateListenerFilters(filters: readonly ListenerFilter[], findings: Findings): ListenerFilters {
  let originalDst = false
  let originalSrc: ListenerFilters['originalSrc'] = null
  let tls: Inspector | null = null
  let http: Inspector | null = null
  let proxyProtocol: Listener['proxyProtocol'] = 'none'
  for (const [i, filter] of filters.entries()) {
    const at = findings.at('listener_filters', i)
    const { typed_config: config } = filter
    if (filter.config_discovery !== null)
      at.fault(`the listener filter ${filter.name} comes by ECDS, which is not understood here`)
    else if (config === null) at.fault(`the listener filter ${filter.name} has no configuration`)
    else if (is(config, OriginalDst)) originalDst = true
    else if (is(config, OriginalSrc)) originalSrc = { mark: at.unpack(config, OriginalSrc)?.mark ?? 0 }
    else if (is(config, TlsInspector)) tls = new Inspector(filter.filter_disabled)
    else if (is(config, HttpInspector)) http = new Inspector(filter.filter_disabled)
    else if (is(config, ProxyProtocol)) proxyProtocol = proxyProtocolOf(config, at)
    else at.fault(`the listener filter ${filter.name} (${shortType(config)}) is not understood`)
  }
  return {
    originalDst,
    originalSrc,
    hasTlsInspector: tls !== null,
    proxyProtocol,
    inspects: tls !== null || http !== null,
    inspectsTls: (port) => tls?.appliesTo(port) ?? false,
    inspectsHttp: (port) => http?.appliesTo(port) ?? false,
  }
}

/** Who is told of the connection by it is whoever asks for addresses; its further values (TLV) nobody asks for here. */
function proxyProtocolOf(config: Any, at: Findings): Listener['proxyProtocol'] {
  const settings = at.unpack(config, ProxyProtocol)
  if (settings === null) return 'required'
  if (settings.rules.length > 0) at.at('rules').note('further values of the header are not kept')
  for (const [i, version] of settings.disallowed_versions.entries())
    at.at('disallowed_versions', i).fault(`${version} cannot be refused by itself`)
  return settings.allow_requests_without_proxy_protocol ? 'optional' : 'required'
}

/** An inspector, and the ports on which it is switched off. */
class Inspector {
  readonly #disabled: ListenerFilterPredicate | null

  constructor(disabled: ListenerFilterPredicate | null) {
    this.#disabled = disabled
  }

  appliesTo(port: number): boolean {
    return this.#disabled === null || !matches(this.#disabled, port)
  }
}

/** envoy.config.listener.v3.ListenerFilterChainMatchPredicate. Port 0 is in no range: what holds for any port must not be lost. */
function matches(p: ListenerFilterPredicate, port: number): boolean {
  if (p.or_match !== null) return p.or_match.rules.some((rule) => matches(rule, port))
  if (p.and_match !== null) return p.and_match.rules.every((rule) => matches(rule, port))
  if (p.not_match !== null) return !matches(p.not_match, port)
  if (p.destination_port_range !== null)
    return port !== 0 && port >= p.destination_port_range.start && port < p.destination_port_range.end
  return p.any_match === true
}

function is(config: Any, of: Message<object>): boolean {
  return config.typeUrl === TYPE_URL_PREFIX + of.typeName
}

function shortType({ typeUrl }: Any): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1)
}

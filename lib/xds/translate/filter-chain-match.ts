// What a filter chain asks of connections (envoy.config.listener.v3.FilterChainMatch).
import { parseRange } from '../../base/ip-prefix.ts'
import { type FilterChainMatch, MATCH_EVERYTHING } from '../../state/listener.ts'
import type { CidrRange } from '../proto/core.ts'
import type { FilterChainMatch as SentMatch } from '../proto/listener.ts'
import type { Findings } from './findings.ts'

export function translateFilterChainMatch(sent: SentMatch | null, findings: Findings): FilterChainMatch {
  if (sent === null) return MATCH_EVERYTHING
  const { transport_protocol: transport, source_type: source } = sent
  if (transport !== '' && transport !== 'tls' && transport !== 'raw_buffer')
    findings.at('transport_protocol').fault(`\`${transport}\` is neither tls nor raw_buffer`)
  if (source.startsWith('#')) findings.at('source_type').fault(`there is no source type ${source.slice(1)}`)
  return {
    destinationPort: sent.destination_port ?? 0,
    destinationRanges: rangesOf(sent.prefix_ranges, findings, 'prefix_ranges'),
    serverNames: namesOf(sent.server_names, findings),
    transportProtocol: transport === 'tls' || transport === 'raw_buffer' ? transport : '',
    applicationProtocols: sent.application_protocols,
    directSourceRanges: rangesOf(sent.direct_source_prefix_ranges, findings, 'direct_source_prefix_ranges'),
    sourceType: source === 'SAME_IP_OR_LOOPBACK' ? 'same-ip-or-loopback' : source === 'EXTERNAL' ? 'external' : '',
    sourceRanges: rangesOf(sent.source_prefix_ranges, findings, 'source_prefix_ranges'),
    sourcePorts: sent.source_ports,
  }
}

/** A server name that is `*` is none that anybody asks for: any. */
function namesOf(names: readonly string[], findings: Findings): readonly string[] {
  for (const [i, name] of names.entries())
    if (name.lastIndexOf('*') > 0 || (name.startsWith('*') && name !== '*' && !name.startsWith('*.')))
      findings.at('server_names', i).fault(`\`${name}\` is neither a name nor \`*.\` and a name`)
  return names.includes('*') ? [] : names.map((n) => n.toLowerCase())
}

export function rangesOf(ranges: readonly CidrRange[], findings: Findings, field: string): readonly string[] {
  return ranges.flatMap(({ address_prefix: address, prefix_len: length }, i) => {
    // Without a length it is 0 in Envoy: every address.
    const text = `${address}/${length ?? 0}`
    if (parseRange(text) !== null) return [text]
    findings.at(field, i).fault(`${text} is no range of addresses`)
    return []
  })
}

/** In words, for names of chains: empty where nothing is asked. */
export function matchText(m: FilterChainMatch): string {
  const parts = [
    m.destinationPort === 0 ? '' : String(m.destinationPort),
    m.destinationRanges.join(),
    m.serverNames.join(),
    m.transportProtocol,
    m.applicationProtocols.join(),
    m.directSourceRanges.length === 0 ? '' : `from ${m.directSourceRanges.join()}`,
    m.sourceType,
    m.sourceRanges.length === 0 ? '' : `client ${m.sourceRanges.join()}`,
    m.sourcePorts.length === 0 ? '' : `source port ${m.sourcePorts.join()}`,
  ]
  return parts.filter((p) => p !== '').join(' ')
}

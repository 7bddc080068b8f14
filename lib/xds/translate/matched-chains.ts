// Filter chains by what each asks itself: their names, which are theirs from push to push, and what they can ask for where first bytes are not looked at.
import type { FilterChainMatch } from '../../state/listener.ts'
import type { TranslatedChain } from './filter-chain.ts'
import { matchText } from './filter-chain-match.ts'
import type { Findings } from './findings.ts'
import type { PlacedChain } from './listener.ts'
import type { ListenerFilters } from './listener-filters.ts'

const PLAINTEXT = new Set(['http/1.0', 'http/1.1', 'h2c'])

export function matchedChains(chains: readonly TranslatedChain[], filters: ListenerFilters, findings: Findings): PlacedChain[] {
  const placed: PlacedChain[] = []
  const seen = new Map<string, number>()
  // Envoy looks for TLS by itself where a chain asks for it.
  const asksForTls = chains.some((c) => c.match.transportProtocol === 'tls' || c.match.serverNames.length > 0)
  for (const [i, of] of chains.entries()) {
    const at = findings.at('filter_chains', i)
    const text = matchText(of.match)
    const same = seen.get(text)
    if (same !== undefined) {
      at.at('filter_chain_match').fault(`it asks for the same as filter_chains[${same}]`)
      continue
    }
    seen.set(text, i)
    const { destinationPort: port } = of.match
    if (isNeverSeen(of.match, filters.inspectsHttp(port))) {
      at.at('filter_chain_match').note('plaintext is not looked at for HTTP on this port: the chain gets no connections')
      continue
    }
    const match = filters.inspectsTls(port) || (asksForTls && !filters.hasTlsInspector) ? of.match : withoutTls(of.match)
    placed.push({ name: nameOf(of, text), match, of })
  }
  return placed
}

/** As unique as the match, which is unique. */
function nameOf({ sentName, network }: TranslatedChain, text: string): string {
  const name = sentName || (network?.kind ?? 'chain')
  return text === '' ? name : `${name} ${text}`
}

/** It waits for what no inspector would tell. */
function isNeverSeen(m: FilterChainMatch, inspected: boolean): boolean {
  const { transportProtocol: transport, applicationProtocols: protocols } = m
  return !inspected && transport === 'raw_buffer' && protocols.length > 0 && protocols.every((p) => PLAINTEXT.has(p))
}

/** Where nobody looks for TLS all bytes are `raw_buffer`: nothing has to be asked, and nobody waits for what the client says first. */
function withoutTls(m: FilterChainMatch): FilterChainMatch {
  return m.transportProtocol === 'raw_buffer' && m.applicationProtocols.length === 0 ? { ...m, transportProtocol: '' } : m
}

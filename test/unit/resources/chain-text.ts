// Listeners as lines of text, for tables of what is expected.
import type { LoadResult } from '../../../lib/resources/load.ts'
import type { FilterChain, Listener } from '../../../lib/state/listener.ts'

/** `9080 tls istio,istio-h2 → mtls http inbound|9080||`; conditions that a chain has not are left out. */
export function chainText({ match: m, tls, network }: FilterChain): string {
  const conditions = [
    m.destinationPort === 0 ? '' : String(m.destinationPort),
    m.destinationRanges.join(),
    m.serverNames.join(),
    m.transportProtocol,
    m.applicationProtocols.join(),
  ].filter((text) => text !== '')
  const to =
    network.kind === 'http'
      ? `http ${network.routeTable}`
      : network.kind === 'tcp'
        ? `tcp ${network.clusters.map((c) => (network.clusters.length > 1 ? `${c.weight} of ${c.cluster}` : c.cluster)).join(' + ')}`
        : network.kind === 'tunnel'
          ? `tunnel ${network.to}`
          : 'refused'
  return [conditions.length === 0 ? 'any' : conditions.join(' '), '→', ...(tls === null ? [] : ['mtls']), to].join(' ')
}

export function chainTexts({ filterChains, defaultFilterChain }: Listener): string[] {
  return [
    ...filterChains.map(chainText),
    ...(defaultFilterChain === null ? [] : [chainText(defaultFilterChain).replace(/^any/, 'default')]),
  ]
}

export function listenerOf({ snapshot }: LoadResult, name: string): Listener {
  const found = snapshot.listeners.find((l) => l.name === name)
  if (found === undefined) throw new Error(`no listener ${name}; there are ${snapshot.listeners.map((l) => l.name).join(', ')}`)
  return found
}

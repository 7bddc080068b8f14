// What Istio's chains pass on beside the bytes (filter state): heddle's tunnels carry it by themselves, so that filters that only write it have nothing to do.
import type { FilterStateValue } from '../proto/filters.ts'
import type { Findings } from './findings.ts'

/** What istiod writes, and what heddle knows of each connection of a tunnel without being told. */
const KNOWN = new Set([
  'envoy.filters.listener.original_dst.local_ip',
  'envoy.filters.listener.original_dst.remote_ip',
  'envoy.network.transport_socket.original_dst_address',
  'io.istio.connect_authority',
  'io.istio.peer_principal',
  'io.istio.local_principal',
  'io.istio.source',
  'io.istio.baggage',
  'istio.double_hbone.hbone_target_address',
])

export function checkFilterState(values: readonly FilterStateValue[], findings: Findings, field: string): void {
  for (const [i, { object_key: key }] of values.entries())
    if (!KNOWN.has(key ?? '')) findings.at(field, i).fault(`the filter state \`${key ?? ''}\` is not understood`)
}

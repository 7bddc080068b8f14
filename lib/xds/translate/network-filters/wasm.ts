// envoy.filters.network.wasm.
import { NetworkWasm } from '../../proto/filters.ts'
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { NetworkDraft } from '../network-filters.ts'
import { checkWasm } from '../wasm.ts'

export function networkWasm(config: Any | null, _draft: NetworkDraft, findings: Findings): void {
  checkWasm(findings.unpack(config, NetworkWasm), findings)
}

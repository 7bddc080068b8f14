// envoy.filters.http.wasm.
import { HttpWasm } from '../../proto/filters.ts'
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'
import { checkWasm } from '../wasm.ts'

export function httpWasm(config: Any | null, _draft: HttpFilterDraft, findings: Findings): void {
  checkWasm(findings.unpack(config, HttpWasm), findings)
}

// WebAssembly is not run. A filter that may be left out when it fails is left out; one without which nothing may pass is a fault.
import type { HttpWasm } from '../proto/filters.ts'
import type { Decoded } from '../proto/schema.ts'
import type { Findings } from './findings.ts'

export function checkWasm(filter: Decoded<typeof HttpWasm> | null, findings: Findings): void {
  if (filter === null) return
  const { config } = filter
  const name = config === null || config.name === '' ? 'a WebAssembly filter' : `the WebAssembly filter ${config.name}`
  const open = config !== null && (config.fail_open || config.failure_policy === 'FAIL_OPEN')
  if (open) findings.note(`${name} is left out: heddle runs no WebAssembly, and its failures are to be passed over (fail_open)`)
  else findings.fault(`${name} cannot be run, and nothing may pass without it`)
}

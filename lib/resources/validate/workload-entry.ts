// WorkloadEntry, also as an endpoint of a ServiceEntry. Istio WorkloadEntry.
import type { Path, Report } from '../finding.ts'
import type { WorkloadEntrySpec } from '../schema/workload-entry.ts'
import { checkPort, hostProblem, isAddress } from './names.ts'
import { checkNotNegative } from './values.ts'

export function validateWorkloadEntry(entry: WorkloadEntrySpec, path: Path, report: Report): void {
  const address = entry.address ?? ''
  if (address === '') {
    if ((entry.network ?? '') === '') report(path, 'the `address` is required and missing')
  } else if (address.startsWith('unix://')) {
    if (!address.startsWith('unix:///'))
      report([...path, 'address'], `expected an absolute path, unix:///path, found "${address}"`)
    if (entry.ports !== undefined) report([...path, 'ports'], 'a unix socket has no ports; remove the field', true)
  } else if (!isAddress(address) && hostProblem(address, false) !== null) {
    report([...path, 'address'], `expected an IP address, a host name or unix:///path, found "${address}"`)
  }
  for (const [name, port] of Object.entries(entry.ports ?? {})) checkPort(port, [...path, 'ports', name], report)
  checkNotNegative(entry.weight, [...path, 'weight'], report)
}

// Istio's semantic rules for each kind, which its admission webhook applies (istio pkg/config/validation): what the schema
// cannot say. A proxy that reads files has no admission step, so they are applied here.
import type { Report } from '../finding.ts'
import type { Kind, KindSpecs } from '../kinds.ts'
import { validateDestinationRule } from './destination-rule.ts'
import { validateService } from './service.ts'
import { validateServiceEntry } from './service-entry.ts'
import { validateVirtualService } from './virtual-service.ts'
import { validateWorkloadEntry } from './workload-entry.ts'

/** `spec` has passed the schema of `kind`. Findings are counted from the spec. */
export function validateSpec(kind: Kind, spec: unknown, report: Report): void {
  switch (kind) {
    case 'VirtualService':
      return validateVirtualService(spec as KindSpecs['VirtualService'], report)
    case 'DestinationRule':
      return validateDestinationRule(spec as KindSpecs['DestinationRule'], report)
    case 'ServiceEntry':
      return validateServiceEntry(spec as KindSpecs['ServiceEntry'], report)
    case 'WorkloadEntry':
      return validateWorkloadEntry(spec as KindSpecs['WorkloadEntry'], [], report)
    case 'Service':
      return validateService(spec as KindSpecs['Service'], report)
    case 'EndpointSlice':
    case 'Pod':
    case 'Namespace':
      return
  }
}

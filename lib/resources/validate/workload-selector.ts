// The labels by which a policy selects workloads (istio type.v1beta1.WorkloadSelector).
import type { Path, Report } from '../finding.ts'

/** Istio validateWorkloadSelector: exact names and values only. No label at all selects every workload. */
export function checkSelectorLabels(labels: Readonly<Record<string, string>>, path: Path, report: Report): void {
  for (const [name, value] of Object.entries(labels)) {
    if (name === '') report([...path, name], 'the name of a label is empty', true)
    else if (name.includes('*')) report([...path, name], `a selector has no wildcards, found \`${name}\``, true)
    else if (value.includes('*'))
      report([...path, name], `a selector has no wildcards, found \`${value}\`; leave the label out to take all`)
  }
}

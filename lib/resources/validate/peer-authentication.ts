// PeerAuthentication. Istio ValidatePeerAuthentication.
import type { Report } from '../finding.ts'
import type { PeerAuthenticationSpec } from '../schema/peer-authentication.ts'
import { checkSelectorLabels } from './workload-selector.ts'

export function validatePeerAuthentication(spec: PeerAuthenticationSpec, report: Report): void {
  const labels = spec.selector?.matchLabels ?? {}
  checkSelectorLabels(labels, ['selector', 'matchLabels'], report)
  if (spec.portLevelMtls === undefined) return
  const ports = Object.keys(spec.portLevelMtls)
  if (ports.length === 0) report(['portLevelMtls'], 'expected at least one port; leave the field out for none')
  else if (Object.keys(labels).length === 0) {
    const why = 'ports can be set for selected workloads only: add `selector.matchLabels`, or leave the field out'
    report(['portLevelMtls'], why, true)
  }
  for (const port of ports) {
    if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
      report(['portLevelMtls', port], `expected the number of a port of the workload, from 1 to 65535, found \`${port}\``, true)
  }
}

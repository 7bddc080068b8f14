// Destinations and their weights, of http, tls and tcp rules and of mirrors. Istio Destination.
import type { Path, Report } from '../finding.ts'
import type { DestinationSpec } from '../schema/virtual-service.ts'
import { checkPort, hostProblem, isDnsLabel } from './names.ts'

interface WeightedDestination {
  readonly destination: DestinationSpec
  readonly weight?: number | undefined
}

export function checkDestination(destination: DestinationSpec, path: Path, report: Report): void {
  const problem = destination.host === '*' ? 'a destination cannot be `*`; name one service' : hostProblem(destination.host, true)
  if (problem !== null) report([...path, 'host'], problem)
  const { subset, port } = destination
  if (subset !== undefined && subset !== '' && !isDnsLabel(subset)) {
    report([...path, 'subset'], `expected the name of a subset (letters, digits and \`-\`), found \`${subset}\``)
  }
  if (port !== undefined) checkPort(port.number, [...path, 'port', 'number'], report)
}

export function checkDestinations(routes: readonly WeightedDestination[], path: Path, report: Report): void {
  let total = 0
  for (const [i, route] of routes.entries()) {
    checkDestination(route.destination, [...path, i, 'destination'], report)
    const weight = route.weight ?? 0
    if (weight < 0) report([...path, i, 'weight'], `expected a weight of 0 or more, found ${weight}`)
    total += weight
  }
  if (routes.length > 1 && total === 0)
    report(path, 'several destinations and the sum of their weights is 0: give at least one a weight')
}

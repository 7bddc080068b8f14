// Service: what the API server would have refused and the compiler relies on.
import { didYouMean } from '../../base/nearest.ts'
import type { Path, Report } from '../finding.ts'
import type { ServiceSpec } from '../schema/service.ts'
import { checkPort, hostProblem, isAddress } from './names.ts'

/** Kubernetes ServiceSpec. */
const DISTRIBUTIONS = ['PreferClose', 'PreferSameZone', 'PreferSameNode']

export function validateService(spec: ServiceSpec, report: Report): void {
  checkAddress(spec.clusterIP, ['clusterIP'], report)
  for (const [i, address] of (spec.clusterIPs ?? []).entries()) checkAddress(address, ['clusterIPs', i], report)
  const ports = spec.ports ?? []
  const names = new Set<string>()
  const numbers = new Set<string>()
  for (const [i, port] of ports.entries()) {
    checkPort(port.port, ['ports', i, 'port'], report)
    const name = port.name ?? ''
    if (ports.length > 1 && name === '') report(['ports', i], 'a Service with several ports needs a `name` for each')
    else if (name !== '' && names.has(name)) report(['ports', i, 'name'], `the port name \`${name}\` is used twice`)
    names.add(name)
    const number = `${port.protocol ?? 'TCP'} ${port.port}`
    if (numbers.has(number)) report(['ports', i, 'port'], `the port ${port.port} is listed twice`)
    numbers.add(number)
  }
  if (spec.trafficDistribution !== undefined && !DISTRIBUTIONS.includes(spec.trafficDistribution)) {
    const found = spec.trafficDistribution
    report(
      ['trafficDistribution'],
      `expected one of ${DISTRIBUTIONS.join(', ')}, found "${found}"${didYouMean(found, DISTRIBUTIONS)}`,
    )
  }
  if (spec.type !== 'ExternalName') return
  const problem = hostProblem(spec.externalName ?? '', false)
  if (problem !== null) report(['externalName'], problem)
}

function checkAddress(address: string | undefined, path: Path, report: Report): void {
  if (address === undefined || address === '' || address === 'None' || isAddress(address)) return
  report(path, `expected an IP address, or None for a headless Service, found "${address}"`)
}

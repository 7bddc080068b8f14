// ServiceEntry. Istio ServiceEntry.
import { didYouMean } from '../../base/nearest.ts'
import type { Path, Report } from '../finding.ts'
import type { ServiceEntrySpec } from '../schema/service-entry.ts'
import { checkExportTo, checkPort, hostProblem, isAddress, isCidr } from './names.ts'
import { validateWorkloadEntry } from './workload-entry.ts'

const MAX_HOSTS = 256
const PROTOCOLS = [
  'HTTP',
  'HTTPS',
  'GRPC',
  'GRPC-WEB',
  'HTTP2',
  'MONGO',
  'TCP',
  'TLS',
  'UDP',
  'MYSQL',
  'REDIS',
  'HTTP_PROXY',
  'HBONE',
]

export function validateServiceEntry(spec: ServiceEntrySpec, report: Report): void {
  checkHosts(spec, report)
  checkAddresses(spec, report)
  checkPorts(spec, report)
  checkEndpoints(spec, report)
  checkExportTo(spec.exportTo, ['exportTo'], true, report)
}

function checkHosts(spec: ServiceEntrySpec, report: Report): void {
  const hosts = spec.hosts ?? []
  if (hosts.length === 0) report([], 'a ServiceEntry needs at least one of `hosts`')
  if (hosts.length > MAX_HOSTS) report(['hosts'], `at most ${MAX_HOSTS} hosts are allowed, found ${hosts.length}`)
  const seen = new Set<string>()
  for (const [i, host] of hosts.entries()) {
    const problem = host === '*' ? 'the host cannot be `*`; write a domain such as `*.example.com`' : hostProblem(host, true)
    if (problem !== null) report(['hosts', i], problem)
    else if (seen.has(host)) report(['hosts', i], `\`${host}\` is listed twice`)
    seen.add(host)
  }
}

function checkAddresses(spec: ServiceEntrySpec, report: Report): void {
  const ranges = ['NONE', 'STATIC'].includes(spec.resolution ?? 'NONE')
  for (const [i, address] of (spec.addresses ?? []).entries()) {
    if (!isCidr(address, true)) report(['addresses', i], `expected an address or a range such as 10.0.0.0/8, found "${address}"`)
    else if (address.includes('/') && !ranges)
      report(['addresses', i], `a range is only possible with resolution NONE or STATIC, found ${spec.resolution}`)
  }
}

function checkPorts(spec: ServiceEntrySpec, report: Report): void {
  const ports = spec.ports ?? []
  if (ports.length === 0) report([], 'a ServiceEntry needs at least one of `ports`')
  const numbers = new Set<number>()
  const names = new Set<string>()
  for (const [i, port] of ports.entries()) {
    const at: Path = ['ports', i]
    checkPort(port.number, [...at, 'number'], report)
    if (port.number !== undefined && numbers.has(port.number))
      report([...at, 'number'], `the port ${port.number} is listed twice`)
    numbers.add(port.number ?? 0)
    if ((port.name ?? '') === '') report(at, 'the port needs a `name`')
    else if (names.has(port.name!)) report([...at, 'name'], `the port name \`${port.name}\` is used twice`)
    names.add(port.name ?? '')
    const protocol = port.protocol ?? ''
    if (protocol !== '' && !PROTOCOLS.includes(protocol.toUpperCase())) {
      report(
        [...at, 'protocol'],
        `expected one of ${PROTOCOLS.join(', ')}, found "${protocol}"${didYouMean(protocol, PROTOCOLS)}`,
      )
    }
    if (port.targetPort !== undefined && port.targetPort !== 0) checkPort(port.targetPort, [...at, 'targetPort'], report)
  }
}

function checkEndpoints(spec: ServiceEntrySpec, report: Report): void {
  const endpoints = spec.endpoints ?? []
  const resolution = spec.resolution ?? 'NONE'
  const portNames = new Set((spec.ports ?? []).map((p) => p.name))
  if (endpoints.length > 0 && spec.workloadSelector !== undefined)
    report(['workloadSelector'], '`endpoints` and `workloadSelector` cannot both be set', true)
  if (endpoints.length > 0 && (resolution === 'NONE' || resolution === 'DYNAMIC_DNS')) {
    report(
      ['endpoints'],
      `resolution ${resolution} goes where the client dialled, so endpoints are not possible; write resolution STATIC or DNS`,
      true,
    )
  }
  for (const [i, endpoint] of endpoints.entries()) {
    const at: Path = ['endpoints', i]
    validateWorkloadEntry(endpoint, at, report)
    const address = endpoint.address ?? ''
    if (resolution === 'STATIC' && address !== '' && !address.startsWith('unix://') && !isAddress(address)) {
      report(
        [...at, 'address'],
        `resolution STATIC needs IP addresses, found "${address}"; write resolution DNS to have it looked up`,
      )
    }
    if (resolution.startsWith('DNS') && address.startsWith('unix://'))
      report([...at, 'address'], `a unix socket cannot be looked up; write resolution STATIC`)
    for (const name of Object.keys(endpoint.ports ?? {})) {
      if (!portNames.has(name))
        report(
          [...at, 'ports', name],
          `the service has no port named \`${name}\`${didYouMean(
            name,
            [...portNames].map((p) => p ?? ''),
          )}`,
          true,
        )
    }
  }
  checkDns(spec, resolution, endpoints.length, report)
}

function checkDns(spec: ServiceEntrySpec, resolution: string, endpoints: number, report: Report): void {
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints > 1)
    report(['endpoints'], 'resolution DNS_ROUND_ROBIN takes at most one endpoint; write DNS', true)
  if (!resolution.startsWith('DNS') || endpoints > 0 || spec.workloadSelector !== undefined) return
  for (const [i, host] of (spec.hosts ?? []).entries()) {
    if (host.startsWith('*'))
      report(['hosts', i], `\`${host}\` cannot be looked up in DNS: list \`endpoints\`, name the hosts, or write resolution NONE`)
  }
}

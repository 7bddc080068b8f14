// The rules for a VirtualService as a whole: hosts, gateways, which of http, tls and tcp there are. Istio VirtualService.
import type { Path, Report } from '../finding.ts'
import type { VirtualServiceSpec } from '../schema/virtual-service.ts'
import { validateHttpRoute } from './http-route.ts'
import { checkExportTo, checkPort, hostProblem, hostsOverlap, isCidr, isDnsLabel } from './names.ts'
import { checkDestinations } from './route-destination.ts'

export function validateVirtualService(spec: VirtualServiceSpec, report: Report): void {
  const hosts = spec.hosts ?? []
  const gateways = spec.gateways ?? []
  if (hosts.length === 0) checkDelegate(spec, report)
  else checkHosts(hosts, gateways.length === 0 || gateways.includes('mesh'), report)
  for (const [i, gateway] of gateways.entries()) checkGatewayName(gateway, ['gateways', i], report)
  if ((spec.http?.length ?? 0) + (spec.tls?.length ?? 0) + (spec.tcp?.length ?? 0) === 0) {
    report([], 'nothing to do: expected at least one rule in `http`, `tls` or `tcp`')
  }
  for (const [i, route] of (spec.http ?? []).entries()) validateHttpRoute(route, ['http', i], hosts.length === 0, report)
  checkTls(spec, hosts, report)
  checkTcp(spec, report)
  checkExportTo(spec.exportTo, ['exportTo'], false, report)
}

function checkDelegate(spec: VirtualServiceSpec, report: Report): void {
  const rule = 'a VirtualService without hosts is a delegate, and'
  if ((spec.gateways?.length ?? 0) > 0)
    report(['gateways'], `${rule} a delegate has no gateways: add \`hosts\` or remove \`gateways\``, true)
  if ((spec.tls?.length ?? 0) > 0) report(['tls'], `${rule} a delegate has http rules only`, true)
  if ((spec.tcp?.length ?? 0) > 0) report(['tcp'], `${rule} a delegate has http rules only`, true)
}

function checkHosts(hosts: readonly string[], mesh: boolean, report: Report): void {
  let allValid = true
  for (const [i, host] of hosts.entries()) {
    const problem =
      host === '*' && mesh
        ? 'the host `*` cannot be bound to the mesh; name the hosts, or list `gateways`'
        : hostProblem(host, true)
    if (problem === null) continue
    allValid = false
    report(['hosts', i], problem)
  }
  if (!allValid) return
  for (const [j, later] of hosts.entries()) {
    const i = hosts.findIndex((earlier, at) => at < j && hostsOverlap(earlier, later))
    if (i >= 0)
      report(['hosts', j], `\`${later}\` is covered by \`${hosts[i]}\` in the same list (or covers it); keep one of the two`)
  }
}

export function checkGatewayName(gateway: string, path: Path, report: Report): void {
  const parts = gateway.split('/')
  const fine =
    parts.length === 1
      ? gateway !== '' && hostProblem(gateway, false) === null
      : parts.length === 2 && parts.every((p, i) => (i === 0 && p === '.') || isDnsLabel(p))
  if (!fine) report(path, `expected \`mesh\`, a gateway's name or \`namespace/name\`, found \`${gateway}\``)
}

function checkTls(spec: VirtualServiceSpec, hosts: readonly string[], report: Report): void {
  for (const [i, rule] of (spec.tls ?? []).entries()) {
    const at: Path = ['tls', i]
    if ((rule.match?.length ?? 0) === 0) report(at, 'a tls rule needs a `match` with sniHosts')
    for (const [j, match] of (rule.match ?? []).entries()) {
      if ((match.sniHosts?.length ?? 0) === 0) report([...at, 'match', j], 'a tls match needs at least one of `sniHosts`')
      for (const [k, sni] of (match.sniHosts ?? []).entries()) checkSni(sni, hosts, [...at, 'match', j, 'sniHosts', k], report)
      if (match.port !== undefined) checkPort(match.port, [...at, 'match', j, 'port'], report)
      checkSubnets(match.destinationSubnets, [...at, 'match', j, 'destinationSubnets'], report)
    }
    checkDestinations(rule.route ?? [], [...at, 'route'], report)
    if ((rule.route?.length ?? 0) === 0) report(at, 'a tls rule needs a `route`')
  }
}

function checkSni(sni: string, hosts: readonly string[], path: Path, report: Report): void {
  const problem = hostProblem(sni, true)
  if (problem !== null) report(path, problem)
  else if (!hosts.some((host) => host === '*' || host === sni || (host.startsWith('*') && sni.endsWith(host.slice(1))))) {
    report(path, `the SNI \`${sni}\` is not covered by any of the hosts (${hosts.join(', ')})`)
  }
}

function checkTcp(spec: VirtualServiceSpec, report: Report): void {
  for (const [i, rule] of (spec.tcp ?? []).entries()) {
    const at: Path = ['tcp', i]
    for (const [j, match] of (rule.match ?? []).entries()) {
      if (match.port !== undefined) checkPort(match.port, [...at, 'match', j, 'port'], report)
      checkSubnets(match.destinationSubnets, [...at, 'match', j, 'destinationSubnets'], report)
    }
    checkDestinations(rule.route ?? [], [...at, 'route'], report)
    if ((rule.route?.length ?? 0) === 0) report(at, 'a tcp rule needs a `route`')
  }
}

function checkSubnets(subnets: readonly string[] | undefined, path: Path, report: Report): void {
  for (const [i, subnet] of (subnets ?? []).entries()) {
    if (!isCidr(subnet, true)) report([...path, i], `expected an address or a range such as 10.0.0.0/8, found \`${subnet}\``)
  }
}

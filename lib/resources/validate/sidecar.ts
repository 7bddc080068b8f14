// Sidecar. Istio Sidecar.
import type { Path, Report } from '../finding.ts'
import type { SidecarEgressSpec, SidecarSpec } from '../schema/sidecar.ts'
import { checkPort, hostProblem, isDnsLabel } from './names.ts'

export function validateSidecar(spec: SidecarSpec, report: Report): void {
  if (Object.values(spec).every((part) => part === undefined))
    report([], 'the Sidecar says nothing: expected `egress`, `ingress` or another field')
  for (const [i, { port }] of (spec.ingress ?? []).entries()) checkPort(port?.number, ['ingress', i, 'port', 'number'], report)
  const egress = spec.egress ?? []
  const ports = new Set<number>()
  for (const [i, entry] of egress.entries()) {
    const at: Path = ['egress', i]
    checkHosts(entry, at, report)
    const number = entry.port?.number
    if (entry.port === undefined) {
      if (i < egress.length - 1) report(at, 'the entry without a port holds for all other ports and must be the last one')
      if (entry.bind !== undefined) report([...at, 'bind'], '`bind` needs a `port`')
    } else {
      checkPort(number, [...at, 'port', 'number'], report)
      if (number !== undefined && ports.has(number) && entry.bind === undefined)
        report([...at, 'port'], `port ${number} is listed twice`)
      if (number !== undefined) ports.add(number)
    }
  }
}

function checkHosts(entry: SidecarEgressSpec, at: Path, report: Report): void {
  const hosts = entry.hosts ?? []
  if (hosts.length === 0)
    report(at, 'the entry needs at least one of `hosts`, such as "./*" or "prod/reviews.prod.svc.cluster.local"')
  for (const [i, host] of hosts.entries()) {
    const path = [...at, 'hosts', i]
    const parts = host.split('/')
    const [namespace = '', name = ''] = parts
    if (parts.length !== 2)
      report(path, `expected \`namespace/host\`, such as \`./${host}\` for the own namespace, found \`${host}\``)
    else {
      const bare = namespace.length > 1 && namespace.startsWith('~') ? namespace.slice(1) : namespace
      if (!['.', '*', '~'].includes(bare) && !isDnsLabel(bare))
        report(
          path,
          `expected \`.\` (own namespace), \`*\` (any), \`~\` (none) or a namespace before the slash, found \`${namespace}\``,
        )
      const problem = name === '*' ? null : hostProblem(name, true)
      if (problem !== null) report(path, problem)
    }
  }
}

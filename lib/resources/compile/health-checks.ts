// Which check of heddle.yaml is for which cluster.
import { didYouMean } from '../../base/nearest.ts'
import type { Cluster, Endpoint } from '../../state/cluster.ts'
import type { HealthCheck } from '../../state/health-check.ts'
import type { ResourceNote } from '../../state/snapshot.ts'
import { covers, resolveHost } from './host-names.ts'
import type { World } from './world.ts'

/** A rule with its hosts in full, and the applications (`address:port`) of its listeners. */
interface Rule {
  readonly hosts: readonly string[]
  readonly ports: readonly number[]
  readonly applications: ReadonlySet<string>
  readonly check: HealthCheck
}

/** The clusters with the checks of heddle.yaml on all endpoints that have none of their own (WorkloadGroup). */
export function withHealthChecks(world: World, clusters: readonly Cluster[]): readonly Cluster[] {
  const { healthChecks, listeners } = world.bootstrap
  if (healthChecks.length === 0) return clusters
  const rules = healthChecks.map((rule): Rule => {
    const applications = new Set(listeners.filter((l) => rule.listeners.includes(l.name)).map((l) => l.forwardTo))
    const hosts = rule.hosts.map((host) => resolveHost(host, world.client.namespace, world.domain))
    return { hosts, ports: rule.ports, applications, check: rule.check }
  })
  return clusters.map((cluster) => {
    const check = rules.find((rule) => fits(rule, cluster))?.check
    return check === undefined ? cluster : withCheck(cluster, check)
  })
}

function fits(rule: Rule, cluster: Cluster): boolean {
  if (cluster.name.startsWith('inbound|')) return cluster.endpoints.some((e) => rule.applications.has(applicationOf(e)))
  if (rule.ports.length > 0 && !rule.ports.includes(cluster.port)) return false
  return rule.hosts.some((pattern) => covers(pattern, cluster.host))
}

/** What of `healthChecks` is for nobody: one note for each host, or for an entry whose ports its services do not have. */
export function unusedHealthChecks(world: World, clusters: readonly Cluster[]): ResourceNote[] {
  const { healthChecks } = world.bootstrap
  const outbound = clusters.filter((c) => c.host !== '' && !c.name.startsWith('inbound|'))
  const names = new Set(outbound.map((c) => c.host))
  return healthChecks.flatMap((rule): ResourceNote[] => {
    const { kind, namespace, name, file, line, column } = rule.check.origin
    const note = (message: string): ResourceNote => ({ kind, namespace, name, route: '', message, file, line, column })
    const patterns = rule.hosts.map((host) => resolveHost(host, world.client.namespace, world.domain))
    const covered = outbound.filter((c) => patterns.some((pattern) => covers(pattern, c.host)))
    const unknown = patterns.filter((pattern) => pattern !== '*' && !covered.some((c) => covers(pattern, c.host)))
    const notes = unknown.map((host) =>
      note(`there is no service \`${host}\`, so that nobody is asked${didYouMean(host, names)}`),
    )
    const ports = new Set(covered.map((c) => c.port))
    if (ports.size > 0 && rule.ports.length > 0 && !rule.ports.some((port) => ports.has(port)))
      notes.push(
        note(`its services have the ports ${[...ports].join(', ')}, not ${rule.ports.join(', ')}, so that nobody is asked`),
      )
    return notes
  })
}

/** As `forwardTo` is written. */
function applicationOf({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function withCheck(cluster: Cluster, check: HealthCheck): Cluster {
  const checked = (endpoint: Endpoint): Endpoint => ({ ...endpoint, healthCheck: endpoint.healthCheck ?? check })
  return {
    ...cluster,
    endpoints: cluster.endpoints.map(checked),
    dnsNames: cluster.dnsNames.map((name) => ({ ...name, endpoint: checked(name.endpoint) })),
  }
}

// Destinations that no cluster answers for: the route stays and its requests get 503 (Istio Destination and Istio validation).
import { nearest } from '../../base/nearest.ts'
import type { Cluster } from '../../state/cluster.ts'
import type { Path } from '../finding.ts'
import type { DestinationSpec } from '../schema/virtual-service.ts'
import { clusterName } from './clusters.ts'
import { isGatewayApi } from './gateway-api/derived.ts'
import { resolveHost } from './host-names.ts'
import type { Registry } from './registry.ts'
import { isForClient } from './route-match.ts'
import type { Placement } from './route-tables.ts'
import type { VirtualServiceObject } from './rules.ts'
import type { World } from './world.ts'

/** Notes every destination of a rule that took effect somewhere and leads nowhere. */
export function noteMissingDestinations(
  world: World,
  registry: Registry,
  clusters: readonly Cluster[],
  placements: readonly Placement[],
): void {
  const names = new Set(clusters.map((c) => c.name))
  const serviceful = new Set(placements.filter((p) => p.services.length > 0).map((p) => p.rules.object))
  for (const { rules, port, services, scope } of placements) {
    // Port 80 takes every host in passing; where the service has other ports, those are what the rules are meant for.
    if (services.length === 0 && serviceful.has(rules.object)) continue
    for (const rule of rules.http) {
      if (
        rule.matches.length > 0 &&
        !rule.matches.some((m) => isForClient(m.spec, world.client, port, rules.object.namespace, scope))
      )
        continue
      for (const { destination, path } of destinationsOf(rule.spec, rule.actionPath)) {
        const problem = destinationProblem(world, registry, names, destination, rule.actionObject, port)
        const result = path.some((part) => part === 'mirror' || part === 'mirrors')
          ? 'nothing is mirrored there'
          : `requests for it get ${isGatewayApi(rule.root) ? 500 : 503}`
        if (problem !== null) world.verdicts.partly(rule.actionObject, path, `${problem}; ${result}`)
      }
    }
  }
}

interface Located {
  readonly destination: DestinationSpec
  readonly path: Path
}

function destinationsOf(spec: Placement['rules']['http'][number]['spec'], path: Path): Located[] {
  const routes = (spec.route ?? []).map((r, i) => ({ destination: r.destination, path: [...path, 'route', i, 'destination'] }))
  const mirrors = (spec.mirrors ?? []).flatMap((m, i) =>
    m.destination === undefined ? [] : [{ destination: m.destination, path: [...path, 'mirrors', i, 'destination'] }],
  )
  return [...routes, ...mirrors, ...(spec.mirror === undefined ? [] : [{ destination: spec.mirror, path: [...path, 'mirror'] }])]
}

export function destinationProblem(
  world: World,
  registry: Registry,
  clusters: ReadonlySet<string>,
  destination: DestinationSpec,
  object: VirtualServiceObject,
  tablePort: number,
): string | null {
  if (destination.host === '') return null
  const host = resolveHost(destination.host, object.namespace, world.domain)
  const port = destination.port?.number ?? world.onlyPorts.get(host) ?? tablePort
  const subset = destination.subset ?? ''
  if (clusters.has(clusterName(port, subset, host))) return null
  const service = registry.get(host)
  if (service === undefined) return `the host \`${host}\` is no known service${nearService(host, registry)}`
  if (!service.ports.some((p) => p.number === port)) {
    const ports = service.ports.map((p) => p.number).join(', ')
    const implied = destination.port === undefined ? ` (the port of the request, since the destination names none)` : ''
    return `\`${host}\` has no port ${port}${implied}; it has ${ports}`
  }
  return `no DestinationRule in force for \`${host}\` has a subset \`${subset}\``
}

/** Only the first label is compared: the rest of a full name is the same for all and would make everything near. */
function nearService(host: string, registry: Registry): string {
  const dot = host.indexOf('.')
  const rest = host.slice(dot)
  const known = [...registry.keys()].filter((h) => h.endsWith(rest)).map((h) => h.slice(0, -rest.length))
  const found = dot < 0 ? null : nearest(host.slice(0, dot), known)
  return found === null ? '' : `; did you mean \`${found}${rest}\`?`
}

/** Notes matches whose port is none on which the VirtualService has its hosts. */
export function noteWrongPorts(world: World, placements: readonly Placement[]): void {
  const ports = new Map<Placement['rules'], number[]>()
  for (const { rules, port } of placements) ports.set(rules, [...(ports.get(rules) ?? []), port])
  for (const [rules, known] of ports) {
    for (const rule of rules.http) {
      for (const { spec, path } of rule.matches) {
        if ((spec.port ?? 0) === 0 || known.includes(spec.port!)) continue
        const where = `its hosts are served on port ${known.join(', ')} only`
        world.verdicts.partly(rules.object, path, `the match never fits: it asks for port ${spec.port}, and ${where}`)
      }
    }
  }
}

/** Notes tcp destinations that are no known service: their connections are closed. */
export function noteMissingTcpDestinations(world: World, registry: Registry, objects: readonly VirtualServiceObject[]): void {
  for (const object of objects) {
    for (const [i, rule] of (object.spec.tcp ?? []).entries()) {
      for (const [j, { destination }] of (rule.route ?? []).entries()) {
        const host = resolveHost(destination.host, object.namespace, world.domain)
        if (destination.host === '' || registry.has(host)) continue
        const path = ['tcp', i, 'route', j, 'destination']
        world.verdicts.partly(
          object,
          path,
          `the host \`${host}\` is no known service${nearService(host, registry)}; its connections are closed`,
        )
      }
    }
  }
}

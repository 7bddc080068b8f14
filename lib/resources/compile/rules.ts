// The VirtualServices that the client sees, in the order in which they win hosts, each with its delegates merged in.
import type { Path } from '../finding.ts'
import type { ResourceObject } from '../resource-object.ts'
import type { HttpMatchSpec, HttpRouteSpec } from '../schema/virtual-service.ts'
import { delegateConflict, mergeDelegate } from './delegates.ts'
import { isGatewayApi } from './gateway-api/derived.ts'
import { isExported, resolveHost } from './host-names.ts'
import type { World } from './world.ts'

export type VirtualServiceObject = ResourceObject<'VirtualService'>

/** One HTTPRoute with what its delegate said merged in. */
export interface HttpRule {
  readonly spec: HttpRouteSpec
  /** The one with the hosts. */
  readonly root: VirtualServiceObject
  /** Of the root's rule: what a route is named after in explanations. */
  readonly path: Path
  /** Where the fields of the action stand: the rule's own object, or the delegate. */
  readonly actionObject: VirtualServiceObject
  readonly actionPath: Path
  readonly matches: readonly { readonly spec: HttpMatchSpec; readonly path: Path }[]
}

export interface VirtualServiceRules {
  readonly object: VirtualServiceObject
  /** Full names, lower case. */
  readonly hosts: readonly string[]
  readonly http: readonly HttpRule[]
}

/** Those that are exported to the client, and bound to the mesh, or for a gateway to any gateway; the others are noted as waiting. */
export function selectVirtualServices(world: World): VirtualServiceRules[] {
  const all = world.objects('VirtualService')
  const delegates = new Map(all.filter(isDelegate).map((d) => [`${d.namespace}/${d.name}`, d]))
  const usedDelegates = new Set<VirtualServiceObject>()
  const visible: VirtualServiceRules[] = []
  for (const object of byPrecedence(
    world,
    all.filter((o) => !isDelegate(o)),
  )) {
    if (!applies(world, object)) continue
    const hosts = (object.spec.hosts ?? []).map((host) =>
      isGatewayApi(object) ? host : resolveHost(host, object.namespace, world.domain),
    )
    if (!world.scope.importsRules(object.namespace, hosts)) {
      world.verdicts.waiting(
        object,
        `waiting to be imported: no egress entry of this workload's Sidecar lists ${hosts.join(', ')}`,
      )
      continue
    }
    visible.push({ object, hosts, http: rulesOf(world, object, delegates, usedDelegates) })
  }
  for (const delegate of delegates.values()) {
    if (!usedDelegates.has(delegate))
      world.verdicts.waiting(delegate, 'waiting for a VirtualService that delegates to it (it has no hosts of its own)')
  }
  return visible
}

export function isBoundToMesh({ spec: { gateways = [] } }: VirtualServiceObject): boolean {
  return gateways.length === 0 || gateways.includes('mesh')
}

export function isBoundToGateway({ spec: { gateways = [] } }: VirtualServiceObject): boolean {
  return gateways.some((gateway) => gateway !== 'mesh')
}

function isDelegate(object: VirtualServiceObject): boolean {
  return (object.spec.hosts?.length ?? 0) === 0
}

/** Private rules of the client's namespace come first in istiod, then those exported to it by name, then public ones. */
function byPrecedence(world: World, objects: readonly VirtualServiceObject[]): VirtualServiceObject[] {
  const rank = (o: VirtualServiceObject): number => {
    const exportTo = o.spec.exportTo ?? []
    if (exportTo.length === 0 || exportTo.includes('*')) return 2
    return exportTo.length === 1 && (exportTo[0] === '.' || exportTo[0] === o.namespace) && o.namespace === world.client.namespace
      ? 0
      : 1
  }
  return objects.toSorted((a, b) => rank(a) - rank(b))
}

function applies(world: World, object: VirtualServiceObject): boolean {
  const { gateways = [], exportTo } = object.spec
  if (!isBoundToMesh(object) && !world.isGateway) {
    world.verdicts.waiting(
      object,
      `waiting for a gateway: it is bound to ${gateways.join(', ')} only; add \`mesh\` to \`gateways\` for traffic inside the mesh`,
    )
    return false
  }
  if (world.isGateway && !isBoundToGateway(object) && !world.servesMesh) {
    world.verdicts.waiting(object, 'waiting for a client in the mesh: it names no gateway in `gateways`, and this proxy is one')
    return false
  }
  if (isExported(exportTo ?? [], object.namespace, world.client.namespace)) return true
  world.verdicts.waiting(
    object,
    `waiting for a client that it is exported to (${exportTo?.join(', ')}); this workload is in \`${world.client.namespace}\``,
  )
  return false
}

function rulesOf(
  world: World,
  object: VirtualServiceObject,
  delegates: ReadonlyMap<string, VirtualServiceObject>,
  used: Set<VirtualServiceObject>,
): HttpRule[] {
  const rules: HttpRule[] = []
  for (const [i, spec] of (object.spec.http ?? []).entries()) {
    const path: Path = ['http', i]
    if (spec.delegate === undefined) {
      const matches = (spec.match ?? []).map((m, j) => ({ spec: m, path: [...path, 'match', j] }))
      rules.push({ spec, root: object, path, actionObject: object, actionPath: path, matches })
      continue
    }
    const key = `${spec.delegate.namespace ?? object.namespace}/${spec.delegate.name ?? ''}`
    const delegate = delegates.get(key)
    if (delegate === undefined) {
      world.verdicts.partly(
        object,
        [...path, 'delegate'],
        `the delegate VirtualService \`${key}\` is not there: the rule produces no route`,
      )
    } else if (!isExported(delegate.spec.exportTo ?? [], delegate.namespace, object.namespace)) {
      used.add(delegate)
      world.verdicts.partly(
        object,
        [...path, 'delegate'],
        `the delegate \`${key}\` is not exported to \`${object.namespace}\`: the rule produces no route`,
      )
    } else {
      used.add(delegate)
      rules.push(...delegated(world, object, spec, path, delegate))
    }
  }
  return rules
}

function delegated(
  world: World,
  root: VirtualServiceObject,
  spec: HttpRouteSpec,
  path: Path,
  delegate: VirtualServiceObject,
): HttpRule[] {
  return (delegate.spec.http ?? []).flatMap((leaf, k): HttpRule[] => {
    const merged = mergeDelegate(spec, leaf)
    if (merged === null) {
      const name = spec.name === undefined ? '' : ` \`${spec.name}\``
      const why = delegateConflict(spec.match ?? [], leaf.match ?? [])
      world.verdicts.partly(
        delegate,
        ['http', k],
        `never fits within the rule${name} of VirtualService ${root.namespace}/${root.name} that delegates to it${why}`,
      )
      return []
    }
    const matches = merged.matches.map((m) => ({ spec: m, path }))
    return [{ spec: merged.route, root, path, actionObject: delegate, actionPath: ['http', k], matches }]
  })
}

// Services as parents of routes: whoever in the mesh asks for them is routed by these (GAMMA).
import { identityText, type ResourceObject } from '../../resource-object.ts'
import type { ParentRefSpec } from '../../schema/gateway-api-fields.ts'
import type { World } from '../world.ts'

export interface MeshParent {
  readonly namespace: string
  readonly hosts: readonly string[]
  /** 0: any. */
  readonly port: number
}

/** A text: why there is none. */
export function meshParents(
  world: World,
  route: ResourceObject,
  { name, namespace = route.namespace, sectionName = '', port = 0 }: ParentRefSpec,
  kind: 'Service' | 'ServiceEntry',
): MeshParent | string {
  const parent = world.objects(kind).find((o) => o.name === name && o.namespace === namespace)
  if (parent === undefined) return `waiting for the ${kind} ${namespace}/${name}, which is not there`
  const ports = portsOf(parent)
  const named = sectionName === '' ? undefined : ports.find((p) => p.name === sectionName)
  if ((sectionName !== '' && named === undefined) || (port !== 0 && !ports.some((p) => p.port === port))) {
    const known = ports.map((p) => `${p.port}${p.name === '' ? '' : ` (${p.name})`}`).join(', ')
    return `waiting for a port ${sectionName === '' ? port : `\`${sectionName}\``} of ${identityText(parent)}; it has ${known}`
  }
  const hosts = parent.kind === 'Service' ? [`${name}.${namespace}.svc.${world.domain}`] : hostsOf(parent)
  return { namespace, hosts, port: named?.port ?? port }
}

function hostsOf(entry: ResourceObject): string[] {
  return ((entry as ResourceObject<'ServiceEntry'>).spec.hosts ?? []).map((h) => h.toLowerCase())
}

function portsOf(parent: ResourceObject): { port: number; name: string }[] {
  if (parent.kind === 'Service') {
    const { ports = [] } = (parent as ResourceObject<'Service'>).spec
    return ports.map((p) => ({ port: p.port, name: p.name ?? '' }))
  }
  const { ports = [] } = (parent as ResourceObject<'ServiceEntry'>).spec
  return ports.map((p) => ({ port: p.number ?? 0, name: p.name ?? '' }))
}

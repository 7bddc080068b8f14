// Which listeners of a Gateway take a route, and for which hosts.
import type { ResourceObject } from '../../resource-object.ts'
import type { ParentRefSpec } from '../../schema/gateway-api-fields.ts'
import type { LabelSelectorSpec } from '../../schema/kubernetes-gateway.ts'
import { intersection } from '../gateway/server.ts'
import { hasLabels } from '../host-names.ts'
import type { World } from '../world.ts'
import type { GatewayListener } from './gateway-listeners.ts'

export type RouteObject =
  | ResourceObject<'HTTPRoute'>
  | ResourceObject<'GRPCRoute'>
  | ResourceObject<'TLSRoute'>
  | ResourceObject<'TCPRoute'>

export interface Attachment {
  readonly listener: GatewayListener
  /** Those that the two have in common. */
  readonly hosts: readonly string[]
}

const KINDS: Readonly<Record<string, readonly string[]>> = {
  HTTP: ['HTTPRoute', 'GRPCRoute'],
  HTTPS: ['HTTPRoute', 'GRPCRoute'],
  TLS: ['TLSRoute', 'TCPRoute'],
  TCP: ['TCPRoute'],
}

/** A text: why there are none. */
export function attach(
  world: World,
  route: RouteObject,
  { sectionName = '', port = 0 }: ParentRefSpec,
  listeners: readonly GatewayListener[],
): Attachment[] | string {
  const named = listeners.filter(
    (l) => (sectionName === '' || l.spec.name === sectionName) && (port === 0 || l.spec.port === port),
  )
  if (named.length === 0) {
    const asked = [sectionName === '' ? '' : ` \`${sectionName}\``, port === 0 ? '' : ` on port ${port}`].join('')
    const known = listeners.map((l) => `\`${l.spec.name}\``).join(', ')
    return `waiting for a listener${asked} of its Gateway that is served; it has ${known === '' ? 'none' : known}`
  }
  const allowed = named.filter((l) => allowsKind(l, route.kind) && allowsNamespace(world, l, route.namespace))
  if (allowed.length === 0) {
    const names = named.map((l) => `\`${l.spec.name}\` (${l.spec.protocol})`).join(', ')
    return `waiting to be allowed: the listeners ${names} take no ${route.kind} of the namespace \`${route.namespace}\` (allowedRoutes)`
  }
  const attachments = allowed.flatMap((listener): Attachment[] => {
    const nearer = listeners.filter((l) => isNearer(l, listener))
    const hosts = hostsOf(route, listener).filter((host) => !nearer.some((l) => intersection(l.host, host) === host))
    return hosts.length === 0 ? [] : [{ listener, hosts }]
  })
  if (attachments.length > 0) return attachments
  const of = [...new Set(allowed.map((l) => l.host))].join(', ')
  return `waiting for a listener with one of its hostnames; those that it may attach to are for ${of}`
}

function allowsKind({ spec, takes }: GatewayListener, kind: string): boolean {
  const { kinds = [] } = spec.allowedRoutes ?? {}
  // What is passed on by server name has to be told apart by it.
  if (takes === 'tls' && kind !== 'TLSRoute') return false
  if (!(KINDS[spec.protocol] ?? []).includes(kind)) return false
  return kinds.length === 0 || kinds.some((k) => k.kind === kind)
}

function allowsNamespace(world: World, { spec, gateway }: GatewayListener, namespace: string): boolean {
  const { from = 'Same', selector } = spec.allowedRoutes?.namespaces ?? {}
  if (from === 'All') return true
  if (from === 'Same') return namespace === gateway.namespace
  if (from === 'None' || selector === undefined) return false
  const labels = world.objects('Namespace').find((n) => n.name === namespace)?.labels ?? {}
  return selects(selector, { 'kubernetes.io/metadata.name': namespace, ...labels })
}

function selects(
  { matchLabels = {}, matchExpressions = [] }: LabelSelectorSpec,
  labels: Readonly<Record<string, string>>,
): boolean {
  const holds = ({ key, operator, values = [] }: (typeof matchExpressions)[number]): boolean => {
    const there = Object.hasOwn(labels, key)
    if (operator === 'Exists') return there
    if (operator === 'DoesNotExist') return !there
    const listed = there && values.includes(labels[key] ?? '')
    return operator === 'In' ? listed : !listed
  }
  return hasLabels(labels, matchLabels) && matchExpressions.every(holds)
}

/** A host has one listener on a port, the most special one: whoever is not attached there has no part in it (listener isolation). */
function isNearer(other: GatewayListener, { host, spec, takes }: GatewayListener): boolean {
  return (
    other.spec.port === spec.port && other.takes === takes && other.host !== host && intersection(other.host, host) === other.host
  )
}

function hostsOf(route: RouteObject, { host }: GatewayListener): string[] {
  const own = route.kind === 'TCPRoute' ? [] : (route.spec.hostnames ?? [])
  if (own.length === 0) return [host]
  return [...new Set(own.flatMap((name) => intersection(host, name) ?? []))]
}

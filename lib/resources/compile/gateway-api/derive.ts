// The Gateway API: its Gateways and routes in the words of Istio's kinds, which everything behind this works on (istiod gateway controller).
import type { ResourceObject } from '../../resource-object.ts'
import type { ConnectionRuleSpec, ParentRefSpec } from '../../schema/gateway-api-fields.ts'
import type { L4RouteSpec, VirtualServiceSpec } from '../../schema/virtual-service.ts'
import type { World } from '../world.ts'
import { attach, type RouteObject } from './attachment.ts'
import { BackendResolver, NOWHERE } from './backends.ts'
import { DerivedObject } from './derived.ts'
import { type GatewayReading, readGateway } from './gateway-listeners.ts'
import { Grants } from './grants.ts'
import { byPrecedence, type ConvertedRule, convertRules, type HttpRouteObject } from './http-rules.ts'
import { meshParents } from './mesh-parents.ts'
import { noteParents, ParentLink } from './parent-links.ts'

export interface Derived {
  readonly virtualServices: readonly DerivedObject<'VirtualService'>[]
  readonly gateways: readonly DerivedObject<'Gateway'>[]
  /** When all of it has been compiled: verdicts on the routes and grants. */
  note(): void
}

/** Where routes are asked: a host of a listener, or of a service. */
interface Place {
  readonly namespace: string
  readonly name: string
  readonly spec: Pick<VirtualServiceSpec, 'hosts' | 'gateways' | 'exportTo'>
  /** Of a service: 0 is any. */
  readonly port: number
  readonly granted: boolean
}

interface Attached {
  readonly place: Place
  readonly routes: { readonly route: HttpRouteObject; readonly link: ParentLink }[]
}

/** `namespace` and `name` are those of the first route. */
export function deriveFromGatewayApi(world: World): Derived {
  const derivation = new Derivation(world)
  for (const route of routesOf(world)) derivation.take(route)
  return derivation.finish()
}

/** Oldest first. */
function routesOf(world: World): RouteObject[] {
  const all: RouteObject[] = [
    ...world.objects('HTTPRoute'),
    ...world.objects('GRPCRoute'),
    ...world.objects('TLSRoute'),
    ...world.objects('TCPRoute'),
  ]
  const order = new Map(all.map((o, i) => [o, i]))
  return all.toSorted((a, b) => {
    if (a.createdMs !== b.createdMs) return a.createdMs < b.createdMs ? -1 : 1
    const [x, y] = [`${a.namespace}/${a.name}`, `${b.namespace}/${b.name}`]
    return x < y ? -1 : x > y ? 1 : order.get(a)! - order.get(b)!
  })
}

class Derivation {
  readonly #world: World
  readonly #grants: Grants
  readonly #backends: BackendResolver
  readonly #readings: ReadonlyMap<string, GatewayReading>
  readonly #links: ParentLink[]
  readonly #attached: Map<string, Attached>
  readonly #virtualServices: DerivedObject<'VirtualService'>[]
  /** Who has all connections of a place. */
  readonly #taken: Map<string, ResourceObject>

  constructor(world: World) {
    this.#world = world
    this.#grants = new Grants(world)
    this.#backends = new BackendResolver(world, this.#grants)
    this.#readings = new Map(
      world.objects('KubernetesGateway').map((g) => [`${g.namespace}/${g.name}`, readGateway(world, this.#grants, g)]),
    )
    this.#links = []
    this.#attached = new Map()
    this.#virtualServices = []
    this.#taken = new Map()
    for (const gatewayClass of world.objects('GatewayClass'))
      if (!gatewayClass.spec.controllerName.startsWith('istio.io/'))
        world.verdicts.waiting(gatewayClass, `is for another controller, ${gatewayClass.spec.controllerName}`)
  }

  take(route: RouteObject): void {
    const parents = route.spec.parentRefs ?? []
    if (parents.length === 0) this.#world.verdicts.waiting(route, 'waiting for a parent: it names none in `parentRefs`')
    for (const [i, parent] of parents.entries()) {
      const link = new ParentLink(route, ['parentRefs', i])
      this.#links.push(link)
      const { group = 'gateway.networking.k8s.io', kind = 'Gateway' } = parent
      if (kind === 'Gateway' && group === 'gateway.networking.k8s.io') this.#toGateway(route, parent, link)
      else if ((kind === 'Service' && group === '') || (kind === 'ServiceEntry' && group === 'networking.istio.io'))
        this.#toService(route, parent, kind, link)
      else
        link.refuse(
          `no parent of kind ${kind}${group === '' ? '' : ` of ${group}`} is known here: expected a Gateway or a Service`,
        )
    }
  }

  finish(): Derived {
    for (const { place, routes } of this.#attached.values()) this.#deriveHttp(place, routes)
    const gateways = [...this.#readings.values()].flatMap((r) => (typeof r === 'string' ? [] : r.derived))
    return {
      virtualServices: this.#virtualServices,
      gateways,
      note: () => {
        noteParents(this.#world.verdicts, this.#links)
        this.#grants.note(this.#world)
      },
    }
  }

  #toGateway(route: RouteObject, parent: ParentRefSpec, link: ParentLink): void {
    const key = `${parent.namespace ?? route.namespace}/${parent.name}`
    const reading = this.#readings.get(key)
    if (reading === undefined) link.refuse(`waiting for the Gateway ${key}, which is not there`)
    else if (typeof reading === 'string') link.refuse(`waiting for its Gateway ${key}: ${reading}`)
    else {
      const attachments = attach(this.#world, route, parent, reading.listeners)
      if (typeof attachments === 'string') link.refuse(attachments)
      else
        for (const { listener, hosts } of attachments) {
          const { namespace } = listener.gateway
          const at = { namespace, gateways: [listener.fullName], port: 0, granted: true }
          if (listener.takes === 'http')
            for (const host of hosts) this.#collect(route as HttpRouteObject, link, `${listener.fullName} ${host}`, at, [host])
          else this.#deriveConnections(route, link, listener.takes, { ...at, key: listener.fullName, hosts })
        }
    }
  }

  #toService(route: RouteObject, parent: ParentRefSpec, kind: 'Service' | 'ServiceEntry', link: ParentLink): void {
    if (!this.#world.servesMesh) {
      link.refuse(`waiting for a client in the mesh: its parent is a ${kind}, and this proxy is a gateway`)
      return
    }
    const parents = meshParents(this.#world, route, parent, kind)
    if (typeof parents === 'string') {
      link.refuse(parents)
      return
    }
    const { hosts, port, namespace } = parents
    // Who wrote it for services of others wrote it for the clients of its own namespace.
    const exportTo = namespace === route.namespace ? {} : { exportTo: ['.'] }
    for (const host of hosts) {
      const at = { namespace: route.namespace, port, granted: false, ...exportTo }
      const key = `${route.namespace}~${port === 0 ? '' : `${port}~`}${host}`
      if (route.kind === 'HTTPRoute' || route.kind === 'GRPCRoute') this.#collect(route, link, key, at, [host])
      else this.#deriveConnections(route, link, route.kind === 'TLSRoute' ? 'tls' : 'tcp', { ...at, key, hosts: [host] })
    }
  }

  /** Routes for one host are joined. */
  #collect(
    route: HttpRouteObject,
    link: ParentLink,
    key: string,
    { namespace, port, granted, ...spec }: At,
    hosts: readonly string[],
  ): void {
    const name = key.slice(key.indexOf('/') + 1)
    const place: Place = { namespace, name, port, granted, spec: { ...spec, hosts: [...hosts] } }
    const attached = this.#attached.get(key) ?? { place, routes: [] }
    this.#attached.set(key, attached)
    if (!attached.routes.some((r) => r.route === route)) attached.routes.push({ route, link })
  }

  #deriveHttp({ namespace, name, port, granted, spec }: Place, routes: Attached['routes']): void {
    const around = { world: this.#world, backends: this.#backends, port, granted }
    const rules = byPrecedence(routes.flatMap(({ route }) => convertRules(route, around)))
    const first = routes[0]!.route
    this.#virtualServices.push(
      new DerivedObject(
        { kind: 'VirtualService', namespace, name, spec: { ...spec, http: rules.map((r) => r.spec) } },
        first,
        (path) => writtenRule(rules, first, path),
        routes.map((r) => r.link),
      ),
    )
  }

  #deriveConnections(
    route: RouteObject,
    link: ParentLink,
    takes: 'tls' | 'tcp',
    { key, namespace, port, granted, hosts, ...spec }: At & { readonly key: string; readonly hosts: readonly string[] },
  ): void {
    const taken = this.#taken.get(`${takes} ${key}`)
    if (takes === 'tcp' && taken !== undefined) {
      link.refuse(
        `shadowed by ${taken.kind} ${taken.namespace}/${taken.name}, which is older: all connections are its own`,
        'shadowed',
      )
      return
    }
    this.#taken.set(`${takes} ${key}`, route)
    const rules = (route.spec.rules ?? []) as readonly ConnectionRuleSpec[]
    const destinations = rules.flatMap((rule, i) => this.#destinations(route, rule, i, granted))
    const ofPort = port === 0 ? {} : { port }
    const own = route.kind === 'TLSRoute' ? (route.spec.hostnames ?? []) : []
    const sniHosts = granted || own.length === 0 ? [...hosts] : [...own]
    const l4: VirtualServiceSpec =
      takes === 'tls'
        ? { tls: [{ match: [{ sniHosts, ...ofPort }], route: destinations }] }
        : { tcp: [{ ...(port === 0 ? {} : { match: [ofPort] }), route: destinations }] }
    const name = `${key.slice(key.indexOf('/') + 1)}~${route.name}`
    this.#virtualServices.push(
      new DerivedObject(
        { kind: 'VirtualService', namespace, name, spec: { ...spec, hosts: [...hosts], ...l4 } },
        route,
        () => ({ object: route, path: ['rules', 0] }),
        [link],
      ),
    )
  }

  #destinations(route: RouteObject, { backendRefs = [] }: ConnectionRuleSpec, rule: number, granted: boolean): L4RouteSpec[] {
    const all = backendRefs.map((ref, i): L4RouteSpec => {
      const destination = this.#backends.resolve(
        route,
        ['rules', rule, 'backendRefs', i],
        ref,
        granted,
        'its connections are closed',
      )
      return { destination, weight: ref.weight ?? 1 }
    })
    const drawn = all.filter((d) => d.weight !== 0)
    return drawn.length === 0 ? [{ destination: NOWHERE, weight: 1 }] : drawn
  }
}

interface At {
  readonly namespace: string
  readonly port: number
  readonly granted: boolean
  readonly gateways?: string[]
  readonly exportTo?: string[]
}

/** `path`: in the derived VirtualService. */
function writtenRule(rules: readonly ConvertedRule[], first: ResourceObject, path: readonly (string | number)[]) {
  const rule = path[0] === 'http' ? rules[path[1] as number] : undefined
  if (rule === undefined) return { object: first, path: [] }
  const [field, index] = path.slice(2)
  const at = (): readonly (string | number)[] => {
    if (field === 'match') return rule.match
    if (field === 'route') return rule.backends[index as number] ?? rule.rule
    if (field === 'mirrors') return rule.mirrors[index as number] ?? rule.rule
    if (field === 'timeout') return [...rule.rule, 'timeouts']
    return field === 'retries' ? [...rule.rule, 'retry'] : rule.rule
  }
  return { object: rule.route as ResourceObject, path: at() }
}

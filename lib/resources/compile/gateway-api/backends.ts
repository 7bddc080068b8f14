// backendRefs of routes to destinations of VirtualServices.
import type { Path } from '../../finding.ts'
import { identityText, type ResourceObject } from '../../resource-object.ts'
import type { BackendRefSpec } from '../../schema/gateway-api-fields.ts'
import type { DestinationSpec } from '../../schema/virtual-service.ts'
import type { World } from '../world.ts'
import type { Grants } from './grants.ts'

/** Where nothing is that a reference may mean: requests get 500, connections end. */
export const NOWHERE: DestinationSpec = { host: '' }

const ISTIO = 'networking.istio.io'
const GATEWAY_API = 'gateway.networking.k8s.io'

export class BackendResolver {
  readonly #world: World
  readonly #grants: Grants

  constructor(world: World, grants: Grants) {
    this.#world = world
    this.#grants = grants
  }

  /** `granted`: references to other namespaces need a ReferenceGrant, as they do behind Gateways. `result`: of one that means nothing. */
  resolve(
    route: ResourceObject,
    path: Path,
    ref: BackendRefSpec,
    granted: boolean,
    result = 'requests for it get 500',
  ): DestinationSpec {
    const { group = '', kind = 'Service', name, namespace = route.namespace, port } = ref
    const note = (reason: string): DestinationSpec => {
      this.#world.verdicts.partly(route, path, `${reason}; ${result}`)
      return NOWHERE
    }
    const known = (group === '' && kind === 'Service') || (group === ISTIO && (kind === 'Hostname' || kind === 'ServiceEntry'))
    if (!known) return note(`${kind}${group === '' ? '' : ` of ${group}`} is no backend that is known here: expected a Service`)
    if (kind === 'Hostname')
      return port === undefined
        ? note('a reference to a Hostname needs a `port`')
        : { host: name.toLowerCase(), port: { number: port } }
    const from = { group: GATEWAY_API, kind: route.kind, namespace: route.namespace }
    if (granted && !this.#grants.permits(from, { group, kind, namespace, name }))
      return note(
        `${identityText({ kind, namespace, name })} is of another namespace, and no ReferenceGrant in \`${namespace}\` permits ${route.kind} of \`${route.namespace}\` to name it`,
      )
    if (kind === 'Service') return { host: `${name}.${namespace}.svc.${this.#world.domain}`, port: { number: port ?? 0 } }
    const entry = this.#world.objects('ServiceEntry').find((e) => e.name === name && e.namespace === namespace)
    const host = entry?.spec.hosts?.[0]
    if (host === undefined) return note(`there is no ServiceEntry ${namespace}/${name}`)
    return { host: host.toLowerCase(), ...(port === undefined ? {} : { port: { number: port } }) }
  }
}

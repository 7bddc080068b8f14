// Which VirtualServices a waypoint carries out: those that the owner of a service, or its own, have written for the service. What others wrote is for
// their clients, and these do not ask here.
import type { VirtualServiceSpec } from '../../schema/virtual-service.ts'
import { covers } from '../host-names.ts'
import type { RegistryService } from '../registry.ts'
import type { VirtualServiceRules } from '../rules.ts'
import type { World } from '../world.ts'

/** Says of the others why they are not. */
export function rulesOfOwners(
  world: World,
  services: readonly RegistryService[],
  virtualServices: readonly VirtualServiceRules[],
): VirtualServiceRules[] {
  return virtualServices.filter((rules) => {
    const { object, hosts } = rules
    const meant = services.filter((s) => hosts.some((host) => covers(host, s.hostname)))
    if (meant.some((s) => object.namespace === s.namespace || object.namespace === world.client.namespace)) {
      noteClientMatches(world, rules)
      return true
    }
    const wanted =
      meant[0] === undefined ? `a service of this waypoint: it serves none of ${hosts.join(', ')}` : elsewhere(meant[0])
    world.verdicts.waiting(object, `waiting for ${wanted}`)
    return false
  })
}

function elsewhere({ hostname, namespace }: RegistryService): string {
  return `a client of its own: a waypoint carries out what the namespaces \`${namespace}\` and its own say of ${hostname}`
}

interface ClientMatch {
  readonly sourceLabels?: Readonly<Record<string, string>> | undefined
  readonly sourceNamespace?: string | undefined
}

function noteClientMatches(world: World, { object }: VirtualServiceRules): void {
  const spec: VirtualServiceSpec = object.spec
  for (const kind of ['http', 'tcp', 'tls'] as const) {
    for (const [i, rule] of (spec[kind] ?? []).entries()) {
      const matches: readonly ClientMatch[] = rule.match ?? []
      for (const [k, { sourceLabels = {}, sourceNamespace = '' }] of matches.entries()) {
        if (Object.keys(sourceLabels).length === 0 && sourceNamespace === '') continue
        const reason = 'never fits: a waypoint does not know the labels and namespaces of clients when routes are made'
        world.verdicts.partly(object, [kind, i, 'match', k], reason, true)
      }
    }
  }
}

// RequestAuthentications down to the filter of a chain, and what came of each object.
import type { JwtAuthentication } from '../../../state/jwt.ts'
import type { ResourceNote } from '../../../state/snapshot.ts'
import { UNENFORCED } from '../../kinds.ts'
import type { ResourceObject } from '../../resource-object.ts'
import { selectPolicies, unusedText } from '../authorization/selection.ts'
import type { RegistryService } from '../registry.ts'
import type { World } from '../world.ts'
import { compileRules, keysProblem, privateKeysOf } from './jwt-rule.ts'

type Authentication = ResourceObject<'RequestAuthentication'>

/** Of one compilation. The same service gives the same filter. */
export class RequestAuthentications {
  readonly #world: World
  readonly #built: Map<string, JwtAuthentication | null>
  readonly #used: Set<Authentication>

  constructor(world: World) {
    this.#world = world
    this.#built = new Map()
    this.#used = new Set()
  }

  /** `service`: of a waypoint; null: whatever else is served. */
  filter(service: RegistryService | null): JwtAuthentication | null {
    const key = service === null ? '' : `${service.namespace}/${service.hostname}`
    const known = this.#built.get(key)
    if (known !== undefined) return known
    const objects = selectPolicies(this.#world, service, 'RequestAuthentication')
    for (const object of objects) this.#used.add(object)
    const rules = objects.flatMap((object) => (object.spec.jwtRules ?? []).map((rule, index) => ({ object, index, rule })))
    const { isGateway, servesOthers } = this.#world
    const built = compileRules(rules, isGateway || servesOthers)
    this.#built.set(key, built)
    return built
  }

  /** Says of each object whether anything comes of it. After all chains are built. */
  note(): void {
    const { verdicts, capturesInbound, isGateway, servesOthers, bootstrap } = this.#world
    const serves = capturesInbound || isGateway || servesOthers || bootstrap.listeners.some((l) => l.direction === 'inbound')
    for (const object of this.#world.objects('RequestAuthentication')) {
      if (!this.#used.has(object)) verdicts.waiting(object, serves ? unusedText(this.#world, object.spec) : UNENFORCED)
      else
        for (const [i, rule] of (object.spec.jwtRules ?? []).entries()) {
          const problem = keysProblem(rule)
          if (problem !== null) verdicts.partly(object, ['jwtRules', i], problem)
        }
    }
  }

  /** Of those that hold for somebody. */
  notes(): ResourceNote[] {
    return [...this.#used].flatMap((object) =>
      (object.spec.jwtRules ?? []).flatMap((rule, i) =>
        privateKeysOf(rule).map((key): ResourceNote => {
          const { kind, namespace, name, file, line, column } = object.origin(['jwtRules', i, 'jwks'])
          const message = `key ${key} of \`jwks\` has private parts: tokens are verified with public ones, and whoever reads this can issue them`
          return { kind, namespace, name, route: '', message, file, line, column }
        }),
      ),
    )
  }
}

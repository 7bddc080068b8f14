// Which mTLS mode holds for other workloads, as their policies have it; asked for each endpoint, answered once for each kind of workload.
import { effectiveMtls, type MtlsRule, mtlsRuleOf, type WorkloadMtls } from '../../policy/peer-authentication.ts'
import type { PeerAuthentication, PeerAuthentications } from '../../state/peer-authentication.ts'
import type { Backend } from './backends.ts'
import { peerAuthentications } from './peer-authentications.ts'
import type { World } from './world.ts'

export class MeshMtls {
  /** Policies that were asked. */
  readonly asked: Set<PeerAuthentication>
  readonly #policies: PeerAuthentications
  readonly #known: Map<string, WorkloadMtls>

  constructor(world: World) {
    this.asked = new Set()
    this.#policies = peerAuthentications(world)
    this.#known = new Map()
  }

  ruleFor({ namespace, labels, port }: Backend): MtlsRule {
    return mtlsRuleOf(this.#of(namespace, labels), port)
  }

  #of(namespace: string, labels: Backend['labels']): WorkloadMtls {
    const key = JSON.stringify([namespace, labels])
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const found = effectiveMtls(this.#policies, namespace, labels)
    for (const policy of found.applied) this.asked.add(policy)
    this.#known.set(key, found)
    return found
  }
}

// PeerAuthentication objects to nouns, and which of them hold for no workload at all.
import { hasSelector, olderFirst } from '../../policy/peer-authentication.ts'
import { originText } from '../../state/origin.ts'
import type { PeerAuthentication, PeerAuthentications } from '../../state/peer-authentication.ts'
import { UNENFORCED } from '../kinds.ts'
import type { ResourceObject } from '../resource-object.ts'
import type { World } from './world.ts'

export function peerAuthentications(world: World): PeerAuthentications {
  return { rootNamespace: world.rootNamespace, policies: world.objects('PeerAuthentication').map(toNoun) }
}

/** Says of each object whether anything comes of it. `used`: the policies by which some connection is made or taken. */
export function notePeerAuthentications(world: World, used: readonly PeerAuthentication[]): void {
  const inForce = new Set(used.map((policy) => originText(policy.origin)))
  const holding = new Map<string, PeerAuthentication>()
  const serves = world.capturesInbound || world.bootstrap.listeners.some((l) => l.direction === 'inbound')
  const policies = world.objects('PeerAuthentication').map((object) => ({ object, policy: toNoun(object) }))
  for (const { object, policy } of policies.sort((a, b) => olderFirst(a.policy, b.policy))) {
    const older = holding.get(policy.namespace)
    if (hasSelector(policy)) {
      if (policy.namespace === world.rootNamespace) world.verdicts.waiting(object, inRootNamespace(world.rootNamespace))
    } else if (older !== undefined) world.verdicts.shadowed(object, isYounger(older, world.rootNamespace))
    else holding.set(policy.namespace, policy)
    if (inForce.has(originText(policy.origin))) continue
    // Without inbound listeners nothing is taken for the application here: whoever relies on a policy must hear that.
    const elsewhere = 'holds for no workload that is known here'
    world.verdicts.waiting(object, serves ? elsewhere : UNENFORCED)
  }
}

function toNoun(object: ResourceObject<'PeerAuthentication'>): PeerAuthentication {
  const { spec, namespace, name, createdMs } = object
  const ports = Object.entries(spec.portLevelMtls ?? {}).map(([port, { mode }]) => ({
    port: Number(port),
    mode: mode ?? 'UNSET',
    origin: object.origin(['portLevelMtls', port]),
  }))
  const selector = spec.selector?.matchLabels ?? {}
  return { namespace, name, selector, mode: spec.mtls?.mode ?? 'UNSET', ports, createdMs, origin: object.origin() }
}

function inRootNamespace(rootNamespace: string): string {
  return `holds for no workload: in the root namespace \`${rootNamespace}\` a PeerAuthentication is for the whole mesh and has no selector; move it to the namespace of the workloads`
}

function isYounger(older: PeerAuthentication, rootNamespace: string): string {
  const scope = older.namespace === rootNamespace ? 'the mesh' : `namespace \`${older.namespace}\``
  return `shadowed by ${originText(older.origin)}, which is older: one PeerAuthentication without a selector holds for ${scope}`
}

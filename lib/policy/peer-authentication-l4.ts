// PeerAuthentication for a node's tunnel, which takes plain text and tunnels on every port: STRICT becomes a DENY policy for
// connections without an identity, as istiod converts it. DISABLE has no form of its own there and is PERMISSIVE.
import type { Authorization, AuthorizationMatch, AuthorizationRule } from '../state/authorization.ts'
import { policyKey } from '../state/authorization.ts'
import type { Origin } from '../state/origin.ts'
import type { PeerAuthentications } from '../state/peer-authentication.ts'
import type { Workload } from '../state/workload.ts'
import type { WorkloadWorld } from '../state/workload-world.ts'
import { effectiveMtls, type WorkloadMtls } from './peer-authentication.ts'

/** istiod's names; `_` cannot stand in a name of Kubernetes. */
const STRICT_NAME = 'istio_converted_static_strict'
const PREFIX = 'converted_peer_authentication_'

/**
 * The policy that a workload with these labels lists; null: plain text may come in on every port.
 *
 * istiod forgets DISABLE for a port where STRICT is inherited, and refuses plain text there; here the port is open, as it is
 * in front of a sidecar.
 */
export function strictAuthorization(
  policies: PeerAuthentications,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): Authorization | null {
  const mtls = effectiveMtls(policies, namespace, labels)
  const rule = ruleOf(mtls)
  if (rule === null) return null
  const [home, name] = nameOf(mtls, policies.rootNamespace)
  return { name, namespace: home, scope: 'WORKLOAD_SELECTOR', action: 'DENY', rules: [rule], dryRun: false, origin: rule.origin }
}

/** One name for each object that is behind it, so that a refusal names that object. */
function nameOf({ rule, ports, applied }: WorkloadMtls, rootNamespace: string): readonly [namespace: string, name: string] {
  const narrowest = applied.at(-1)
  const byPort = [...ports.values()].some((p) => p.mode !== rule.mode)
  if (byPort && narrowest !== undefined) return [narrowest.namespace, PREFIX + narrowest.name]
  const { namespace, name } = rule.setBy
  return namespace === rootNamespace ? [rootNamespace, STRICT_NAME] : [namespace, PREFIX + name]
}

/** A world whose workloads list what their PeerAuthentications come to. `labelsOf`: what selectors select by. */
export function withPeerAuthentications(
  world: WorkloadWorld,
  policies: PeerAuthentications,
  labelsOf: (workload: Workload) => Readonly<Record<string, string>>,
): WorkloadWorld {
  if (policies.policies.length === 0) return world
  const added = new Map<string, Authorization>()
  const workloads = world.workloads.map((workload) => {
    const policy = strictAuthorization(policies, workload.namespace, labelsOf(workload))
    if (policy === null) return workload
    added.set(policyKey(policy), policy)
    return { ...workload, authorizationPolicies: [...workload.authorizationPolicies, policyKey(policy)] }
  })
  return { ...world, workloads, policies: [...world.policies, ...added.values()] }
}

function ruleOf({ rule, ports }: WorkloadMtls): AuthorizationRule | null {
  const strict = [...ports].filter(([, p]) => p.mode === 'STRICT')
  const open = [...ports].filter(([, p]) => p.mode !== 'STRICT').map(([port]) => port)
  if (rule.mode === 'STRICT') return withoutIdentity(rule.setBy, [], open)
  const first = strict[0]
  if (first === undefined) return null
  return withoutIdentity(
    first[1].setBy,
    strict.map(([port]) => port),
    [],
  )
}

/** Connections without a principal, on these ports, or on all but those. */
function withoutIdentity(origin: Origin, on: readonly number[], but: readonly number[]): AuthorizationRule {
  const match: AuthorizationMatch = {
    namespaces: [],
    notNamespaces: [],
    serviceAccounts: [],
    notServiceAccounts: [],
    principals: [],
    notPrincipals: [{ kind: 'presence' }],
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: on,
    notDestinationPorts: but,
    origin,
  }
  return { clauses: [{ matches: [match] }], origin }
}

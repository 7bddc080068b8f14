// What of a request is hashed for a destination (DestinationRule consistentHash), as istiod writes it into routes. Not all of it follows the
// policy of the cluster: levels are looked up otherwise, and a destination without a port has no part in the settings of ports.
import type { TcpTunnel } from '../../state/listener.ts'
import type { HashPolicy } from '../../state/route.ts'
import type { LoadBalancerSpec, TrafficPolicySpec } from '../schema/destination-rule.ts'
import { durationMs } from '../schema/fields.ts'
import type { DestinationSpec } from '../schema/virtual-service.ts'
import type { EffectiveRule } from './destination-rules.ts'
import { resolveHost } from './host-names.ts'
import type { World } from './world.ts'

export type ConsistentHashSpec = NonNullable<LoadBalancerSpec['consistentHash']>

/** null: it names nothing to hash, and the endpoint is drawn. */
export function hashPolicyOf(spec: ConsistentHashSpec): HashPolicy | null {
  if (spec.httpHeaderName !== undefined) return { kind: 'header', name: spec.httpHeaderName }
  if (spec.httpQueryParameterName !== undefined) return { kind: 'query', name: spec.httpQueryParameterName }
  if (spec.useSourceIp !== undefined) return spec.useSourceIp ? { kind: 'sourceIp' } : null
  const cookie = spec.httpCookie
  if (cookie === undefined) return null
  return {
    kind: 'cookie',
    name: cookie.name ?? '',
    path: cookie.path ?? '',
    // Whole seconds: less than one is a session cookie.
    ttlSeconds: cookie.ttl === undefined ? -1 : Math.floor(durationMs(cookie.ttl) / 1000),
    attributes: (cookie.attributes ?? []).map((a) => ({ name: a.name ?? '', value: a.value ?? '' })),
  }
}

/** Those of the destinations of a route, one after the other (istiod). */
export function hashPoliciesOf(specs: readonly (ConsistentHashSpec | undefined)[]): HashPolicy[] {
  return specs.flatMap((spec) => (spec === undefined ? [] : (hashPolicyOf(spec) ?? [])))
}

/** Looks up the rules in force for the client. */
export class DestinationHashes {
  private readonly world: World
  private readonly rules: ReadonlyMap<string, EffectiveRule>

  /** `rules`: by hostname of the service. */
  constructor(world: World, rules: ReadonlyMap<string, EffectiveRule>) {
    this.world = world
    this.rules = rules
  }

  /** For a destination of a VirtualService in `namespace`: subset and port, subset, port, destination, the first that has one. */
  ofDestination(destination: DestinationSpec, namespace: string): ConsistentHashSpec | undefined {
    const rule = this.rules.get(resolveHost(destination.host, namespace, this.world.domain))
    if (rule === undefined) return undefined
    const port = destination.port?.number
    const subset = subsetPolicy(rule, destination.subset)
    return ofPort(subset, port) ?? ofPolicy(subset) ?? ofPort(rule.policy, port) ?? ofPolicy(rule.policy)
  }

  /**
   * The cluster on `port` hashes, by settings of that port, and a destination that names no port does not learn of it: the rule that has the
   * settings; null otherwise.
   */
  unheard(destination: DestinationSpec, namespace: string, port: number): EffectiveRule | null {
    const rule = this.rules.get(resolveHost(destination.host, namespace, this.world.domain))
    if (rule === undefined || destination.port !== undefined || this.ofDestination(destination, namespace) !== undefined)
      return null
    const settings = ofPort(subsetPolicy(rule, destination.subset), port) ?? ofPort(rule.policy, port)
    return settings !== undefined && hashPolicyOf(settings) !== null ? rule : null
  }

  /** For a service without a VirtualService. */
  ofService(hostname: string, port: number): ConsistentHashSpec | undefined {
    const policy = this.rules.get(hostname)?.policy
    return ofPort(policy, port) ?? ofPolicy(policy)
  }

  /** Whether connections to the service are picked by the client's address; `subset` is empty for several destinations. */
  bySourceIp(hostname: string, subset: string): boolean {
    const rule = this.rules.get(hostname)
    if (rule === undefined) return false
    // Any load balancer of the subset takes the place of the destination's.
    const own = subset === '' ? undefined : subsetPolicy(rule, subset)?.loadBalancer
    const lb = own ?? rule.policy?.loadBalancer
    return lb?.consistentHash?.useSourceIp === true
  }

  /** Through which proxy connections to the service go on; of a subset it is the subset's own that counts, and none of the destination's (istiod). */
  tunnelOf(hostname: string, subset: string): TcpTunnel | null {
    const rule = this.rules.get(hostname)
    const spec = rule === undefined ? undefined : (subset === '' ? rule.policy : subsetPolicy(rule, subset))?.tunnel
    if (spec === undefined) return null
    const { protocol = '', targetHost = '', targetPort = 0 } = spec
    const host = targetHost.includes(':') ? `[${targetHost}]` : targetHost
    return { method: protocol === 'POST' ? 'POST' : 'CONNECT', authority: `${host}:${targetPort}`, path: '/', headers: [] }
  }
}

function subsetPolicy(rule: EffectiveRule, name: string | undefined): TrafficPolicySpec | undefined {
  return rule.subsets.find((s) => s.spec.name === (name ?? ''))?.spec.trafficPolicy
}

function ofPolicy(policy: TrafficPolicySpec | undefined): ConsistentHashSpec | undefined {
  return policy?.loadBalancer?.consistentHash
}

function ofPort(policy: TrafficPolicySpec | undefined, port: number | undefined): ConsistentHashSpec | undefined {
  return policy?.portLevelSettings?.find((p) => p.port?.number === port)?.loadBalancer?.consistentHash
}

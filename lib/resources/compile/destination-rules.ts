// Which DestinationRule holds for a service, seen from the client (Istio DestinationRule look-up).
import type { ResourceObject } from '../resource-object.ts'
import type { SubsetSpec, TrafficPolicySpec } from '../schema/destination-rule.ts'
import { hasLabels, isExported, mostSpecific, resolveHost } from './host-names.ts'
import type { Registry, RegistryService } from './registry.ts'
import type { World } from './world.ts'

type Rule = ResourceObject<'DestinationRule'>

export interface RuleSubset {
  readonly spec: SubsetSpec
  readonly object: Rule
  readonly index: number
}

/** One rule, or several of one namespace for one host joined. */
export interface EffectiveRule {
  readonly objects: readonly Rule[]
  readonly policy: TrafficPolicySpec | undefined
  /** The object whose top-level trafficPolicy is `policy`. */
  readonly policyObject: Rule
  readonly subsets: readonly RuleSubset[]
}

interface HostIndex {
  readonly exact: Map<string, EffectiveRule>
  readonly wildcards: (readonly [string, EffectiveRule])[]
}

/** The rules that hold, by hostname of the service. Notes of every rule that holds for none why that is. */
export function assignRules(world: World, registry: Registry): ReadonlyMap<string, EffectiveRule> {
  const rules = new Map<string, EffectiveRule>()
  const steps = new Map<string, HostIndex>()
  const indexOf = (namespace: string, local: boolean): HostIndex => {
    const key = `${namespace} ${local}`
    const index = steps.get(key) ?? buildIndex(world, namespace, local)
    steps.set(key, index)
    return index
  }
  const byNamespace = new Set(world.objects('DestinationRule').map((r) => r.namespace))
  for (const service of registry.values()) {
    const rule = ruleFor(world, service, byNamespace, indexOf)
    if (rule !== undefined) rules.set(service.hostname, rule)
  }
  noteUnused(world, registry, rules)
  return rules
}

function ruleFor(
  world: World,
  service: RegistryService,
  namespaces: ReadonlySet<string>,
  indexOf: (namespace: string, local: boolean) => HostIndex,
): EffectiveRule | undefined {
  const own = world.client.namespace
  const order: readonly (readonly [string, boolean])[] = [
    [own, true],
    [service.namespace, false],
    [world.rootNamespace, false],
  ]
  for (const [namespace, local] of order) {
    if (!namespaces.has(namespace)) continue
    const index = indexOf(namespace, local)
    const rule = mostSpecific(service.hostname, index.exact, index.wildcards)
    if (rule !== undefined) return rule
  }
  return undefined
}

/** `local`: the step that looks in the client's own namespace. */
function buildIndex(world: World, namespace: string, local: boolean): HostIndex {
  const exact = new Map<string, EffectiveRule>()
  const groups = new Map<string, Rule[]>()
  for (const rule of world.objects('DestinationRule')) {
    if (rule.namespace !== namespace || !takesPart(world, rule, local)) continue
    const host = resolveHost(rule.spec.host, rule.namespace, world.domain)
    groups.set(host, [...(groups.get(host) ?? []), rule])
  }
  const wildcards: (readonly [string, EffectiveRule])[] = []
  for (const [host, group] of groups) {
    const rule = join(group)
    if (host.startsWith('*')) wildcards.push([host, rule])
    else exact.set(host, rule)
  }
  return { exact, wildcards }
}

function takesPart(world: World, rule: Rule, local: boolean): boolean {
  const selector = rule.spec.workloadSelector
  const exportTo = rule.spec.exportTo ?? []
  if (selector !== undefined && !(local && hasLabels(world.client.labels, selector.matchLabels ?? {}))) return false
  if (!local) return isExported(exportTo, rule.namespace, world.client.namespace)
  // In the root namespace only rules that are private to it are local; the others are the mesh's defaults, asked last.
  return rule.namespace !== world.rootNamespace || (exportTo.length === 1 && exportTo[0] === '.')
}

/** Oldest first: subsets are appended, the first one of a name stays; the first top-level policy stays. */
function join(group: readonly Rule[]): EffectiveRule {
  const selecting = group.filter((r) => r.spec.workloadSelector !== undefined)
  const candidates = selecting.length > 0 ? selecting : group
  const first = candidates[0] as Rule
  const scope = (r: Rule): string => [...(r.spec.exportTo ?? ['*'])].sort().join()
  // Rules with another exportTo are another group of their own, which the older one hides.
  const members = candidates.filter((r) => scope(r) === scope(first))
  const subsets = new Map<string, RuleSubset>()
  for (const object of members) {
    for (const [index, spec] of (object.spec.subsets ?? []).entries()) {
      const name = spec.name ?? ''
      if (!subsets.has(name)) subsets.set(name, { spec, object, index })
    }
  }
  const policyObject = members.find((r) => r.spec.trafficPolicy !== undefined) ?? first
  return { objects: members, policy: policyObject.spec.trafficPolicy, policyObject, subsets: [...subsets.values()] }
}

function noteUnused(world: World, registry: Registry, rules: ReadonlyMap<string, EffectiveRule>): void {
  const used = new Map([...rules.values()].flatMap((r) => r.objects.map((object) => [object, r] as const)))
  for (const rule of world.objects('DestinationRule')) {
    const joined = used.get(rule)
    if (joined !== undefined) {
      noteLostParts(world, rule, joined)
      continue
    }
    const host = resolveHost(rule.spec.host, rule.namespace, world.domain)
    const wanted = rule.spec.workloadSelector?.matchLabels
    const service = findCovered(registry, host)
    const winner = service === undefined ? undefined : rules.get(service.hostname)?.objects[0]
    if (wanted !== undefined && !hasLabels(world.client.labels, wanted)) {
      world.verdicts.waiting(rule, 'waiting for a workload with the labels of its workloadSelector; this one has others')
    } else if (service === undefined)
      world.verdicts.waiting(rule, `waiting for a service \`${host}\`, which is not known${shortHint(rule.spec.host, host)}`)
    else if (winner !== undefined) {
      world.verdicts.shadowed(
        rule,
        `shadowed by DestinationRule ${winner.namespace}/${winner.name}, which is nearer to this client for \`${service.hostname}\``,
      )
    } else
      world.verdicts.waiting(
        rule,
        `waiting for a client in a namespace that it is exported to; this workload is in \`${world.client.namespace}\``,
      )
  }
}

function shortHint(written: string, host: string): string {
  return written === host ? '' : ` (\`${written}\` is short for it)`
}

function findCovered(registry: Registry, host: string): RegistryService | undefined {
  const direct = registry.get(host)
  if (direct !== undefined || !host.startsWith('*')) return direct
  for (const service of registry.values()) if (service.hostname.endsWith(host.slice(1))) return service
  return undefined
}

/** Of a rule that was joined to an older one: the subsets and the policy that the older one has already. */
function noteLostParts(world: World, rule: Rule, joined: EffectiveRule): void {
  if (joined.objects[0] === rule) return
  for (const [i, subset] of (rule.spec.subsets ?? []).entries()) {
    const kept = joined.subsets.find((s) => s.spec.name === subset.name)
    if (kept !== undefined && kept.object !== rule) {
      world.verdicts.partly(
        rule,
        ['subsets', i],
        `the subset is declared by DestinationRule ${kept.object.namespace}/${kept.object.name} already, which is older`,
      )
    }
  }
  if (rule.spec.trafficPolicy !== undefined && joined.policyObject !== rule) {
    const by = `${joined.policyObject.namespace}/${joined.policyObject.name}`
    world.verdicts.partly(rule, ['trafficPolicy'], `the policy of DestinationRule ${by} is in force, which is older`, true)
  }
}

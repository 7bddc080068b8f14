// Which mTLS mode holds for a workload and each of its ports (Istio PeerAuthentication): port, then workload, then namespace,
// then mesh, then PERMISSIVE. Pure; runs when configuration changes, for sidecars and for the node role.
import { BUILT_IN, type Origin } from '../state/origin.ts'
import type { MtlsMode, MtlsSetting, PeerAuthentication, PeerAuthentications } from '../state/peer-authentication.ts'

/** A mode, and the object or the line of it that set it; BUILT_IN when nobody did. */
export interface MtlsRule {
  readonly mode: MtlsMode
  readonly setBy: Origin
}

/** What holds for one workload. */
export interface WorkloadMtls {
  /** For ports that are not in `ports`. */
  readonly rule: MtlsRule
  readonly ports: ReadonlyMap<number, MtlsRule>
  /** The policies that were read, the widest scope first. */
  readonly applied: readonly PeerAuthentication[]
}

/** One policy for each scope: the oldest. */
interface Scopes {
  readonly mesh: PeerAuthentication | null
  readonly namespace: PeerAuthentication | null
  readonly workload: PeerAuthentication | null
}

const DEFAULT: MtlsRule = { mode: 'PERMISSIVE', setBy: BUILT_IN }

/** The mode for connections to `port` of a workload with these labels. */
export function effectiveMtlsMode(
  policies: PeerAuthentications,
  namespace: string,
  labels: Readonly<Record<string, string>>,
  port: number,
): MtlsMode {
  return mtlsRuleOf(effectiveMtls(policies, namespace, labels), port).mode
}

export function mtlsRuleOf(mtls: WorkloadMtls, port: number): MtlsRule {
  return mtls.ports.get(port) ?? mtls.rule
}

/** The modes of a workload with these labels, for all of its ports at once. */
export function effectiveMtls(
  policies: PeerAuthentications,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): WorkloadMtls {
  const { mesh, namespace: wide, workload } = scopesOf(policies, namespace, labels)
  let rule = DEFAULT
  for (const policy of [mesh, wide, workload]) if (policy !== null) rule = inherit(policy.mode, policy.origin, rule)
  const ports = new Map<number, MtlsRule>()
  for (const { port, mode, origin } of workload?.ports ?? []) ports.set(port, inherit(mode, origin, rule))
  return { rule, ports, applied: [mesh, wide, workload].filter((p) => p !== null) }
}

export function hasSelector(policy: PeerAuthentication): boolean {
  return Object.keys(policy.selector).length > 0
}

/** Negative when `a` is the older one; names decide between those of one moment. */
export function olderFirst(a: PeerAuthentication, b: PeerAuthentication): number {
  if (a.createdMs !== b.createdMs) return a.createdMs < b.createdMs ? -1 : 1
  const [x, y] = [`${a.name}.${a.namespace}`, `${b.name}.${b.namespace}`]
  return x < y ? -1 : x > y ? 1 : 0
}

function scopesOf(
  { rootNamespace, policies }: PeerAuthentications,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): Scopes {
  let mesh: PeerAuthentication | null = null
  let wide: PeerAuthentication | null = null
  let workload: PeerAuthentication | null = null
  for (const policy of policies) {
    if (policy.namespace === rootNamespace) {
      // The scope of the mesh alone: with a selector it holds nowhere, not even for workloads of the root namespace.
      if (!hasSelector(policy)) mesh = older(mesh, policy)
    } else if (policy.namespace === namespace) {
      if (!hasSelector(policy)) wide = older(wide, policy)
      else if (selects(policy, labels)) workload = older(workload, policy)
    }
  }
  return { mesh, namespace: wide, workload }
}

function older(a: PeerAuthentication | null, b: PeerAuthentication): PeerAuthentication {
  return a === null || olderFirst(b, a) < 0 ? b : a
}

function selects(policy: PeerAuthentication, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(policy.selector).every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value)
}

function inherit(mode: MtlsSetting, setBy: Origin, wider: MtlsRule): MtlsRule {
  return mode === 'UNSET' ? wider : { mode, setBy }
}

// Names of services: short ones made full, wildcards compared, and every spelling under which a client may ask.

/** `reviews` in namespace `prod` is `reviews.prod.svc.cluster.local`; what has a dot or a wildcard is taken as full. Lower case. */
export function resolveHost(host: string, namespace: string, domain: string): string {
  const lower = host.toLowerCase()
  if (lower.includes('.') || lower.includes('*') || lower.includes(':')) return lower
  return `${lower}.${namespace}.svc.${domain}`
}

/** Whether `pattern` (exact or `*.suffix`) covers `host`, which may be a wildcard itself. */
export function covers(pattern: string, host: string): boolean {
  if (pattern === host) return true
  return pattern.startsWith('*') && host.length > pattern.length - 1 && host.endsWith(pattern.slice(1))
}

/** Of the keys that cover `host` the most specific: the exact one, else the longest wildcard. */
export function mostSpecific<T>(
  host: string,
  exact: ReadonlyMap<string, T>,
  wildcards: readonly (readonly [string, T])[],
): T | undefined {
  const found = exact.get(host)
  if (found !== undefined) return found
  let best: T | undefined
  let length = -1
  for (const [pattern, value] of wildcards) {
    if (pattern.length <= length || !covers(pattern, host)) continue
    best = value
    length = pattern.length
  }
  return best
}

/**
 * The short spellings of a Kubernetes name for a client in `namespace`: `a`, `a.ns.svc`, `a.ns`, without the first from
 * another namespace (Istio virtual hosts). Names that are not of the cluster have none.
 */
export function shortNames(hostname: string, namespace: string, domain: string): string[] {
  const suffix = `.svc.${domain}`
  if (!hostname.endsWith(suffix)) return []
  const base = hostname.slice(0, -suffix.length)
  const dot = base.indexOf('.')
  if (dot <= 0) return []
  if (base.slice(dot + 1) === namespace) return [base.slice(0, dot), `${base}.svc`, base]
  return [base, `${base}.svc`]
}

/** exportTo of an object in `own`, seen from `client`. Empty: everybody. */
export function isExported(exportTo: readonly string[], own: string, client: string): boolean {
  if (exportTo.length === 0) return true
  return exportTo.some((entry) => entry === '*' || entry === client || (entry === '.' && own === client))
}

/** Whether `labels` has everything that `wanted` asks for. */
export function hasLabels(labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value)
}

// Merging a root rule with a rule of its delegate (Istio Delegate): fields of the delegate win as wholes, matches are
// crossed, and what cannot hold together is dropped.
import type { StringMatchSpec } from '../schema/string-match.ts'
import type { HttpMatchSpec, HttpRouteSpec } from '../schema/virtual-service.ts'

type MatchMap = Readonly<Record<string, StringMatchSpec>>

/** null: they conflict, the rule of the delegate produces nothing. */
export function mergeDelegate(
  root: HttpRouteSpec,
  leaf: HttpRouteSpec,
): { route: HttpRouteSpec; matches: readonly HttpMatchSpec[] } | null {
  const matches = mergeMatches(root.match ?? [], leaf.match ?? [])
  if (matches === null) return null
  const mirrored = leaf.mirror !== undefined || leaf.mirrors !== undefined
  const route: HttpRouteSpec = {
    name: [root.name ?? '', leaf.name ?? ''].filter((n) => n !== '').join('-'),
    route: leaf.route,
    redirect: leaf.redirect,
    directResponse: leaf.directResponse,
    rewrite: leaf.rewrite ?? root.rewrite,
    timeout: leaf.timeout ?? root.timeout,
    retries: leaf.retries ?? root.retries,
    fault: leaf.fault ?? root.fault,
    mirror: mirrored ? leaf.mirror : root.mirror,
    mirrors: mirrored ? leaf.mirrors : root.mirrors,
    mirrorPercent: leaf.mirrorPercent ?? root.mirrorPercent,
    mirrorPercentage: leaf.mirrorPercentage ?? root.mirrorPercentage,
    corsPolicy: leaf.corsPolicy ?? root.corsPolicy,
    headers: leaf.headers ?? root.headers,
  }
  return { route, matches }
}

/** Every match of the delegate must fit into one of the root's, or the whole rule conflicts. */
function mergeMatches(roots: readonly HttpMatchSpec[], leaves: readonly HttpMatchSpec[]): readonly HttpMatchSpec[] | null {
  if (roots.length === 0) return leaves
  if (leaves.length === 0) return roots
  const merged: HttpMatchSpec[] = []
  for (const leaf of leaves) {
    const fitting = roots.filter((root) => conflictOf(root, leaf) === null)
    if (fitting.length === 0) return null
    for (const root of fitting) merged.push(mergeMatch(root, leaf))
  }
  return merged
}

function mergeMatch(root: HttpMatchSpec, leaf: HttpMatchSpec): HttpMatchSpec {
  return {
    ...leaf,
    name: [root.name ?? '', leaf.name ?? ''].filter((n) => n !== '').join('-'),
    uri: leaf.uri ?? root.uri,
    scheme: leaf.scheme ?? root.scheme,
    method: leaf.method ?? root.method,
    authority: leaf.authority ?? root.authority,
    headers: { ...root.headers, ...leaf.headers },
    withoutHeaders: { ...root.withoutHeaders, ...leaf.withoutHeaders },
    queryParams: { ...root.queryParams, ...leaf.queryParams },
    port: leaf.port ?? root.port,
    sourceLabels: { ...root.sourceLabels, ...leaf.sourceLabels },
    sourceNamespace: leaf.sourceNamespace ?? root.sourceNamespace,
    gateways: (leaf.gateways?.length ?? 0) > 0 ? leaf.gateways : root.gateways,
    statPrefix: leaf.statPrefix ?? root.statPrefix,
  }
}

/** `: uri: …`, of the first match of the delegate that fits nowhere. */
export function delegateConflict(roots: readonly HttpMatchSpec[], leaves: readonly HttpMatchSpec[]): string {
  for (const leaf of leaves) {
    const conflicts = roots.map((root) => conflictOf(root, leaf))
    if (conflicts.every((c) => c !== null)) return ` (${conflicts[0]} cannot hold together)`
  }
  return ''
}

/** The condition in which two matches exclude each other, or null. */
function conflictOf(root: HttpMatchSpec, leaf: HttpMatchSpec): string | null {
  for (const field of ['uri', 'scheme', 'method', 'authority'] as const) if (conflicts(root[field], leaf[field])) return field
  for (const field of ['headers', 'withoutHeaders', 'queryParams'] as const) {
    const clash = Object.entries(leaf[field] ?? {}).find(([name, value]) => conflicts(own(root[field], name), value))
    if (clash !== undefined) return `${field}[${clash[0]}]`
  }
  if ((root.ignoreUriCase ?? false) !== (leaf.ignoreUriCase ?? false)) return 'ignoreUriCase'
  if ((root.port ?? 0) !== 0 && (leaf.port ?? 0) !== 0 && root.port !== leaf.port) return 'port'
  const namespace = root.sourceNamespace ?? ''
  if (namespace !== '' && (leaf.sourceNamespace ?? '') !== '' && namespace !== leaf.sourceNamespace) return 'sourceNamespace'
  const labels = Object.entries(leaf.sourceLabels ?? {}).find(([k, x]) => (root.sourceLabels?.[k] ?? x) !== x)
  if (labels !== undefined) return `sourceLabels[${labels[0]}]`
  const gateways = root.gateways ?? []
  if (gateways.length > 0 && !(leaf.gateways ?? []).every((g) => gateways.includes(g))) return 'gateways'
  return null
}

function own(map: MatchMap | undefined, name: string): StringMatchSpec | undefined {
  return map !== undefined && Object.hasOwn(map, name) ? map[name] : undefined
}

/** The delegate's condition must lie within the root's; what a regular expression covers is not judged. */
function conflicts(root: StringMatchSpec | undefined, leaf: StringMatchSpec | undefined): boolean {
  if (root === undefined || leaf === undefined) return false
  if ((root.regex ?? '') !== '' || (leaf.regex ?? '') !== '') return true
  if ((root.exact ?? '') !== '') return leaf.exact !== root.exact
  if ((root.prefix ?? '') === '') return true
  const text = (leaf.prefix ?? '') !== '' ? leaf.prefix : leaf.exact
  return text === undefined || text === '' || !text.startsWith(root.prefix!)
}

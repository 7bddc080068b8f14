// Header edits: names, values, and the authority, which can be set in one place only. Istio Headers.
import type { Path, Report } from '../finding.ts'
import type { HeaderOperationsSpec, HeadersSpec, RewriteSpec } from '../schema/virtual-service.ts'
import { checkHeaderValue, headerNameProblem, isAuthority } from './values.ts'

export function checkHeaders(headers: HeadersSpec | undefined, path: Path, report: Report): void {
  checkOperations(headers?.request, [...path, 'request'], true, report)
  checkOperations(headers?.response, [...path, 'response'], false, report)
}

function checkOperations(operations: HeaderOperationsSpec | undefined, path: Path, request: boolean, report: Report): void {
  for (const op of ['set', 'add'] as const) {
    for (const [name, value] of Object.entries(operations?.[op] ?? {})) {
      checkName(name, [...path, op, name], request, report)
      checkHeaderValue(value, [...path, op, name], report)
    }
  }
  for (const [i, name] of (operations?.remove ?? []).entries()) checkName(name, [...path, 'remove', i], false, report)
}

function checkName(name: string, path: Path, authorityAllowed: boolean, report: Report): void {
  const onKey = typeof path.at(-1) === 'string'
  if (isAuthority(name)) {
    if (!authorityAllowed)
      report(path, `\`${name}\` can only be set or added on requests, where it rewrites the authority`, onKey)
    return
  }
  const problem = name.startsWith(':')
    ? `\`${name}\` cannot be edited: headers that begin with \`:\` belong to the protocol`
    : headerNameProblem(name)
  if (problem !== null) report(path, problem, onKey)
}

/** `at` is the rule or the destination that holds both. */
export function checkAuthorityOnce(
  rewrite: RewriteSpec | undefined,
  headers: HeadersSpec | undefined,
  at: Path,
  report: Report,
): void {
  const places: { path: Path; value: string }[] = []
  if ((rewrite?.authority ?? '') !== '') places.push({ path: [...at, 'rewrite', 'authority'], value: rewrite!.authority! })
  for (const op of ['set', 'add'] as const) {
    for (const [name, value] of Object.entries(headers?.request?.[op] ?? {})) {
      if (isAuthority(name)) places.push({ path: [...at, 'headers', 'request', op, name], value })
    }
  }
  const [first, second] = places
  if (first === undefined || second === undefined) return
  report(
    second.path,
    `the authority is set twice in one place: "${first.value}" already, and "${second.value}" here; keep one of the two`,
    true,
  )
}

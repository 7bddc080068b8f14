// Headers of a rule or a destination to edits in the order in which they are applied: removals, then sets, then adds, each
// sorted by name (Istio Headers).
import type { HeaderEdit } from '../../state/route.ts'
import type { HeaderOperationsSpec, HeadersSpec } from '../schema/virtual-service.ts'

export interface CompiledHeaders {
  readonly request: readonly HeaderEdit[]
  readonly response: readonly HeaderEdit[]
  /** From host or :authority in request.set or add; empty: not rewritten. */
  readonly authority: string
}

export const NO_HEADERS: CompiledHeaders = { request: [], response: [], authority: '' }

export function compileHeaders(headers: HeadersSpec | undefined): CompiledHeaders {
  if (headers === undefined) return NO_HEADERS
  const { request, response } = headers
  const authority = authorityIn(request?.set) || authorityIn(request?.add)
  return { request: edits(request), response: edits(response), authority }
}

/** Those of a single destination are appended to the route's; the removals of both still come first, as Envoy has it. */
export function joinEdits(route: readonly HeaderEdit[], destination: readonly HeaderEdit[]): HeaderEdit[] {
  const all = [...route, ...destination]
  return [...all.filter((e) => e.op === 'remove'), ...all.filter((e) => e.op !== 'remove')]
}

function edits(operations: HeaderOperationsSpec | undefined): HeaderEdit[] {
  if (operations === undefined) return []
  const removals = (operations.remove ?? []).filter((name) => !isInternal(name))
  return [
    ...removals.map((name): HeaderEdit => ({ op: 'remove', name, value: '' })),
    ...sorted(operations.set).map(([name, value]): HeaderEdit => ({ op: 'set', name, value })),
    ...sorted(operations.add).map(([name, value]): HeaderEdit => ({ op: 'add', name, value })),
  ]
}

function sorted(map: Readonly<Record<string, string>> | undefined): [string, string][] {
  const entries = Object.entries(map ?? {}).filter(([name]) => !isInternal(name))
  return entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

function isInternal(name: string): boolean {
  return name.startsWith(':') || name.toLowerCase() === 'host'
}

function authorityIn(map: Readonly<Record<string, string>> | undefined): string {
  const found = Object.entries(map ?? {}).find(([name]) => ['host', ':authority'].includes(name.toLowerCase()))
  return found?.[1] ?? ''
}

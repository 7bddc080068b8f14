// Where the guard of retries and Istio differ: routes whose policy would repeat a request that the upstream may have carried out.
import { CompiledHeader } from '../../route/conditions.ts'
import type { Cluster } from '../../state/cluster.ts'
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { ForwardAction, HeaderMatch, RetryPolicy, Route, RouteTable } from '../../state/route.ts'
import type { ResourceNote } from '../../state/snapshot.ts'
import { isIdempotent } from '../../upstream/retry-safety.ts'
import { UNSAFE_RETRIES } from '../validate/unsafe-retries.ts'
import { hasDefaultWords } from './retry-policy.ts'

/** Words that repeat what was written; the others are only about what the upstream has not seen or has refused. */
const REPEATS_WRITTEN = new Set([
  '5xx',
  'gateway-error',
  'reset',
  'envoy-ratelimited',
  'retriable-4xx',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
])

/** Methods that are not idempotent (IANA HTTP Method Registry), and one that nobody registered. */
const PROBES: readonly string[] = ['POST', 'PATCH', 'LOCK', 'X-ANY']

/** One for each route, in the order of the tables. Empty with `retries: exact`. */
export function heldBackRetries(tables: readonly RouteTable[], clusters: readonly Cluster[]): ResourceNote[] {
  const speaksHttp2 = new Set(clusters.filter((c) => c.protocol === 'http2').map((c) => c.name))
  const notes = new Map<string, ResourceNote>()
  for (const table of tables) {
    for (const virtualHost of table.virtualHosts) {
      for (const route of virtualHost.routes) {
        const note = noteOf(route, speaksHttp2)
        // A rule is compiled for each port.
        if (note !== null) notes.set(`${note.file}:${note.line}:${note.column} ${note.route}`, note)
      }
    }
  }
  return [...notes.values()]
}

function noteOf(route: Route, speaksHttp2: ReadonlySet<string>): ResourceNote | null {
  const { action } = route
  if (action.kind !== 'forward' || action.retry === null || action.retry.unsafe === 'allowed') return null
  const words = unsafeWords(action.retry, action, speaksHttp2)
  const methods = unsafeMethods(route.match.headers)
  if (words.length === 0 || methods === '') return null
  const place: Origin = action.retry.origin.kind === BUILT_IN.kind ? route.origin : action.retry.origin
  const { kind, namespace, name, file, line, column } = place
  const where =
    route.origin.kind === 'VirtualService' ? `; \`${UNSAFE_RETRIES}: allow\` on the object has them repeated, as Istio does` : ''
  const message = `retries on ${words.join(', ')} are held back for ${methods}, which the upstream may have carried out${where}`
  return { kind, namespace, name, route: route.name, message, file, line, column }
}

function unsafeWords(policy: RetryPolicy, action: ForwardAction, speaksHttp2: ReadonlySet<string>): string[] {
  const words = policy.on.filter((word) => REPEATS_WRITTEN.has(word))
  if (policy.statusCodes.length > 0) words.push(...policy.statusCodes.map(String))
  if (policy.responseHeaders.length > 0) words.push('retriable-headers')
  // Nobody has asked for the words of the default policy, and only gRPC has what they are about.
  if (hasDefaultWords(policy) && !action.clusters.some((c) => speaksHttp2.has(c.cluster))) return []
  return words
}

/** Empty: every method that fits is idempotent. */
function unsafeMethods(headers: readonly HeaderMatch[]): string {
  const conditions = headers.filter((h) => h.name === ':method')
  if (conditions.length === 0) return 'methods that are not idempotent'
  const candidates = new Set([...conditions.map((c) => c.match.value), ...PROBES].filter((m) => m !== '' && !isIdempotent(m)))
  const compiled = conditions.map((c) => new CompiledHeader(c))
  return [...candidates].filter((method) => compiled.every((c) => c.match.holds(method) !== c.invert)).join(', ')
}

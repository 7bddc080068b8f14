// Facts and nouns of authorization for tests.
import { parseIp } from '../../lib/base/ip-prefix.ts'
import type { JsonObject } from '../../lib/base/json-value.ts'
import type { RbacFacts } from '../../lib/policy/rbac-facts.ts'
import type { RequestView } from '../../lib/route/request-view.ts'
import { BUILT_IN } from '../../lib/state/origin.ts'
import type { RbacFilter, RbacMatch, RbacPolicy, RbacRules } from '../../lib/state/rbac.ts'
import type { HeaderMatch, StringMatch } from '../../lib/state/route.ts'

export interface Asked {
  readonly tcp?: boolean
  readonly method?: string
  readonly path?: string
  readonly authority?: string
  readonly headers?: readonly (readonly [name: string, value: string])[]
  /** `ip:port`. */
  readonly destination?: string
  readonly peer?: string
  readonly client?: string
  readonly sni?: string
  /** null: plaintext. */
  readonly names?: readonly string[] | null
  readonly state?: Readonly<Record<string, string>>
  readonly metadata?: Readonly<Record<string, JsonObject>>
}

/** GET http://web/ from 10.1.2.3 to 10.9.0.1:80 in plaintext, where nothing else is said. */
export function facts(a: Asked = {}): RbacFacts {
  const [destination = '', port = ''] = (a.destination ?? '10.9.0.1:80').split(/:(?=\d+$)/)
  const request = a.tcp ? null : viewOf(a)
  return {
    request,
    path: request === null || request.method === 'CONNECT' ? null : request.path,
    destinationIp: parseIp(destination.replace(/^\[|\]$/g, '')),
    destinationPort: Number(port),
    directRemoteIp: parseIp(a.peer ?? '10.1.2.3'),
    remoteIp: parseIp(a.client ?? a.peer ?? '10.1.2.3'),
    serverName: a.sni ?? '',
    peerNames: a.names ?? null,
    filterState: (key) => a.state?.[key] ?? null,
    metadata: (filter) => a.metadata?.[filter] ?? null,
  }
}

function viewOf(a: Asked): RequestView {
  const list = a.headers ?? []
  return {
    method: a.method ?? 'GET',
    path: a.path ?? '/',
    query: null,
    scheme: 'http',
    authority: a.authority ?? 'web',
    headers: {
      get: (name) => list.find(([n]) => n === name)?.[1] ?? null,
      indexOf: (name, from) => list.findIndex(([n], i) => i >= from && n === name),
      valueAt: (i) => list[i]?.[1] ?? '',
    },
    metadata: null,
  }
}

export function text(kind: StringMatch['kind'], value = '', ignoreCase = false): StringMatch {
  return { kind, value, ignoreCase }
}

export function headerOf(name: string, match: StringMatch, more: Partial<HeaderMatch> = {}): RbacMatch {
  return { kind: 'header', header: { name, field: name, match, invert: false, missingIsEmpty: false, ...more } }
}

export const ANY: RbacMatch = { kind: 'any' }

export function aPolicy(
  name: string,
  permissions: readonly RbacMatch[] = [ANY],
  principals: readonly RbacMatch[] = [ANY],
): RbacPolicy {
  return { name, permissions, principals, origin: BUILT_IN }
}

export function rules(action: RbacRules['action'], ...policies: readonly RbacPolicy[]): RbacRules {
  return { action, policies }
}

export function aFilter(enforced: RbacRules | null, shadow: RbacRules | null = null): RbacFilter {
  return { rules: enforced, shadow }
}

// What heddle decides otherwise than Envoy on purpose, each time more strictly or as the specification of HTTP has it. docs/control-plane.md tells it to operators.
import { headerPairs } from '../../support/raw-client.ts'
import type { FuzzRequest } from './subject.ts'

interface Statuses {
  readonly status: number
}

interface Rule {
  readonly why: string
  readonly holds: (request: FuzzRequest, envoy: Statuses, heddle: Statuses) => boolean
}

const valuesOf = (request: FuzzRequest, name: string): readonly string[] =>
  headerPairs(request.headers).flatMap(([n, v]) => (n.toLowerCase() === name ? [v] : []))

const RULES: readonly Rule[] = [
  {
    why: 'a host that is none (RFC 9112 section 3.2) is refused',
    holds: ({ host }, _, heddle) => heddle.status === 400 && !/^[\w.-]*(:\d*)?$|^\[[0-9a-f:]+\](:\d*)?$/i.test(host ?? ''),
  },
  {
    why: 'two Host headers are refused (RFC 9112 section 3.2)',
    holds: (request, _, heddle) => heddle.status === 400 && valuesOf(request, 'host').length > 0,
  },
  {
    why: 'a target that is neither a path nor a URL is refused',
    holds: ({ target = '/' }, _, heddle) => heddle.status === 400 && !/^\/|^https?:\/\//i.test(target),
  },
  {
    why: 'a URL without a path is one of `/` (RFC 9112 section 3.2.1)',
    holds: ({ target = '/' }) => /^https?:\/\/[^/?]*\?/i.test(target),
  },
  {
    why: 'where slashes are merged, two that are all of a path are merged too',
    holds: ({ target = '/' }) => /^(https?:\/\/[^/]*)?[/\\]{2}([?#]|$|.*\.\.)/i.test(target),
  },
  {
    why: 'an x-forwarded-proto that is empty says nothing',
    holds: (request) => valuesOf(request, 'x-forwarded-proto').includes(''),
  },
]

/** null: it is not on purpose. */
export function reasonFor(request: FuzzRequest, envoy: Statuses, heddle: Statuses): string | null {
  return RULES.find((rule) => rule.holds(request, envoy, heddle))?.why ?? null
}

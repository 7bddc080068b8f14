// What heddle decides otherwise than Envoy on purpose, mostly more strictly or as the specification of HTTP has it. The table at the end of docs/control-plane.md tells it to operators.
import { headerPairs } from '../../support/raw-client.ts'
import type { FuzzRequest } from './subject.ts'

interface Statuses {
  readonly status: number
  readonly details: unknown
  readonly upstream: { readonly line: string } | null
  readonly headers: readonly string[]
}

interface Rule {
  readonly why: string
  readonly holds: (request: FuzzRequest, envoy: Statuses, heddle: Statuses) => boolean
}

const valuesOf = (request: FuzzRequest, name: string): readonly string[] =>
  headerPairs(request.headers).flatMap(([n, v]) => (n.toLowerCase() === name ? [v] : []))

const tokensOf = (request: FuzzRequest): number => JSON.stringify(request).split('eyJ').length - 1
/** Paths of requests are drawn with this in front. */
const withoutPaths = (headers: readonly string[]): string => headers.map((h) => h.replace(/path-.*/, 'path-')).join('\n')
const sorted = (line: string): string => line.split(/[ ?&]/).toSorted().join(' ')

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
    why: 'there are no blanks in a token (RFC 7515 section 2)',
    holds: (_, __, heddle) => heddle.status === 401 && String(heddle.details).includes('invalid_Base64url'),
  },
  {
    why: 'of several tokens each has to be good, also where one may be missing',
    holds: (request, envoy, heddle) =>
      envoy.status !== 401 &&
      tokensOf(request) > 0 &&
      /issuer_is_not_configured|two_dots_and_3_sections/.test(String(heddle.details)),
  },
  {
    why: 'a parameter that is taken off leaves the others in their order',
    holds: (_, envoy, heddle) =>
      envoy.upstream !== null &&
      heddle.upstream !== null &&
      sorted(envoy.upstream.line) === sorted(heddle.upstream.line) &&
      envoy.upstream.line !== heddle.upstream.line,
  },
  {
    why: 'tokens in the query of a preflight, which nobody looks at, are not passed on',
    holds: (request, envoy, heddle) =>
      request.method === 'OPTIONS' &&
      tokensOf(request) > 0 &&
      envoy.status === heddle.status &&
      valuesOf(request, 'access-control-request-method').length > 0,
  },
  {
    why: 'several authorization headers are refused, with other words',
    holds: (request, envoy, heddle) =>
      valuesOf(request, 'authorization').length > 1 && envoy.status === 401 && heddle.status === 401,
  },
  {
    why: '%RESPONSE_CODE% in the headers of an answer of the proxy is its status, and not 0',
    holds: (_, envoy, heddle) =>
      envoy.upstream === null &&
      envoy.status === heddle.status &&
      envoy.headers.some((h) => h.includes('code-0')) &&
      envoy.headers.map((h) => h.replaceAll('code-0', `code-${heddle.status}`)).join('\n') === heddle.headers.join('\n'),
  },
  {
    why: 'a redirect leaves the path of the request as it was asked for',
    holds: (_, envoy, heddle) =>
      envoy.upstream === null &&
      /^30/.test(String(heddle.status)) &&
      envoy.status === heddle.status &&
      withoutPaths(envoy.headers) === withoutPaths(heddle.headers),
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

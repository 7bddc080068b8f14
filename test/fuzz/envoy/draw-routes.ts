// Route configurations: which virtual host, which route, and what becomes of path, host and headers.
import type { Dice } from '../../chaos/dice.ts'
import { EVERYWHERE, managerOf } from './draw-rbac.ts'
import { requestOf } from './draw-requests.ts'
import { HOSTS, headerMatcher, PATH_REGEXES, PATHS, pieceOf, stringMatcher } from './draw-texts.ts'
import { mixed, type Subject, several } from './subject.ts'

const DOMAINS = ['a.example', 'A.example', 'b.example', '*.example', '*.a.example', 'a.*', 'a.example:*', '*a.example', 'x.*', 'localhost', 'a', 'a.example:80', 'b.example:80', '[::1]', '[::1]:80', '127.0.0.1:8080', '127.*', '*:80', 'a.example.', '*.', 'a.e*'] // biome-ignore format: a list
/** Without what a response does not know yet, and what heddle leaves encoded (QUERY_PARAM: a line break would end the header). */
const TEXTS = ['v', 'a b', '%REQ(x-a)%', '%REQ(X-A?x-b)%', 'path-%REQ(:path)%', '%REQ(:authority)%', '%REQ(x-a):2%', '%PROTOCOL%', '100%%', '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', '%DOWNSTREAM_LOCAL_PORT%', '%REQ(x-none)%', 'a%REQ(x-none)%b', '%ROUTE_NAME%', '%REQ(:method)%-%REQ(host)%', '%PATH(NQ)%', '%UPSTREAM_CLUSTER_RAW%', '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%'] // biome-ignore format: a list
/** Of edits of responses. */
const OF_RESPONSES = ['code-%RESPONSE_CODE%', '%RESP(:status)%', 'path-%REQ(:path)%'] // biome-ignore format: a list
const NAMES = ['x-a', 'x-b', 'X-C', 'x-d', 'user-agent', 'content-type', 'x-up', 'x-forwarded-for'] // biome-ignore format: a list

function headerEdits(dice: Dice): object {
  const adds = (texts: readonly string[]): object[] =>
    several(dice, 0, 2, () => ({
      header: { key: dice.one(NAMES), value: dice.one(texts) },
      ...(dice.chance(0.7)
        ? {
            append_action: dice.one([
              'APPEND_IF_EXISTS_OR_ADD',
              'OVERWRITE_IF_EXISTS_OR_ADD',
              'ADD_IF_ABSENT',
              'OVERWRITE_IF_EXISTS',
            ]),
          }
        : {}),
    }))
  return {
    ...(dice.chance(0.4) ? { request_headers_to_add: adds(TEXTS) } : {}),
    ...(dice.chance(0.2) ? { request_headers_to_remove: several(dice, 1, 2, () => dice.one(NAMES)) } : {}),
    ...(dice.chance(0.3) ? { response_headers_to_add: adds(dice.chance(0.5) ? TEXTS : OF_RESPONSES) } : {}),
    ...(dice.chance(0.2) ? { response_headers_to_remove: several(dice, 1, 2, () => dice.one(NAMES)) } : {}),
  }
}

function pathMatch(dice: Dice): object {
  const path = dice.one(PATHS)
  return dice.weighted<() => object>([
    [3, () => ({ prefix: dice.chance(0.3) ? '/' : pieceOf(dice, PATHS, 1) })],
    [2, () => ({ path })],
    [2, () => ({ path_separated_prefix: path.replace(/\/+$/, '').replace(/[?#]/g, '') || '/a' })],
    [3, () => ({ safe_regex: { regex: dice.one(PATH_REGEXES) } })],
  ])()
}

function routeMatch(dice: Dice): object {
  return {
    ...pathMatch(dice),
    ...(dice.chance(0.2) ? { case_sensitive: false } : {}),
    ...(dice.chance(0.3) ? { headers: several(dice, 1, 2, () => headerMatcher(dice)) } : {}),
    ...(dice.chance(0.2) ? { query_parameters: several(dice, 1, 2, () => query(dice)) } : {}),
    ...(dice.chance(0.1)
      ? { runtime_fraction: { default_value: { numerator: dice.one([0, 100]), denominator: 'HUNDRED' }, runtime_key: 'k' } }
      : {}),
    ...(dice.chance(0.05) ? { grpc: {} } : {}),
  }
}

function query(dice: Dice): object {
  const name = dice.one(['q', 'x', 'Q', 'a', '%71'])
  return dice.chance(0.3) ? { name, present_match: true } : { name, string_match: stringMatcher(dice) }
}

const rewrites = (dice: Dice): object => ({
  pattern: { regex: dice.one([...PATH_REGEXES, '/([^/]*)(.*)', 'a', '^/', '$', '(/[a-z]+)+', '[a-z]']) },
  substitution: dice.one(['', '/', '/z', '\\0', '/z\\0', '\\0\\0', 'z', '\\\\']),
})

function forward(dice: Dice): object {
  const cluster = dice.weighted<() => object>([
    [6, () => ({ cluster: dice.one(['a', 'b']) })],
    [
      2,
      () => ({
        weighted_clusters: {
          clusters: mixed(dice, [
            { name: 'a', weight: 100, ...headerEdits(dice) },
            { name: 'b', weight: 0 },
          ]),
        },
      }),
    ],
    [1, () => ({ cluster_header: 'x-a' })],
    [
      0.5,
      () => ({
        cluster: 'none',
        cluster_not_found_response_code: dice.one(['SERVICE_UNAVAILABLE', 'NOT_FOUND', 'INTERNAL_SERVER_ERROR']),
      }),
    ],
  ])()
  const path = dice.weighted<() => object>([
    [4, () => ({})],
    [3, () => ({ prefix_rewrite: dice.one(['/', '/z', '/z/', '/z/y', 'z', '/z?p=1', '/%2F']) })],
    [3, () => ({ regex_rewrite: rewrites(dice) })],
  ])()
  const host = dice.weighted<() => object>([
    [5, () => ({})],
    [2, () => ({ host_rewrite_literal: dice.one(['h.example', 'h:1']) })],
    [1, () => ({ host_rewrite_header: 'x-a' })],
    [1, () => ({ host_rewrite_path_regex: rewrites(dice) })],
  ])()
  return { ...cluster, ...path, ...host, ...(dice.chance(0.2) ? { append_x_forwarded_host: true } : {}) }
}

function redirect(dice: Dice): object {
  return {
    ...dice.one([{}, {}, { https_redirect: true }, { scheme_redirect: 'https' }, { scheme_redirect: 'http' }]),
    ...(dice.chance(0.4) ? { host_redirect: dice.one(['r.example', 'r.example:8', '[::2]']) } : {}),
    ...(dice.chance(0.3) ? { port_redirect: dice.one([80, 443, 8080]) } : {}),
    ...dice.one<object>([
      {},
      { path_redirect: dice.one(['/r', '/r?p=1', '/', '/r#f']) },
      { prefix_rewrite: dice.one(['/r', '/', '/r/', '/r?p=1']) },
      { regex_rewrite: rewrites(dice) },
    ]),
    ...(dice.chance(0.6)
      ? { response_code: dice.one(['MOVED_PERMANENTLY', 'FOUND', 'SEE_OTHER', 'TEMPORARY_REDIRECT', 'PERMANENT_REDIRECT']) }
      : {}),
    ...(dice.chance(0.3) ? { strip_query: true } : {}),
  }
}

function route(dice: Dice, index: number): object {
  const action = dice.weighted<() => object>([
    [5, () => ({ route: forward(dice) })],
    [3, () => ({ redirect: redirect(dice) })],
    [
      2,
      () => ({
        direct_response: {
          status: dice.one([200, 204, 404, 503, 418]),
          ...(dice.chance(0.7) ? { body: { inline_string: dice.one(['no', 'x'.repeat(100)]) } } : {}),
        },
      }),
    ],
  ])()
  return { name: `r${index}`, match: routeMatch(dice), ...action, ...headerEdits(dice) }
}

export function drawRoutes(dice: Dice): Subject {
  const domains = mixed(dice, DOMAINS)
  // Envoy compares them without case.
  const taken = new Set<string>()
  const unique = domains.filter((d) => !taken.has(d.toLowerCase()) && taken.add(d.toLowerCase()))
  const hosts = dice.whole(1, 5)
  const virtual_hosts = Array.from({ length: hosts }, (_, i) => ({
    name: `h${i}`,
    domains: i === 0 && dice.chance(0.8) ? ['*'] : unique.splice(0, dice.whole(1, 4)),
    routes: several(dice, 1, 1, () => 0).flatMap(() =>
      Array.from({ length: dice.chance(0.1) ? 20 : dice.whole(1, 5) }, (_, j) => route(dice, 100 * i + j)),
    ),
    ...headerEdits(dice),

    ...(dice.chance(0.1) ? { include_request_attempt_count: true } : {}),
  }))
  return {
    filters: [],
    manager: { ...managerOf(dice), ...(dice.chance(0.2) ? { strip_matching_host_port: false } : {}) },
    routes: {
      ...(hosts === 0 ? EVERYWHERE : {}),
      virtual_hosts,
      validate_clusters: false,
      ...headerEdits(dice),
      ...(dice.chance(0.3) ? { ignore_port_in_host_matching: true } : {}),
      ...(dice.chance(0.3) ? { most_specific_header_mutations_wins: true } : {}),
    },
    requests: several(dice, 40, 40, () => ({ ...requestOf(dice), ...(dice.chance(0.5) ? { host: dice.one(HOSTS) } : {}) })),
  }
}

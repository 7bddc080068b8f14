// Route configurations as istiod sends them and RouteTables as we compile them, both reduced to one plain form, so that they
// can be compared noun by noun.
import type { HashPolicy, HeaderEdit, HeaderMatch, PathMatch, Route, RouteTable, StringMatch } from '../../../lib/state/route.ts'

/** Parsed JSON of a protobuf message with the field names of the proto. */
type Message = Record<string, unknown>

export interface PlainTable {
  readonly name: string
  readonly hosts: readonly { readonly name: string; readonly domains: readonly string[]; readonly routes: readonly unknown[] }[]
}

export function plainFromXds(config: Message): PlainTable {
  const hosts = list(config['virtual_hosts']).map((host) => ({
    name: String(host['name']),
    domains: (host['domains'] as string[]).map((d) => d.toLowerCase()).sort(),
    routes: list(host['routes']).map(routeFromXds),
  }))
  return { name: String(config['name']), hosts }
}

export function plainFromTable(table: RouteTable): PlainTable {
  const hosts = table.virtualHosts.map((host) => ({
    name: host.name,
    domains: [...host.domains].sort(),
    routes: host.routes.map(routeFromOurs),
  }))
  return { name: table.name, hosts }
}

function list(value: unknown): Message[] {
  return (value ?? []) as Message[]
}

function seconds(value: unknown): number {
  return value === undefined ? 0 : Math.round(Number.parseFloat(String(value)) * 1000)
}

function routeFromXds(route: Message): unknown {
  const filters = (route['typed_per_filter_config'] ?? {}) as Message
  const forward = route['route'] as Message | undefined
  const action = forward !== undefined ? forwardFromXds(forward, filters) : answerFromXds(route)
  const edits = (side: string) => editsFromXds(route, side)
  return {
    name: route['name'],
    match: matchFromXds(route['match'] as Message),
    action,
    request: edits('request'),
    response: edits('response'),
  }
}

function editsFromXds(holder: Message, side: string): unknown {
  const removes = ((holder[`${side}_headers_to_remove`] ?? []) as string[]).map((name) => ['remove', name, ''])
  const adds = list(holder[`${side}_headers_to_add`]).map((option) => {
    const header = option['header'] as Message
    return [option['append_action'] === 'OVERWRITE_IF_EXISTS_OR_ADD' ? 'set' : 'add', header['key'], header['value'] ?? '']
  })
  return [...removes, ...adds]
}

function matchFromXds(match: Message): unknown {
  const ignoreCase = match['case_sensitive'] === false
  const regex = (match['safe_regex'] as Message | undefined)?.['regex']
  const path =
    match['path'] !== undefined
      ? { kind: 'exact', value: match['path'], ignoreCase }
      : regex !== undefined
        ? { kind: 'regex', value: regex, ignoreCase: false }
        : { kind: 'prefix', value: match['prefix'], ignoreCase }
  const headers = list(match['headers']).map((h) => {
    const name = String(h['name']).toLowerCase()
    return {
      name: name === 'host' ? ':authority' : name,
      match: stringFromXds(h),
      invert: h['invert_match'] === true,
      missingIsEmpty: h['treat_missing_header_as_empty'] === true,
    }
  })
  return { path, headers, query: list(match['query_parameters']).map((q) => ({ name: q['name'], match: stringFromXds(q) })) }
}

function stringFromXds(holder: Message): unknown {
  const match = (holder['string_match'] ?? (holder['present_match'] === true ? { present: '' } : holder)) as Message
  const regex = (match['safe_regex'] as Message | undefined)?.['regex']
  for (const kind of ['exact', 'prefix', 'present']) if (match[kind] !== undefined) return [kind, match[kind]]
  return ['regex', regex]
}

function percentFromXds(fraction: unknown): number {
  const { numerator = 0, denominator = 'HUNDRED' } = (fraction ?? {}) as { numerator?: number; denominator?: string }
  return numerator / (denominator === 'MILLION' ? 10_000 : denominator === 'TEN_THOUSAND' ? 100 : 1)
}

function forwardFromXds(route: Message, filters: Message): unknown {
  const weighted = route['weighted_clusters'] as Message | undefined
  const clusters =
    weighted === undefined
      ? [{ cluster: route['cluster'], weight: null, request: [], response: [], host: '' }]
      : list(weighted['clusters']).map((c) => ({
          cluster: c['name'],
          weight: list(weighted['clusters']).length === 1 ? null : c['weight'],
          request: editsFromXds(c, 'request'),
          response: editsFromXds(c, 'response'),
          host: c['host_rewrite_literal'] ?? '',
        }))
  const regex = route['regex_rewrite'] as Message | undefined
  const mirrors = list(route['request_mirror_policies']).map((m) => {
    const fraction = m['runtime_fraction'] as Message
    return [m['cluster'], percentFromXds(fraction['default_value'])]
  })
  return {
    clusters,
    timeoutMs: seconds(route['timeout']),
    retry: retryFromXds(route['retry_policy'] as Message | undefined),
    hash: list(route['hash_policy']).map(hashFromXds),
    rewrite:
      regex === undefined ? (route['prefix_rewrite'] ?? null) : [(regex['pattern'] as Message)['regex'], regex['substitution']],
    host: route['host_rewrite_literal'] ?? '',
    mirrors,
    fault: faultFromXds(filters['envoy.filters.http.fault'] as Message | undefined),
    cors: corsFromXds(filters['envoy.filters.http.cors'] as Message | undefined),
  }
}

function retryFromXds(policy: Message | undefined): unknown {
  if (policy === undefined) return null
  const backOff = (policy['retry_back_off'] ?? {}) as Message
  return {
    on: [
      ...new Set(
        String(policy['retry_on'])
          .split(',')
          .filter((w) => w !== ''),
      ),
    ].sort(),
    codes: policy['retriable_status_codes'] ?? [],
    attempts: policy['num_retries'],
    perTryMs: seconds(policy['per_try_timeout']),
    baseMs: backOff['base_interval'] === undefined ? 25 : seconds(backOff['base_interval']),
    hosts: Number(policy['host_selection_retry_max_attempts'] ?? 0),
    previous: list(policy['retry_host_predicate']).length > 0,
  }
}

function hashFromXds(policy: Message): unknown {
  const cookie = policy['cookie'] as Message | undefined
  if (cookie !== undefined) {
    const ttl = cookie['ttl'] === undefined ? -1 : Math.floor(seconds(cookie['ttl']) / 1000)
    return ['cookie', cookie['name'], cookie['path'] ?? '', ttl, cookie['attributes'] ?? []]
  }
  const header = policy['header'] as Message | undefined
  if (header !== undefined) return ['header', header['header_name']]
  const query = policy['query_parameter'] as Message | undefined
  return query === undefined ? ['sourceIp'] : ['query', query['name']]
}

function hashFromOurs(policy: HashPolicy): unknown {
  if (policy.kind === 'cookie') return ['cookie', policy.name, policy.path, policy.ttlSeconds, policy.attributes]
  return policy.kind === 'sourceIp' ? ['sourceIp'] : [policy.kind, policy.name]
}

function faultFromXds(fault: Message | undefined): unknown {
  if (fault === undefined) return null
  const delay = fault['delay'] as Message | undefined
  const abort = fault['abort'] as Message | undefined
  return {
    delay: delay === undefined ? null : [percentFromXds(delay['percentage']), seconds(delay['fixed_delay'])],
    abort:
      abort === undefined ? null : [percentFromXds(abort['percentage']), abort['http_status'] ?? 0, abort['grpc_status'] ?? -1],
  }
}

function corsFromXds(cors: Message | undefined): unknown {
  if (cors === undefined) return null
  return {
    origins: list(cors['allow_origin_string_match']).map(stringFromXds),
    lists: [cors['allow_methods'] ?? '', cors['allow_headers'] ?? '', cors['expose_headers'] ?? '', cors['max_age'] ?? ''],
    credentials: cors['allow_credentials'] === true,
    forward: cors['forward_not_matching_preflights'] === true,
  }
}

const CODES: Readonly<Record<string, number>> = { FOUND: 302, SEE_OTHER: 303, TEMPORARY_REDIRECT: 307, PERMANENT_REDIRECT: 308 }

function answerFromXds(route: Message): unknown {
  const redirect = route['redirect'] as Message | undefined
  if (redirect !== undefined) {
    return {
      redirect: CODES[String(redirect['response_code'])] ?? 301,
      scheme: redirect['scheme_redirect'] ?? '',
      host: redirect['host_redirect'] ?? '',
      port: redirect['port_redirect'] ?? 0,
      path: redirect['path_redirect'] ?? '',
    }
  }
  const direct = route['direct_response'] as Message
  return { status: direct['status'], body: (direct['body'] as Message | undefined)?.['inline_string'] ?? '' }
}

function routeFromOurs(route: Route): unknown {
  const { name, match, action } = route
  const path: PathMatch = match.path ?? { kind: 'prefix', value: '/', ignoreCase: false }
  const headers = match.headers.map((h: HeaderMatch) => ({
    name: h.name,
    match: ours(h.match),
    invert: h.invert,
    missingIsEmpty: h.missingIsEmpty,
  }))
  const query = match.query.map((q) => ({ name: q.name, match: ours(q.match) }))
  return {
    name,
    match: { path, headers, query },
    action: actionFromOurs(action),
    request: editsFromOurs(route.requestEdits),
    response: editsFromOurs(route.responseEdits),
  }
}

function ours(match: StringMatch): unknown {
  return [match.kind, match.value]
}

function editsFromOurs(edits: readonly HeaderEdit[]): unknown {
  return edits.map((e) => [e.op, e.name, e.value])
}

function actionFromOurs(action: Route['action']): unknown {
  if (action.kind === 'redirect')
    return { redirect: action.code, scheme: action.scheme, host: action.authority, port: action.port, path: action.path }
  if (action.kind === 'direct') return { status: action.status, body: action.body }
  const { retry, fault, cors } = action
  const rewrite = action.pathRewrite
  // Weights of a single destination mean nothing.
  const single = action.clusters.length === 1
  return {
    clusters: action.clusters.map((c) => ({
      cluster: c.cluster,
      weight: single ? null : c.weight,
      request: editsFromOurs(c.requestEdits),
      response: editsFromOurs(c.responseEdits),
      host: c.hostRewrite,
    })),
    timeoutMs: action.timeoutMs,
    retry:
      retry === null
        ? null
        : {
            on: [...retry.on].sort(),
            codes: retry.statusCodes,
            attempts: retry.attempts,
            perTryMs: retry.perTryTimeoutMs,
            baseMs: retry.baseIntervalMs,
            hosts: retry.hostSelectionAttempts,
            previous: retry.avoidPreviousHosts,
          },
    hash: action.hashPolicies.map(hashFromOurs),
    rewrite: rewrite === null ? null : rewrite.kind === 'regex' ? [rewrite.pattern, rewrite.value] : rewrite.value,
    host: action.hostRewrite,
    mirrors: action.mirrors.map((m) => [m.cluster, m.percent]),
    fault:
      fault === null
        ? null
        : {
            delay: fault.delay === null ? null : [fault.delay.percent, fault.delay.fixedMs],
            abort: fault.abort === null ? null : [fault.abort.percent, fault.abort.httpStatus, fault.abort.grpcStatus],
          },
    cors:
      cors === null
        ? null
        : {
            origins: cors.allowOrigins.map(ours),
            lists: [cors.allowMethods, cors.allowHeaders, cors.exposeHeaders, cors.maxAge],
            credentials: cors.allowCredentials,
            forward: cors.forwardNotMatchingPreflights,
          },
  }
}

// What a rule does: forward, redirect or answer (Istio Destination–1.15).
import { GRPC_STATUS_NAMES } from '../../http/grpc-status.ts'
import { regexRewrite } from '../../route/regex-rewrite.ts'
import { BUILT_IN } from '../../state/origin.ts'
import type {
  Cors,
  DirectResponseAction,
  Fault,
  ForwardAction,
  Mirror,
  PathRewrite,
  RedirectAction,
  RouteMatch,
  WeightedCluster,
} from '../../state/route.ts'
import { durationMs } from '../schema/fields.ts'
import type {
  CorsSpec,
  DestinationSpec,
  DirectResponseSpec,
  FaultSpec,
  HttpRouteSpec,
  RedirectSpec,
} from '../schema/virtual-service.ts'
import { clusterName } from './clusters.ts'
import { isGatewayApi } from './gateway-api/derived.ts'
import { type DestinationHashes, hashPoliciesOf } from './hash-policies.ts'
import { type CompiledHeaders, compileHeaders, NO_HEADERS } from './header-edits.ts'
import { resolveHost } from './host-names.ts'
import { compileRetries, unsafeRetries } from './retry-policy.ts'
import { stringMatch } from './route-match.ts'
import type { HttpRule } from './rules.ts'
import type { World } from './world.ts'

const CLUSTER_NOT_FOUND = 503
/** As rules of the Gateway API have it. */
const BACKEND_NOT_FOUND = 500
/** What a destination without a host leads to, which is nowhere. */
export const UNKNOWN_SERVICE = 'UnknownService'

/** The cluster that a destination of a VirtualService in `namespace` means, on the table of `port`. */
export function destinationCluster(world: World, destination: DestinationSpec, namespace: string, port: number): string {
  if (destination.host === '') return UNKNOWN_SERVICE
  const host = resolveHost(destination.host, namespace, world.domain)
  return clusterName(destination.port?.number ?? world.onlyPorts.get(host) ?? port, destination.subset ?? '', host)
}

export interface CompiledForward {
  readonly action: ForwardAction
  /** Of the single destination; they belong behind the route's own. */
  readonly destinationHeaders: CompiledHeaders
}

/** `authority` is what the rule's header edits make of it. */
export function compileForward(
  world: World,
  rule: HttpRule,
  match: RouteMatch,
  port: number,
  authority: string,
  hashes: DestinationHashes,
): CompiledForward {
  const spec = rule.spec
  const namespace = rule.actionObject.namespace
  const routes = spec.route ?? []
  const single = routes.length === 1 ? routes[0] : undefined
  const destinationHeaders = single === undefined ? NO_HEADERS : compileHeaders(single.headers)
  // Zero weights are removed where there are several; a single destination takes everything whatever its weight.
  const kept = single === undefined ? routes.filter((r) => (r.weight ?? 0) > 0) : routes
  const clusters = kept.map((r): WeightedCluster => {
    const edits = single === undefined ? compileHeaders(r.headers) : NO_HEADERS
    const cluster = destinationCluster(world, r.destination, namespace, port)
    return {
      cluster,
      clusterHeader: '',
      weight: r.weight ?? 0,
      requestEdits: edits.request,
      responseEdits: edits.response,
      hostRewrite: edits.authority,
      filters: null,
    }
  })
  const fieldOrigin = (field: string, set: boolean) => (set ? fieldPlace(rule, field) : BUILT_IN)
  const unsafe = unsafeRetries(world, rule)
  const hashSpecs = kept.map((r) => hashes.ofDestination(r.destination, namespace))
  noteUnheard(world, rule, port, hashes)
  // A request that is hashed stays where it is, also when it is repeated; where destinations are drawn istiod does not look.
  const hashed = single !== undefined && hashSpecs[0] !== undefined
  const action: ForwardAction = {
    kind: 'forward',
    clusters,
    totalWeight: clusters.reduce((sum, c) => sum + c.weight, 0),
    timeoutMs: spec.timeout === undefined ? 0 : durationMs(spec.timeout),
    timeoutOrigin: fieldOrigin('timeout', spec.timeout !== undefined),
    idleTimeoutMs: null,
    maxStreamDurationMs: null,
    grpcStreamMaxMs: null,
    hostRewriteFrom: null,
    countsAttempts: null,
    retry:
      spec.retries === undefined
        ? world.defaultRetry(unsafe, hashed)
        : compileRetries(spec.retries, unsafe, hashed, fieldOrigin('retries', true)),
    hashPolicies: hashPoliciesOf(hashSpecs),
    pathRewrite: pathRewrite(spec, match),
    hostRewrite: spec.rewrite?.authority || authority || destinationHeaders.authority,
    appendForwardedHost: false,
    mirrors: mirrors(world, spec, namespace, port),
    fault: spec.fault === undefined ? null : compileFault(spec.fault),
    cors: spec.corsPolicy === undefined ? null : compileCors(spec.corsPolicy),
    session: null,
    clusterNotFoundStatus: isGatewayApi(rule.root) ? BACKEND_NOT_FOUND : CLUSTER_NOT_FOUND,
  }
  return { action, destinationHeaders }
}

function noteUnheard(world: World, rule: HttpRule, port: number, hashes: DestinationHashes): void {
  const { actionObject, actionPath } = rule
  for (const [i, { destination }] of (rule.spec.route ?? []).entries()) {
    const by = hashes.unheard(destination, actionObject.namespace, port)
    if (by === null) continue
    const { namespace, name } = by.policyObject
    world.verdicts.partly(
      actionObject,
      [...actionPath, 'route', i, 'destination'],
      `without a \`port\` the destination takes no consistentHash from the settings of port ${port} of DestinationRule ${namespace}/${name}: endpoints are drawn`,
    )
  }
}

/** A field of the delegate, or of the root where the delegate leaves it open: then the rule that delegates is shown. */
function fieldPlace(rule: HttpRule, field: string) {
  const index = rule.actionPath[1] as number
  const own = rule.actionObject.spec.http?.[index]
  const there = own !== undefined && (own as Record<string, unknown>)[field] !== undefined
  return rule.actionObject.origin(there ? [...rule.actionPath, field] : rule.actionPath)
}

/** Without any rule for it. */
export function forwardTo(cluster: string, retry: ForwardAction['retry']): ForwardAction {
  return {
    kind: 'forward',
    clusters: [{ cluster, clusterHeader: '', weight: 1, requestEdits: [], responseEdits: [], hostRewrite: '', filters: null }],
    totalWeight: 1,
    timeoutMs: 0,
    timeoutOrigin: BUILT_IN,
    idleTimeoutMs: null,
    maxStreamDurationMs: null,
    grpcStreamMaxMs: null,
    hostRewriteFrom: null,
    countsAttempts: null,
    retry,
    hashPolicies: [],
    pathRewrite: null,
    hostRewrite: '',
    appendForwardedHost: false,
    mirrors: [],
    fault: null,
    cors: null,
    session: null,
    clusterNotFoundStatus: CLUSTER_NOT_FOUND,
  }
}

/** An exact or regex match is replaced whole, a prefix only as far as it matched; without a match the prefix is `/`. */
function pathRewrite(spec: HttpRouteSpec, match: RouteMatch): PathRewrite | null {
  const regex = spec.rewrite?.uriRegexRewrite
  if (regex !== undefined) return regexRewrite(regex.match ?? '', regex.rewrite ?? '', match)
  const uri = spec.rewrite?.uri ?? ''
  if (uri === '') return null
  const whole = match.path !== null && (match.path.kind === 'exact' || match.path.kind === 'regex')
  // Gateway API ReplacePrefixMatch: there is one slash between what is written and the rest.
  const segments = match.path?.kind === 'pathPrefix'
  return { kind: whole ? 'full' : 'prefix', pattern: '', value: segments ? uri.replace(/\/$/, '') : uri }
}

function mirrors(world: World, spec: HttpRouteSpec, namespace: string, port: number): Mirror[] {
  const list: Mirror[] = []
  const push = (destination: DestinationSpec, percent: number): void => {
    // An explicit 0 means never.
    if (percent > 0) list.push({ cluster: destinationCluster(world, destination, namespace, port), percent })
  }
  if (spec.mirror !== undefined) push(spec.mirror, percentOf(spec.mirrorPercentage) ?? spec.mirrorPercent ?? 100)
  for (const mirror of spec.mirrors ?? [])
    if (mirror.destination !== undefined) push(mirror.destination, percentOf(mirror.percentage) ?? 100)
  return list
}

/** A percentage without value is 0; undefined when the field is not there. */
function percentOf(percentage: { readonly value?: number | undefined } | undefined): number | undefined {
  return percentage === undefined ? undefined : (percentage.value ?? 0)
}

function compileFault(fault: FaultSpec): Fault {
  const { delay, abort } = fault
  const status = abort?.httpStatus ?? 0
  const grpc = abort?.grpcStatus
  // An abort that names no status passes Istio's validator and aborts nothing.
  const aborts = abort !== undefined && (status !== 0 || grpc !== undefined)
  return {
    delay:
      delay === undefined
        ? null
        : { percent: percentOf(delay.percentage) ?? delay.percent ?? 0, fixedMs: durationMs(delay.fixedDelay ?? '0') },
    abort: aborts
      ? {
          percent: percentOf(abort.percentage) ?? abort.percent ?? 0,
          httpStatus: grpc === undefined ? status : 0,
          grpcStatus: grpc === undefined ? -1 : GRPC_STATUS_NAMES.indexOf(grpc),
        }
      : null,
  }
}

function compileCors(cors: CorsSpec): Cors {
  const origins = cors.allowOrigins ?? (cors.allowOrigin ?? []).map((exact) => ({ exact }))
  return {
    allowOrigins: origins.flatMap((o) => stringMatch(o) ?? []),
    allowMethods: (cors.allowMethods ?? []).join(','),
    allowHeaders: (cors.allowHeaders ?? []).join(','),
    exposeHeaders: (cors.exposeHeaders ?? []).join(','),
    maxAge: cors.maxAge === undefined ? '' : String(Math.floor(durationMs(cors.maxAge) / 1000)),
    allowCredentials: cors.allowCredentials === true,
    forwardNotMatchingPreflights: cors.unmatchedPreflights !== 'IGNORE',
  }
}

/** `encrypted`: what comes in on the table's port is TLS. */
export function compileRedirect(redirect: RedirectSpec, port: number, encrypted: boolean): RedirectAction {
  const scheme = redirect.scheme ?? ''
  // FROM_REQUEST_PORT means the port of the table, since a table is for one port.
  const asked = redirect.derivePort === 'FROM_REQUEST_PORT' ? port : (redirect.port ?? 0)
  // The default port of the resulting scheme is left out; a sidecar's own scheme is http.
  const isDefault = asked === (scheme === 'https' || (scheme === '' && encrypted) ? 443 : 80)
  return {
    kind: 'redirect',
    code: redirect.redirectCode === undefined || redirect.redirectCode === 0 ? 301 : redirect.redirectCode,
    scheme,
    authority: redirect.authority ?? '',
    port: isDefault ? 0 : asked,
    portFromListener: false,
    path: redirect.uri ?? '',
    prefixRewrite: redirect.prefixRewrite ?? null,
    regexRewrite: null,
    stripQuery: false,
  }
}

export function compileDirectResponse(direct: DirectResponseSpec): DirectResponseAction {
  const bytes = direct.body?.bytes
  const body = bytes === undefined ? Buffer.from(direct.body?.string ?? '', 'utf8') : Buffer.from(bytes, 'base64')
  return { kind: 'direct', status: direct.status ?? 200, body: body.toString('latin1') }
}

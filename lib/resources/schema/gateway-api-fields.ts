// What the kinds of the Gateway API have in common (gateway.networking.k8s.io, apis/v1/shared_types.go).
import * as v from 'valibot'
import { parseDuration } from '../../base/duration.ts'
import { anything, flag, found, list, oneOf, opt, strict, text, texts, whole } from './fields.ts'

/** GEP-2257: at most four groups of digits and units, without fractions. */
const GEP_2257 = /^(?:\d{1,5}(?:h|m|s|ms)){1,4}$/

const gatewayDuration = v.pipe(
  v.string((issue) => `expected a duration such as 5s, 250ms or 1m30s, found ${found(issue.input)}`),
  v.check(
    (s) => GEP_2257.test(s) && parseDuration(s) !== null,
    (issue) => `expected a duration such as 5s, 250ms or 1m30s (whole numbers of h, m, s, ms), found ${found(issue.input)}`,
  ),
)

export const parentRef = strict({
  group: opt(text),
  kind: opt(text),
  namespace: opt(text),
  name: text,
  sectionName: opt(text),
  port: opt(whole),
})

const objectReference = { group: opt(text), kind: opt(text), name: text, namespace: opt(text) }

export const secretRef = strict(objectReference)

/** Of a mirror: a backend without a weight. */
const backendObject = strict({ ...objectReference, port: opt(whole) })

export const backendRef = strict({ ...objectReference, port: opt(whole), weight: opt(whole) })

const header = strict({ name: text, value: text })

const headerFilter = strict({ set: opt(list(header)), add: opt(list(header)), remove: opt(texts) })

const pathModifier = strict({
  type: oneOf(['ReplaceFullPath', 'ReplacePrefixMatch']),
  replaceFullPath: opt(text),
  replacePrefixMatch: opt(text),
})

const FILTERS = [
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestMirror',
  'RequestRedirect',
  'URLRewrite',
  'CORS',
  'ExternalAuth',
  'ExtensionRef',
] as const

/** Of HTTPRoute and of GRPCRoute, which may have fewer types. */
const filter = strict({
  type: oneOf(FILTERS),
  requestHeaderModifier: opt(headerFilter),
  responseHeaderModifier: opt(headerFilter),
  requestMirror: opt(
    strict({
      backendRef: backendObject,
      percent: opt(whole),
      fraction: opt(strict({ numerator: whole, denominator: opt(whole) })),
    }),
  ),
  requestRedirect: opt(
    strict({
      scheme: opt(oneOf(['http', 'https'])),
      hostname: opt(text),
      path: opt(pathModifier),
      port: opt(whole),
      statusCode: opt(whole),
    }),
  ),
  urlRewrite: opt(strict({ hostname: opt(text), path: opt(pathModifier) })),
  cors: opt(
    strict({
      allowOrigins: opt(texts),
      allowCredentials: opt(flag),
      allowMethods: opt(texts),
      allowHeaders: opt(texts),
      exposeHeaders: opt(texts),
      maxAge: opt(whole),
    }),
  ),
  externalAuth: opt(anything),
  extensionRef: opt(strict({ group: opt(text), kind: opt(text), name: text })),
})

const routeBackend = strict({ ...objectReference, port: opt(whole), weight: opt(whole), filters: opt(list(filter)) })

const headerMatch = strict({ type: opt(oneOf(['Exact', 'RegularExpression'])), name: text, value: text })

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const

const httpMatch = strict({
  path: opt(strict({ type: opt(oneOf(['Exact', 'PathPrefix', 'RegularExpression'])), value: opt(text) })),
  headers: opt(list(headerMatch)),
  queryParams: opt(list(headerMatch)),
  method: opt(oneOf(METHODS)),
})

const grpcMatch = strict({
  method: opt(strict({ type: opt(oneOf(['Exact', 'RegularExpression'])), service: opt(text), method: opt(text) })),
  headers: opt(list(headerMatch)),
})

const action = { name: opt(text), filters: opt(list(filter)), backendRefs: opt(list(routeBackend)) }

const httpRule = strict({
  ...action,
  matches: opt(list(httpMatch)),
  timeouts: opt(strict({ request: opt(gatewayDuration), backendRequest: opt(gatewayDuration) })),
  retry: opt(strict({ codes: opt(list(whole)), attempts: opt(whole), backoff: opt(gatewayDuration) })),
  sessionPersistence: opt(anything),
})

const grpcRule = strict({ ...action, matches: opt(list(grpcMatch)), sessionPersistence: opt(anything) })

const attachment = { parentRefs: opt(list(parentRef)), useDefaultGateways: opt(text) }

export const httpRoute = strict({ ...attachment, hostnames: opt(texts), rules: opt(list(httpRule)) })

export const grpcRoute = strict({ ...attachment, hostnames: opt(texts), rules: opt(list(grpcRule)) })

const connectionRule = strict({ name: opt(text), backendRefs: opt(list(backendRef)) })

export const tlsRoute = strict({ ...attachment, hostnames: opt(texts), rules: opt(list(connectionRule)) })

export const tcpRoute = strict({ ...attachment, rules: opt(list(connectionRule)) })

export const referenceGrant = strict({
  from: opt(list(strict({ group: opt(text), kind: text, namespace: text }))),
  to: opt(list(strict({ group: opt(text), kind: text, name: opt(text) }))),
})

export const gatewayClass = strict({ controllerName: text, parametersRef: opt(anything), description: opt(text) })

export type ParentRefSpec = v.InferOutput<typeof parentRef>
export type BackendRefSpec = v.InferOutput<typeof backendObject>
export type WeightedBackendSpec = v.InferOutput<typeof backendRef>
export type RouteBackendSpec = v.InferOutput<typeof routeBackend>
export type HeaderFilterSpec = v.InferOutput<typeof headerFilter>
export type PathModifierSpec = v.InferOutput<typeof pathModifier>
export type FilterSpec = v.InferOutput<typeof filter>
export type HeaderConditionSpec = v.InferOutput<typeof headerMatch>
export type HttpConditionSpec = v.InferOutput<typeof httpMatch>
export type GrpcConditionSpec = v.InferOutput<typeof grpcMatch>
export type HttpRouteRuleSpec = v.InferOutput<typeof httpRule>
export type GrpcRouteRuleSpec = v.InferOutput<typeof grpcRule>
export type ConnectionRuleSpec = v.InferOutput<typeof connectionRule>
export type HttpRouteObjectSpec = v.InferOutput<typeof httpRoute>
export type GrpcRouteSpec = v.InferOutput<typeof grpcRoute>
export type TlsRouteSpec = v.InferOutput<typeof tlsRoute>
export type TcpRouteSpec = v.InferOutput<typeof tcpRoute>
export type ReferenceGrantSpec = v.InferOutput<typeof referenceGrant>
export type GatewayClassSpec = v.InferOutput<typeof gatewayClass>

// VirtualService (istio/api networking/v1alpha3/virtual_service.proto), Istio VirtualService of which the field names are.
import type * as v from 'valibot'
import { duration, flag, list, oneOf, opt, real, strict, text, textMap, texts, whole } from './fields.ts'
import { stringMatch, stringMatchMap } from './string-match.ts'

const destination = strict({ host: text, subset: opt(text), port: opt(strict({ number: opt(whole) })) })

const headerOperations = strict({ set: opt(textMap), add: opt(textMap), remove: opt(texts) })

const headers = strict({ request: opt(headerOperations), response: opt(headerOperations) })

const percent = strict({ value: opt(real) })

const httpMatch = strict({
  name: opt(text),
  uri: opt(stringMatch),
  scheme: opt(stringMatch),
  method: opt(stringMatch),
  authority: opt(stringMatch),
  headers: opt(stringMatchMap),
  withoutHeaders: opt(stringMatchMap),
  queryParams: opt(stringMatchMap),
  ignoreUriCase: opt(flag),
  port: opt(whole),
  sourceLabels: opt(textMap),
  sourceNamespace: opt(text),
  gateways: opt(texts),
  statPrefix: opt(text),
})

const httpRouteDestination = strict({ destination, weight: opt(whole), headers: opt(headers) })

const redirect = strict({
  uri: opt(text),
  prefixRewrite: opt(text),
  authority: opt(text),
  port: opt(whole),
  derivePort: opt(oneOf(['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT'])),
  scheme: opt(text),
  redirectCode: opt(whole),
})

const directResponse = strict({ status: opt(whole), body: opt(strict({ string: opt(text), bytes: opt(text) })) })

const rewrite = strict({
  uri: opt(text),
  authority: opt(text),
  uriRegexRewrite: opt(strict({ match: opt(text), rewrite: opt(text) })),
})

const retries = strict({
  attempts: opt(whole),
  perTryTimeout: opt(duration),
  retryOn: opt(text),
  retryRemoteLocalities: opt(flag),
  retryIgnorePreviousHosts: opt(flag),
  backoff: opt(duration),
})

const fault = strict({
  delay: opt(
    strict({ fixedDelay: opt(duration), exponentialDelay: opt(duration), percentage: opt(percent), percent: opt(whole) }),
  ),
  abort: opt(
    strict({
      httpStatus: opt(whole),
      grpcStatus: opt(text),
      http2Error: opt(text),
      percentage: opt(percent),
      percent: opt(whole),
    }),
  ),
})

const cors = strict({
  allowOrigins: opt(list(stringMatch)),
  allowOrigin: opt(texts),
  allowMethods: opt(texts),
  allowHeaders: opt(texts),
  exposeHeaders: opt(texts),
  maxAge: opt(duration),
  allowCredentials: opt(flag),
  unmatchedPreflights: opt(oneOf(['UNSPECIFIED', 'FORWARD', 'IGNORE'])),
})

const httpRoute = strict({
  name: opt(text),
  match: opt(list(httpMatch)),
  route: opt(list(httpRouteDestination)),
  redirect: opt(redirect),
  directResponse: opt(directResponse),
  delegate: opt(strict({ name: opt(text), namespace: opt(text) })),
  rewrite: opt(rewrite),
  timeout: opt(duration),
  retries: opt(retries),
  fault: opt(fault),
  mirror: opt(destination),
  mirrors: opt(list(strict({ destination: opt(destination), percentage: opt(percent) }))),
  mirrorPercent: opt(whole),
  mirrorPercentage: opt(percent),
  corsPolicy: opt(cors),
  headers: opt(headers),
})

const routeDestination = strict({ destination, weight: opt(whole) })

const l4Match = strict({
  destinationSubnets: opt(texts),
  port: opt(whole),
  sourceSubnet: opt(text),
  sourceLabels: opt(textMap),
  gateways: opt(texts),
  sourceNamespace: opt(text),
})

const tlsMatch = strict({
  sniHosts: opt(texts),
  destinationSubnets: opt(texts),
  port: opt(whole),
  sourceLabels: opt(textMap),
  gateways: opt(texts),
  sourceNamespace: opt(text),
})

export const virtualService = strict({
  hosts: opt(texts),
  gateways: opt(texts),
  http: opt(list(httpRoute)),
  tls: opt(list(strict({ match: opt(list(tlsMatch)), route: opt(list(routeDestination)) }))),
  tcp: opt(list(strict({ match: opt(list(l4Match)), route: opt(list(routeDestination)) }))),
  exportTo: opt(texts),
})

export type VirtualServiceSpec = v.InferOutput<typeof virtualService>
export type HttpRouteSpec = v.InferOutput<typeof httpRoute>
export type HttpMatchSpec = v.InferOutput<typeof httpMatch>
export type HttpRouteDestinationSpec = v.InferOutput<typeof httpRouteDestination>
export type DestinationSpec = v.InferOutput<typeof destination>
export type HeadersSpec = v.InferOutput<typeof headers>
export type HeaderOperationsSpec = v.InferOutput<typeof headerOperations>
export type RedirectSpec = v.InferOutput<typeof redirect>
export type DirectResponseSpec = v.InferOutput<typeof directResponse>
export type RewriteSpec = v.InferOutput<typeof rewrite>
export type RetriesSpec = v.InferOutput<typeof retries>
export type FaultSpec = v.InferOutput<typeof fault>
export type CorsSpec = v.InferOutput<typeof cors>
export type PercentSpec = v.InferOutput<typeof percent>
export type L4MatchSpec = v.InferOutput<typeof l4Match>
export type TlsMatchSpec = v.InferOutput<typeof tlsMatch>
/** A destination of a tcp or a tls rule. */
export type L4RouteSpec = v.InferOutput<typeof routeDestination>

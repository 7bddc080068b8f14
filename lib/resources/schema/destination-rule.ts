// DestinationRule (istio/api networking/v1alpha3/destination_rule.proto), Istio DestinationRule.
import type * as v from 'valibot'
import { duration, flag, list, mapOf, oneOf, opt, real, strict, text, textMap, texts, whole } from './fields.ts'

const tcpPool = strict({
  maxConnections: opt(whole),
  connectTimeout: opt(duration),
  tcpKeepalive: opt(strict({ probes: opt(whole), time: opt(duration), interval: opt(duration) })),
  maxConnectionDuration: opt(duration),
  idleTimeout: opt(duration),
})

const httpPool = strict({
  http1MaxPendingRequests: opt(whole),
  http2MaxRequests: opt(whole),
  maxRequestsPerConnection: opt(whole),
  maxRetries: opt(whole),
  idleTimeout: opt(duration),
  h2UpgradePolicy: opt(oneOf(['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'])),
  useClientProtocol: opt(flag),
  maxConcurrentStreams: opt(whole),
  http2KeepAlive: opt(strict({ interval: opt(duration), timeout: opt(duration) })),
})

const connectionPool = strict({ tcp: opt(tcpPool), http: opt(httpPool) })

const consistentHash = strict({
  httpHeaderName: opt(text),
  httpCookie: opt(
    strict({
      name: opt(text),
      path: opt(text),
      ttl: opt(duration),
      attributes: opt(list(strict({ name: opt(text), value: opt(text) }))),
    }),
  ),
  useSourceIp: opt(flag),
  httpQueryParameterName: opt(text),
  ringHash: opt(strict({ minimumRingSize: opt(whole) })),
  maglev: opt(strict({ tableSize: opt(whole) })),
  minimumRingSize: opt(whole),
})

const failover = list(strict({ from: opt(text), to: opt(text) }))

const loadBalancer = strict({
  simple: opt(oneOf(['UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN', 'LEAST_REQUEST'])),
  consistentHash: opt(consistentHash),
  localityLbSetting: opt(
    strict({
      enabled: opt(flag),
      distribute: opt(list(strict({ from: opt(text), to: opt(mapOf(whole)) }))),
      failover: opt(failover),
      failoverPriority: opt(texts),
    }),
  ),
  zoneAwareLbSetting: opt(
    strict({ enabled: opt(flag), failover: opt(failover), failoverPriority: opt(texts), minClusterSize: opt(whole) }),
  ),
  warmup: opt(strict({ duration: opt(duration), minimumPercent: opt(real), aggression: opt(real) })),
  warmupDurationSecs: opt(duration),
})

const outlierDetection = strict({
  consecutiveErrors: opt(whole),
  consecutive5xxErrors: opt(whole),
  consecutiveGatewayErrors: opt(whole),
  consecutiveLocalOriginFailures: opt(whole),
  splitExternalLocalOriginErrors: opt(flag),
  interval: opt(duration),
  baseEjectionTime: opt(duration),
  maxEjectionPercent: opt(whole),
  minHealthPercent: opt(whole),
  outlierDetectionHttpErrorCodes: opt(list(whole)),
})

const clientTls = strict({
  mode: opt(oneOf(['DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL'])),
  clientCertificate: opt(text),
  privateKey: opt(text),
  caCertificates: opt(text),
  caCrl: opt(text),
  credentialName: opt(text),
  subjectAltNames: opt(texts),
  sni: opt(text),
  insecureSkipVerify: opt(flag),
})

const blocks = {
  loadBalancer: opt(loadBalancer),
  connectionPool: opt(connectionPool),
  outlierDetection: opt(outlierDetection),
  tls: opt(clientTls),
}

const trafficPolicy = strict({
  ...blocks,
  portLevelSettings: opt(list(strict({ ...blocks, port: opt(strict({ number: opt(whole) })) }))),
  tunnel: opt(strict({ protocol: opt(text), targetHost: opt(text), targetPort: opt(whole) })),
  proxyProtocol: opt(strict({ version: opt(oneOf(['V1', 'V2'])) })),
  retryBudget: opt(strict({ percent: opt(real), minRetryConcurrency: opt(whole), budgetInterval: opt(duration) })),
})

export const destinationRule = strict({
  host: text,
  trafficPolicy: opt(trafficPolicy),
  subsets: opt(list(strict({ name: opt(text), labels: opt(textMap), trafficPolicy: opt(trafficPolicy) }))),
  exportTo: opt(texts),
  workloadSelector: opt(strict({ matchLabels: opt(textMap) })),
})

export type DestinationRuleSpec = v.InferOutput<typeof destinationRule>
export type TrafficPolicySpec = v.InferOutput<typeof trafficPolicy>
export type SubsetSpec = NonNullable<DestinationRuleSpec['subsets']>[number]
export type ConnectionPoolSpec = v.InferOutput<typeof connectionPool>
export type LoadBalancerSpec = v.InferOutput<typeof loadBalancer>
export type OutlierDetectionSpec = v.InferOutput<typeof outlierDetection>
export type ClientTlsSpec = v.InferOutput<typeof clientTls>
/** What a port, a subset or the whole destination may set. */
export type PolicyBlocksSpec = Pick<TrafficPolicySpec, 'loadBalancer' | 'connectionPool' | 'outlierDetection' | 'tls'>

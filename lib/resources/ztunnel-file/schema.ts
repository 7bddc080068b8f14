// The local file of ztunnel (LOCAL_XDS_PATH): what its workloads, services and policies may say. Names and words are ztunnel's, so
// that one file feeds both. Texts with a form of their own (addresses, `namespace/host`) are read in to-nouns.ts.
import type * as v from 'valibot'
import { anything, flag, list, mapOf, oneOf, opt, strict, text, texts, whole } from '../schema/fields.ts'

const gateway = strict({ destination: text, hboneMtlsPort: whole })
/** Service port → port. */
const portMap = mapOf(whole)

export const localWorkload = strict({
  uid: opt(text),
  name: opt(text),
  namespace: text,
  serviceAccount: opt(text),
  trustDomain: opt(text),
  network: opt(text),
  workloadIps: opt(texts),
  hostname: opt(text),
  protocol: opt(oneOf(['TCP', 'HBONE'])),
  networkMode: opt(oneOf(['Standard', 'HostNetwork'])),
  nativeTunnel: opt(flag),
  applicationTunnel: opt(strict({ protocol: oneOf(['NONE', 'PROXY']), port: opt(whole) })),
  waypoint: opt(gateway),
  networkGateway: opt(gateway),
  services: opt(mapOf(portMap)),
  authorizationPolicies: opt(texts),
  status: opt(oneOf(['Healthy', 'Unhealthy'])),
  capacity: opt(whole),
  node: opt(text),
  clusterId: opt(text),
  locality: opt(strict({ region: opt(text), zone: opt(text), subzone: opt(text) })),
  canonicalName: opt(text),
  canonicalRevision: opt(text),
  workloadName: opt(text),
  workloadType: opt(text),
})

export const localService = strict({
  name: opt(text),
  namespace: text,
  hostname: text,
  vips: opt(texts),
  cidrVips: opt(list(strict({ network: opt(text), cidr: text }))),
  ports: opt(portMap),
  endpoints: opt(mapOf(strict({ workloadUid: opt(text), port: opt(portMap), status: opt(oneOf(['Healthy', 'Unhealthy'])) }))),
  subjectAltNames: opt(texts),
  waypoint: opt(gateway),
  weightedWaypoints: opt(list(strict({ destination: gateway, weight: whole }))),
  loadBalancer: opt(
    strict({
      routingPreferences: opt(list(oneOf(['Region', 'Zone', 'Subzone', 'Node', 'Cluster', 'Network']))),
      mode: opt(oneOf(['Standard', 'Strict', 'Failover', 'Passthrough'])),
      healthPolicy: opt(oneOf(['OnlyHealthy', 'AllowAll'])),
    }),
  ),
  ipFamilies: opt(oneOf(['Dual', 'IPv4', 'IPv6'])),
  canonical: opt(flag),
  visibility: opt(oneOf(['Public', 'Namespace'])),
})

const account = strict({ namespace: text, serviceAccount: text })
const match = strict({
  namespaces: opt(list(anything)),
  notNamespaces: opt(list(anything)),
  serviceAccounts: opt(list(account)),
  notServiceAccounts: opt(list(account)),
  principals: opt(list(anything)),
  notPrincipals: opt(list(anything)),
  sourceIps: opt(texts),
  notSourceIps: opt(texts),
  destinationIps: opt(texts),
  notDestinationIps: opt(texts),
  destinationPorts: opt(list(whole)),
  notDestinationPorts: opt(list(whole)),
})

/** `rules` are lists of lists of matches: any rule, all clauses, any match. */
export const localPolicy = strict({
  name: text,
  namespace: text,
  scope: oneOf(['Global', 'Namespace', 'WorkloadSelector']),
  action: oneOf(['Allow', 'Deny']),
  rules: list(list(list(match))),
  dryRun: opt(flag),
})

export type LocalWorkload = v.InferOutput<typeof localWorkload>
export type LocalService = v.InferOutput<typeof localService>
export type LocalPolicy = v.InferOutput<typeof localPolicy>
export type LocalMatch = v.InferOutput<typeof match>
export type LocalGateway = v.InferOutput<typeof gateway>

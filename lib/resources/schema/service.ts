// Service (Kubernetes core/v1). Strict, since people write it by hand; what is not read here is listed all the same.
import * as v from 'valibot'
import { anything, flag, list, oneOf, opt, strict, text, textMap, texts, whole } from './fields.ts'

const portOrName = v.union([v.number(), v.string()], 'expected a port number or the name of a container port')

const servicePort = strict({
  name: opt(text),
  protocol: opt(oneOf(['TCP', 'UDP', 'SCTP'])),
  appProtocol: opt(text),
  port: whole,
  targetPort: opt(portOrName),
  nodePort: opt(whole),
})

export const service = strict({
  ports: opt(list(servicePort)),
  selector: opt(textMap),
  clusterIP: opt(text),
  clusterIPs: opt(texts),
  type: opt(oneOf(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'])),
  externalName: opt(text),
  publishNotReadyAddresses: opt(flag),
  externalIPs: opt(texts),
  sessionAffinity: opt(text),
  sessionAffinityConfig: opt(anything),
  loadBalancerIP: opt(text),
  loadBalancerSourceRanges: opt(texts),
  loadBalancerClass: opt(text),
  externalTrafficPolicy: opt(text),
  internalTrafficPolicy: opt(text),
  healthCheckNodePort: opt(whole),
  ipFamilies: opt(texts),
  ipFamilyPolicy: opt(text),
  allocateLoadBalancerNodePorts: opt(flag),
  trafficDistribution: opt(text),
})

export type ServiceSpec = v.InferOutput<typeof service>
export type ServicePortSpec = v.InferOutput<typeof servicePort>

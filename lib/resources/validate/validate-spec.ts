// Istio's semantic rules for each kind, which its admission webhook applies (istio pkg/config/validation): what the schema
// cannot say. A proxy that reads files has no admission step, so they are applied here.
import type { Report } from '../finding.ts'
import { validateSecret } from '../key-material.ts'
import type { Kind, KindSpecs } from '../kinds.ts'
import { validateAuthorizationPolicy } from './authorization-policy.ts'
import { validateDestinationRule } from './destination-rule.ts'
import { validateGateway } from './gateway.ts'
import { validateGrpcRoute, validateHttpRoute, validateTcpRoute, validateTlsRoute } from './gateway-api-route.ts'
import { validateKubernetesGateway, validateReferenceGrant } from './kubernetes-gateway.ts'
import { validatePeerAuthentication } from './peer-authentication.ts'
import { validateRequestAuthentication } from './request-authentication.ts'
import { validateService } from './service.ts'
import { validateServiceEntry } from './service-entry.ts'
import { validateSidecar } from './sidecar.ts'
import { validateVirtualService } from './virtual-service.ts'
import { validateWorkloadEntry } from './workload-entry.ts'
import { validateWorkloadGroup } from './workload-group.ts'

/** `spec` has passed the schema of `kind`. Findings are counted from the spec. */
export function validateSpec(kind: Kind, spec: unknown, report: Report): void {
  if (kind === 'VirtualService') validateVirtualService(spec as KindSpecs['VirtualService'], report)
  else if (kind === 'DestinationRule') validateDestinationRule(spec as KindSpecs['DestinationRule'], report)
  else if (kind === 'ServiceEntry') validateServiceEntry(spec as KindSpecs['ServiceEntry'], report)
  else if (kind === 'WorkloadEntry') validateWorkloadEntry(spec as KindSpecs['WorkloadEntry'], [], report)
  else if (kind === 'WorkloadGroup') validateWorkloadGroup(spec as KindSpecs['WorkloadGroup'], report)
  else if (kind === 'Sidecar') validateSidecar(spec as KindSpecs['Sidecar'], report)
  else if (kind === 'PeerAuthentication') validatePeerAuthentication(spec as KindSpecs['PeerAuthentication'], report)
  else if (kind === 'AuthorizationPolicy') validateAuthorizationPolicy(spec as KindSpecs['AuthorizationPolicy'], report)
  else if (kind === 'RequestAuthentication') validateRequestAuthentication(spec as KindSpecs['RequestAuthentication'], report)
  else if (kind === 'Service') validateService(spec as KindSpecs['Service'], report)
  else if (kind === 'Gateway') validateGateway(spec as KindSpecs['Gateway'], report)
  else if (kind === 'KubernetesGateway') validateKubernetesGateway(spec as KindSpecs['KubernetesGateway'], report)
  else if (kind === 'HTTPRoute') validateHttpRoute(spec as KindSpecs['HTTPRoute'], report)
  else if (kind === 'GRPCRoute') validateGrpcRoute(spec as KindSpecs['GRPCRoute'], report)
  else if (kind === 'TLSRoute') validateTlsRoute(spec as KindSpecs['TLSRoute'], report)
  else if (kind === 'TCPRoute') validateTcpRoute(spec as KindSpecs['TCPRoute'], report)
  else if (kind === 'ReferenceGrant') validateReferenceGrant(spec as KindSpecs['ReferenceGrant'], report)
  else if (kind === 'Secret') validateSecret(spec as KindSpecs['Secret'], report)
}

// Sidecar (istio/api networking/v1alpha3/sidecar.proto), Istio Sidecar.
import type * as v from 'valibot'
import { anything, list, oneOf, opt, strict, text, textMap, texts, whole } from './fields.ts'

const captureMode = opt(oneOf(['DEFAULT', 'IPTABLES', 'NONE']))
const port = strict({ number: opt(whole), protocol: opt(text), name: opt(text), targetPort: opt(whole) })

export const sidecar = strict({
  workloadSelector: opt(strict({ labels: opt(textMap) })),
  ingress: opt(
    list(
      strict({
        port: opt(port),
        bind: opt(text),
        captureMode,
        defaultEndpoint: opt(text),
        tls: opt(anything),
        connectionPool: opt(anything),
      }),
    ),
  ),
  egress: opt(list(strict({ port: opt(port), bind: opt(text), captureMode, hosts: opt(texts) }))),
  inboundConnectionPool: opt(anything),
  outboundTrafficPolicy: opt(
    strict({ mode: opt(oneOf(['REGISTRY_ONLY', 'ALLOW_ANY', 'ALLOW_ANY_DYNAMIC_DNS'])), egressProxy: opt(anything) }),
  ),
})

export type SidecarSpec = v.InferOutput<typeof sidecar>
export type SidecarIngressSpec = NonNullable<SidecarSpec['ingress']>[number]
export type SidecarEgressSpec = NonNullable<SidecarSpec['egress']>[number]

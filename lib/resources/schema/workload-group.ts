// WorkloadGroup (istio/api networking/v1alpha3/workload_group.proto), Istio WorkloadGroup.
import type * as v from 'valibot'
import { list, opt, strict, text, textMap, texts, whole } from './fields.ts'
import { workloadEntry } from './workload-entry.ts'

const readinessProbe = strict({
  initialDelaySeconds: opt(whole),
  timeoutSeconds: opt(whole),
  periodSeconds: opt(whole),
  successThreshold: opt(whole),
  failureThreshold: opt(whole),
  httpGet: opt(
    strict({
      path: opt(text),
      port: opt(whole),
      host: opt(text),
      scheme: opt(text),
      httpHeaders: opt(list(strict({ name: opt(text), value: opt(text) }))),
    }),
  ),
  tcpSocket: opt(strict({ host: opt(text), port: opt(whole) })),
  exec: opt(strict({ command: opt(texts) })),
  grpc: opt(strict({ port: opt(whole), service: opt(text) })),
})

export const workloadGroup = strict({
  metadata: opt(strict({ labels: opt(textMap), annotations: opt(textMap) })),
  template: opt(workloadEntry),
  probe: opt(readinessProbe),
})

export type WorkloadGroupSpec = v.InferOutput<typeof workloadGroup>
export type ReadinessProbeSpec = v.InferOutput<typeof readinessProbe>

// ServiceEntry (istio/api networking/v1alpha3/service_entry.proto), Istio ServiceEntry.
import type * as v from 'valibot'
import { list, oneOf, opt, strict, text, textMap, texts, whole } from './fields.ts'
import { workloadEntry } from './workload-entry.ts'

export const serviceEntry = strict({
  hosts: opt(texts),
  addresses: opt(texts),
  ports: opt(list(strict({ number: opt(whole), protocol: opt(text), name: opt(text), targetPort: opt(whole) }))),
  location: opt(oneOf(['MESH_EXTERNAL', 'MESH_INTERNAL'])),
  resolution: opt(oneOf(['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS'])),
  endpoints: opt(list(workloadEntry)),
  workloadSelector: opt(strict({ labels: opt(textMap) })),
  exportTo: opt(texts),
  subjectAltNames: opt(texts),
})

export type ServiceEntrySpec = v.InferOutput<typeof serviceEntry>

// WorkloadEntry (istio/api networking/v1alpha3/workload_entry.proto), Istio WorkloadEntry. Also the endpoints of a ServiceEntry.
import type * as v from 'valibot'
import { mapOf, opt, strict, text, textMap, whole } from './fields.ts'

export const workloadEntry = strict({
  address: opt(text),
  ports: opt(mapOf(whole)),
  labels: opt(textMap),
  network: opt(text),
  locality: opt(text),
  weight: opt(whole),
  serviceAccount: opt(text),
})

export type WorkloadEntrySpec = v.InferOutput<typeof workloadEntry>

// ObjectMeta (Kubernetes meta/v1). Open: servers and tools add fields of their own, and a spelling mistake in what is read
// (labels, annotations, owners) cannot be told from those.
import type * as v from 'valibot'
import { list, open, opt, text, textMap } from './fields.ts'

export const metadata = open({
  name: text,
  namespace: opt(text),
  labels: opt(textMap),
  annotations: opt(textMap),
  creationTimestamp: opt(text),
  ownerReferences: opt(list(open({ kind: opt(text), name: opt(text) }))),
})

export type Metadata = v.InferOutput<typeof metadata>

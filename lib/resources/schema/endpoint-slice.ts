// EndpointSlice (discovery.k8s.io/v1). Its fields stand at the top level, there is no `spec`.
import type * as v from 'valibot'
import { anything, flag, list, oneOf, opt, strict, text, textMap, texts, whole } from './fields.ts'

const endpoint = strict({
  addresses: texts,
  conditions: opt(strict({ ready: opt(flag), serving: opt(flag), terminating: opt(flag) })),
  hostname: opt(text),
  targetRef: opt(
    strict({
      kind: opt(text),
      name: opt(text),
      namespace: opt(text),
      uid: opt(text),
      apiVersion: opt(text),
      resourceVersion: opt(text),
      fieldPath: opt(text),
    }),
  ),
  deprecatedTopology: opt(textMap),
  nodeName: opt(text),
  zone: opt(text),
  hints: opt(anything),
})

export const endpointSlice = {
  addressType: opt(oneOf(['IPv4', 'IPv6', 'FQDN'])),
  endpoints: opt(list(endpoint)),
  ports: opt(list(strict({ name: opt(text), protocol: opt(text), port: opt(whole), appProtocol: opt(text) }))),
}

const slice = strict(endpointSlice)
export type EndpointSliceSpec = v.InferOutput<typeof slice>

// AuthorizationPolicy (istio/api security/v1beta1/authorization_policy.proto), of which the field names are.
import * as v from 'valibot'
import { list, oneOf, opt, strict, text, texts } from './fields.ts'
import { policyTarget } from './policy-target.ts'

const source = strict({
  principals: opt(texts),
  notPrincipals: opt(texts),
  requestPrincipals: opt(texts),
  notRequestPrincipals: opt(texts),
  namespaces: opt(texts),
  notNamespaces: opt(texts),
  ipBlocks: opt(texts),
  notIpBlocks: opt(texts),
  remoteIpBlocks: opt(texts),
  notRemoteIpBlocks: opt(texts),
  serviceAccounts: opt(texts),
  notServiceAccounts: opt(texts),
  trustDomains: opt(texts),
  notTrustDomains: opt(texts),
})

const operation = strict({
  hosts: opt(texts),
  notHosts: opt(texts),
  ports: opt(texts),
  notPorts: opt(texts),
  methods: opt(texts),
  notMethods: opt(texts),
  paths: opt(texts),
  notPaths: opt(texts),
})

const condition = strict({ key: opt(text), values: opt(texts), notValues: opt(texts) })

const rule = strict({
  from: opt(list(strict({ source: opt(source) }))),
  to: opt(list(strict({ operation: opt(operation) }))),
  when: opt(list(condition)),
})

/** An object without a spec is one that allows nothing. */
export const authorizationPolicy = v.optional(
  strict({
    ...policyTarget,
    action: opt(oneOf(['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'])),
    provider: opt(strict({ name: opt(text) })),
    rules: opt(list(rule)),
  }),
  {},
)

export type AuthorizationPolicySpec = v.InferOutput<typeof authorizationPolicy>
export type AuthorizationRuleSpec = v.InferOutput<typeof rule>
export type SourceSpec = v.InferOutput<typeof source>
export type OperationSpec = v.InferOutput<typeof operation>
export type ConditionSpec = v.InferOutput<typeof condition>

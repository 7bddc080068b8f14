// RequestAuthentication (istio/api security/v1beta1/request_authentication.proto), of which the field names are.
import * as v from 'valibot'
import { duration, flag, list, opt, strict, text, texts } from './fields.ts'
import { policyTarget } from './policy-target.ts'

const rule = strict({
  issuer: opt(text),
  audiences: opt(texts),
  jwksUri: opt(text),
  /** An older spelling of the same, by which some policies still are written. */
  jwks_uri: opt(text),
  jwks: opt(text),
  fromHeaders: opt(list(strict({ name: opt(text), prefix: opt(text) }))),
  fromParams: opt(texts),
  fromCookies: opt(texts),
  outputPayloadToHeader: opt(text),
  forwardOriginalToken: opt(flag),
  outputClaimToHeaders: opt(list(strict({ header: opt(text), claim: opt(text) }))),
  timeout: opt(duration),
  spaceDelimitedClaims: opt(texts),
})

/** An object without a spec asks for nothing. */
export const requestAuthentication = v.optional(strict({ ...policyTarget, jwtRules: opt(list(rule)) }), {})

export type RequestAuthenticationSpec = v.InferOutput<typeof requestAuthentication>
export type JwtRuleSpec = v.InferOutput<typeof rule>

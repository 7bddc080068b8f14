// StringMatch (istio/api networking/v1alpha3): one of exact, prefix and regex; none of them asks for presence.
import type * as v from 'valibot'
import { mapOf, opt, strict, text } from './fields.ts'

export const stringMatch = strict({ exact: opt(text), prefix: opt(text), regex: opt(text) })
export const stringMatchMap = mapOf(stringMatch)

export type StringMatchSpec = v.InferOutput<typeof stringMatch>

// Secret (Kubernetes core/v1). No message about one shows a value: what it holds must not come into a log.
import * as v from 'valibot'
import { flag, opt, strict, text } from './fields.ts'

const value = v.string('expected text')
const values = v.record(v.string(), value, 'expected a map of names to values')

export const secret = { data: opt(values), stringData: opt(values), type: opt(text), immutable: opt(flag) }

const whole = strict(secret)

export type SecretSpec = v.InferOutput<typeof whole>

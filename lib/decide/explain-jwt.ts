// What tokens said of a request, in sentences: who the client is by them, or why one was refused. A token itself is never told: whoever has it is the client.

import type { JsonObject } from '../base/json-value.ts'
import { claimAt } from '../policy/jwt-claims.ts'
import { OK, statusText } from '../policy/jwt-status.ts'
import type { JwtAuthentication, JwtProvider } from '../state/jwt.ts'
import { originText } from '../state/origin.ts'
import { type ExplainedStep, type Explanation, refOf } from './explanation.ts'
import * as S from './steps.ts'

/** A claim may be as long as a header. */
const MAX_SHOWN = 200

/** The explanation with what tokens said in front of it, and as its verdict where that was a refusal. `found`: what the filter has told others; null: nothing. */
export function withTokens(
  explanation: Explanation,
  taken: Int32Array,
  filter: JwtAuthentication,
  found: JsonObject | null,
): Explanation {
  for (let i = 0; i + 2 < taken.length; i += 3) {
    if (taken[i] !== S.JWT) continue
    const status = taken[i + 1] as number
    if (status === OK) return withStep(explanation, stepOf(whoText(filter, found), null))
    return refused(
      explanation,
      stepOf(refusalText(filter, status, taken[i + 2] as number), providerOf(filter, taken[i + 2] as number)),
    )
  }
  return explanation
}

function providerOf({ providers }: JwtAuthentication, index: number): JwtProvider | null {
  return providers[index] ?? null
}

function stepOf(text: string, provider: JwtProvider | null): ExplainedStep {
  const known = provider !== null && provider.origin.kind !== 'default'
  return { step: 'token', text: `token: ${text}`, condition: null, object: known ? refOf(provider.origin) : null }
}

function withStep(explanation: Explanation, step: ExplainedStep): Explanation {
  const objects = step.object === null ? [] : [{ role: 'token', ...step.object }]
  return { ...explanation, objects: [...explanation.objects, ...objects], steps: [step, ...explanation.steps] }
}

function refused(explanation: Explanation, step: ExplainedStep): Explanation {
  const all = withStep(explanation, step)
  const text = `denied: answered ${explanation.answer?.status ?? 401}; nothing went further`
  const verdict: ExplainedStep = { step: 'verdict', text, condition: null, object: null }
  return { ...all, verdict: 'denied', sends: null, steps: [...all.steps.slice(0, -1), verdict] }
}

function whoText({ providers }: JwtAuthentication, found: JsonObject | null): string {
  const names = [...new Set(providers.map((p) => p.payloadMetadata))]
  const claims = names.map((name) => found?.[name]).find((c) => c !== undefined) as JsonObject | undefined
  if (found === null) return 'there was none, and none is required of all'
  if (claims === undefined) return 'it is valid; who the client is by it is told to nobody'
  return `it is valid: the client is ${shown(claims, 'sub')} of ${shown(claims, 'iss')}`
}

function shown(claims: JsonObject, name: string): string {
  const value = claimAt(claims, name)
  if (typeof value !== 'string') return `(no ${name})`
  return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value)
}

function refusalText(filter: JwtAuthentication, status: number, index: number): string {
  const provider = providerOf(filter, index)
  if (provider === null) return `refused: ${statusText(status)}`
  const issuer = provider.issuer === '' ? 'any issuer' : `the issuer ${provider.issuer}`
  const by = provider.origin.kind === 'default' ? `provider ${provider.name}` : originText(provider.origin)
  return `refused: ${statusText(status)}; it was held against ${issuer} (${by})`
}

// RequestAuthentication. Istio ValidateRequestAuthentication, and the schema that Istio gives to the API server.
import type { Path, Report } from '../finding.ts'
import type { JwtRuleSpec, RequestAuthenticationSpec } from '../schema/request-authentication.ts'
import { checkPolicyTarget } from './policy-target.ts'
import { checkDuration } from './values.ts'

const MAX_RULES = 4096
const MAX_URI = 2048
const MAX_SPACE_DELIMITED = 64
/** As Istio has it: a token of RFC 9110 has more. */
const HEADER_NAME = /^[-_A-Za-z0-9]+$/

export function validateRequestAuthentication(spec: RequestAuthenticationSpec, report: Report): void {
  const { jwtRules: rules = [] } = spec
  checkPolicyTarget(spec, report)
  if (rules.length > MAX_RULES) report(['jwtRules'], `expected ${MAX_RULES} rules at most, found ${rules.length}`)
  for (const [i, rule] of rules.entries()) checkRule(rule, ['jwtRules', i], report)
}

function checkRule(rule: JwtRuleSpec, path: Path, report: Report): void {
  if ((rule.issuer ?? '') === '') report(path, 'expected `issuer`: what `iss` of a token has to be')
  checkTexts(rule.audiences, [...path, 'audiences'], 'an audience', report)
  checkKeys(rule, path, report)
  for (const [i, { name = '' }] of (rule.fromHeaders ?? []).entries())
    checkName(name, [...path, 'fromHeaders', i, 'name'], report)
  checkTexts(rule.fromParams, [...path, 'fromParams'], 'the name of a query parameter', report)
  checkTexts(rule.fromCookies, [...path, 'fromCookies'], 'the name of a cookie', report)
  if ((rule.outputPayloadToHeader ?? '') !== '')
    checkName(rule.outputPayloadToHeader ?? '', [...path, 'outputPayloadToHeader'], report)
  for (const [i, { header = '', claim = '' }] of (rule.outputClaimToHeaders ?? []).entries()) {
    const at = [...path, 'outputClaimToHeaders', i]
    if (claim === '') report(at, 'expected the name of a claim in `claim`')
    checkName(header, [...at, 'header'], report)
  }
  checkDuration(rule.timeout, [...path, 'timeout'], report)
  const spaced = rule.spaceDelimitedClaims ?? []
  checkTexts(spaced, [...path, 'spaceDelimitedClaims'], 'the name of a claim', report)
  if (spaced.length > MAX_SPACE_DELIMITED)
    report([...path, 'spaceDelimitedClaims'], `expected ${MAX_SPACE_DELIMITED} at most, found ${spaced.length}`)
}

function checkTexts(values: readonly string[] | undefined, path: Path, what: string, report: Report): void {
  for (const [i, value] of (values ?? []).entries())
    if (value === '') report([...path, i], `expected ${what}, found an empty text`)
}

function checkName(name: string, path: Path, report: Report): void {
  if (!HEADER_NAME.test(name)) report(path, `expected the name of a header: letters, digits, \`-\` and \`_\`; found \`${name}\``)
}

function checkKeys({ jwks = '', jwksUri, jwks_uri: older }: JwtRuleSpec, path: Path, report: Report): void {
  const uri = jwksUri ?? older ?? ''
  const field = jwksUri === undefined && older !== undefined ? 'jwks_uri' : 'jwksUri'
  if (jwks !== '' && uri !== '')
    report([...path, field], 'jwks and jwksUri cannot both be set: keys are written out, or fetched', true)
  if (uri !== '') {
    if (uri.length > MAX_URI) report([...path, field], `expected ${MAX_URI} characters at most, found ${uri.length}`)
    else if (!isHttpAddress(uri))
      report([...path, field], `expected an address that begins with http:// or https://, found \`${uri}\``)
  }
  if (jwks !== '') checkJwks(jwks, [...path, 'jwks'], report)
}

export function isHttpAddress(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname } = new URL(text)
  return (protocol === 'http:' || protocol === 'https:') && hostname !== ''
}

function checkJwks(jwks: string, path: Path, report: Report): void {
  let set: unknown
  try {
    set = JSON.parse(jwks)
  } catch (error) {
    report(path, `expected a JSON Web Key Set: it is no JSON (${(error as Error).message})`)
    return
  }
  const keys = typeof set === 'object' && set !== null ? (set as { keys?: unknown }).keys : undefined
  if (!Array.isArray(keys)) report(path, 'expected a JSON Web Key Set: an object with a list `keys`')
}

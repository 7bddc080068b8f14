// Values of an AuthorizationPolicy's fields. Istio pkg/config/security.
import { isIP } from 'node:net'
import { parsePrefix } from '../../base/ip-prefix.ts'
import type { Path, Report } from '../finding.ts'

type Values = readonly string[] | undefined

const MAX_ACCOUNTS = 16
const MAX_ACCOUNT_LENGTH = 320

export function checkFilled(values: Values, path: Path, report: Report): void {
  for (const [i, value] of (values ?? []).entries())
    if (value === '') report([...path, i], 'the value is empty; `*` asks only that there is one')
}

/** A CIDR, or an address alone. */
export function checkIps(values: Values, path: Path, report: Report): void {
  for (const [i, value] of (values ?? []).entries()) {
    const ok = value.includes('/') ? parsePrefix(value) !== null : isIP(value) !== 0 && !value.includes('%')
    if (!ok && value !== '') report([...path, i], `expected an address or a CIDR such as 10.1.0.0/16, found \`${value}\``)
  }
}

export function checkPorts(values: Values, path: Path, report: Report): void {
  for (const [i, value] of (values ?? []).entries())
    if (value !== '' && (!/^\d+$/.test(value) || Number(value) > 65_535))
      report([...path, i], `expected a port from 0 to 65535, found \`${value}\``)
}

/** `name` of the policy's namespace, or `namespace/name`. */
export function checkAccounts(values: Values, path: Path, report: Report): void {
  if ((values ?? []).length > MAX_ACCOUNTS) report(path, `expected ${MAX_ACCOUNTS} at most, found ${values?.length}`)
  for (const [i, value] of (values ?? []).entries()) {
    if (value === '') continue
    if (value.includes('*')) report([...path, i], `service accounts have no wildcards, found \`${value}\``)
    else if (!/^[^/]+(?:\/[^/]+)?$/.test(value))
      report([...path, i], `expected \`name\` or \`namespace/name\`, found \`${value}\``)
    else if (value.length > MAX_ACCOUNT_LENGTH)
      report([...path, i], `expected ${MAX_ACCOUNT_LENGTH} characters at most, found ${value.length}`)
  }
}

/** One wildcard, at an end. `slash`: a slash is looked for. */
export function checkTrustDomains(values: Values, slash: boolean, path: Path, report: Report): void {
  for (const [i, value] of (values ?? []).entries()) {
    if (slash && value.includes('/')) report([...path, i], `a trust domain has no \`/\`, found \`${value}\``)
    const stars = value.split('*').length - 1
    if (stars > 1 || (stars === 1 && !value.startsWith('*') && !value.endsWith('*')))
      report([...path, i], `expected one \`*\` at most, at the begin or the end, found \`${value}\``)
  }
}

export function isPathTemplate(value: string): boolean {
  return value.includes('{*}') || value.includes('{**}')
}

const LITERAL = /^[a-zA-Z0-9\-._~%!$&'()+,;:@=]+$/

/** `{*}` and `{**}` fill a segment alone, `{**}` is the last of them, and there are no other braces. */
export function checkPathTemplates(values: Values, path: Path, report: Report): void {
  for (const [i, value] of (values ?? []).entries()) {
    const problem = templateProblem(value)
    if (problem !== null) report([...path, i], `${problem}, found \`${value}\``)
  }
}

function templateProblem(value: string): string | null {
  const isTemplate = isPathTemplate(value)
  let last = false
  for (const segment of value.replace(/^\/+|\/+$/g, '').split('/')) {
    if (segment === '{*}' || segment === '{**}') {
      if (last) return 'nothing that stands for segments can follow `{**}`'
      last = segment === '{**}'
    } else if (/[{}]/.test(segment)) return 'braces are for `{*}` and `{**}`, each of which fills a segment alone'
    else if (isTemplate && !LITERAL.test(segment))
      return 'in a path with `{*}` or `{**}` a segment has characters of a path only, at least one, and no `*`'
  }
  return null
}

// loadBalancer.consistentHash of a DestinationRule (Istio LoadBalancerSettings.ConsistentHashLB).
import type { Path, Report } from '../finding.ts'
import type { LoadBalancerSpec } from '../schema/destination-rule.ts'
import { checkDuration, checkRange, headerNameProblem } from './values.ts'

type HashSpec = NonNullable<LoadBalancerSpec['consistentHash']>
type CookieSpec = NonNullable<HashSpec['httpCookie']>

/** Envoy's bound for both sizes of a ring. */
const MAX_RING_SIZE = 8_388_608
const MAX_TABLE_SIZE = 5_000_011

export function checkConsistentHash(hash: HashSpec, path: Path, report: Report): void {
  checkOnlyOne(hash, ['httpHeaderName', 'httpCookie', 'useSourceIp', 'httpQueryParameterName'], path, report)
  checkOnlyOne(hash, ['ringHash', 'maglev', 'minimumRingSize'], path, report)
  const header = hash.httpHeaderName === undefined ? null : headerNameProblem(hash.httpHeaderName)
  if (header !== null) report([...path, 'httpHeaderName'], header)
  if (hash.httpQueryParameterName === '') report([...path, 'httpQueryParameterName'], 'the name of the parameter is empty')
  if (hash.httpCookie !== undefined) checkCookie(hash.httpCookie, [...path, 'httpCookie'], report)
  checkRange(hash.ringHash?.minimumRingSize, 0, MAX_RING_SIZE, [...path, 'ringHash', 'minimumRingSize'], report)
  checkRange(hash.minimumRingSize, 0, MAX_RING_SIZE, [...path, 'minimumRingSize'], report)
  if (hash.maglev !== undefined) checkTableSize(hash.maglev.tableSize, [...path, 'maglev'], report)
}

function checkOnlyOne(hash: HashSpec, fields: readonly (keyof HashSpec)[], path: Path, report: Report): void {
  const set = fields.filter((field) => hash[field] !== undefined)
  const [, second] = set
  if (second !== undefined)
    report([...path, second], `only one of ${fields.join(', ')} can be set, found ${set.join(' and ')}`, true)
}

function checkTableSize(size: number | undefined, path: Path, report: Report): void {
  if ((size ?? 0) > MAX_TABLE_SIZE) report([...path, 'tableSize'], `expected at most ${MAX_TABLE_SIZE}, found ${size}`)
  else if (!isPrime(size ?? 0))
    report(path, `maglev needs a \`tableSize\` that is a prime number, such as 65537, found ${size ?? 'none'}`)
}

function isPrime(n: number): boolean {
  if (n < 2) return false
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false
  return true
}

function checkCookie(cookie: CookieSpec, path: Path, report: Report): void {
  if ((cookie.name ?? '') === '') report(path, 'the cookie needs a `name`')
  else checkText(cookie.name, [...path, 'name'], report)
  checkText(cookie.path, [...path, 'path'], report)
  checkDuration(cookie.ttl, [...path, 'ttl'], report, 0)
  const names = new Set<string>()
  for (const [i, { name = '', value }] of (cookie.attributes ?? []).entries()) {
    const at = [...path, 'attributes', i]
    if (name === '') report(at, 'the attribute needs a `name`')
    else if (names.has(name)) report([...at, 'name'], `the attribute \`${name}\` is listed twice`)
    names.add(name)
    checkText(name, [...at, 'name'], report)
    checkText(value, [...at, 'value'], report)
  }
}

/** It is written into a response header, where these would end the cookie or the line. */
function checkText(text: string | undefined, path: Path, report: Report): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (text !== undefined && /[\u0000-\u001f\u007f;]/.test(text)) report(path, 'cannot hold a semicolon or a control character')
}

// Host names, labels, namespaces, ports and addresses as Istio's validator takes them.
import { isIP } from 'node:net'
import type { Path, Report } from '../finding.ts'

const LABEL = /^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$/
const WILDCARD_LABEL = /^(?:\*|(?:\*|\*-)?[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)$/

export function isDnsLabel(text: string): boolean {
  return text.length <= 63 && LABEL.test(text)
}

/** null when fine, else what is wrong. One dot at the end is allowed; a wildcard only as (the beginning of) the first label. */
export function hostProblem(host: string, wildcardAllowed: boolean): string | null {
  if (host === '') return 'the host is empty'
  if (host.length > 255) return 'the host is longer than 255 characters'
  const labels = (host.endsWith('.') ? host.slice(0, -1) : host).split('.')
  for (const [i, label] of labels.entries()) {
    const fits = i === 0 && wildcardAllowed ? WILDCARD_LABEL.test(label) && label.length <= 64 : isDnsLabel(label)
    if (fits) continue
    if (/^.+:\d+$/.test(label))
      return `\`${host}\` is no host name: leave the port out, match.port and destination.port.number hold ports`
    if (label.includes('*')) return `\`${host}\` is no host name: a wildcard can only be the first label, as in \`*.example.com\``
    return `\`${host}\` is no host name: the part \`${label}\` must be letters, digits and \`-\` (RFC 1123)`
  }
  return null
}

/** Istio host.Name.Matches: whether the sets of names that two hosts stand for overlap. */
export function hostsOverlap(a: string, b: string): boolean {
  if (a.startsWith('*') && b.startsWith('*')) return a.length < b.length ? b.endsWith(a.slice(1)) : a.endsWith(b.slice(1))
  if (a.startsWith('*')) return b.endsWith(a.slice(1))
  if (b.startsWith('*')) return a.endsWith(b.slice(1))
  return a === b
}

export function checkPort(port: number | undefined, path: Path, report: Report): void {
  if (port === undefined || port < 1 || port > 65_535) report(path, `expected a port from 1 to 65535, found ${port ?? 'none'}`)
}

/** exportTo: `.`, `*` or namespaces, without duplicates; `*` alone; `~` (nobody) where `nobodyAllowed`, alone too. */
export function checkExportTo(exportTo: readonly string[] | undefined, path: Path, nobodyAllowed: boolean, report: Report): void {
  const seen = new Set<string>()
  for (const [i, entry] of (exportTo ?? []).entries()) {
    const at = [...path, i]
    if (seen.has(entry)) report(at, `\`${entry}\` is listed twice`)
    seen.add(entry)
    if (entry === '~' && !nobodyAllowed) report(at, '`~` (nobody) is only for ServiceEntry; write `.` for the own namespace')
    else if (!['.', '*', '~'].includes(entry) && !isDnsLabel(entry)) {
      report(at, `expected \`.\` (own namespace), \`*\` (all) or a namespace, found \`${entry}\``)
    }
    if ((entry === '*' || entry === '~') && (exportTo?.length ?? 0) > 1) report(at, `\`${entry}\` must stand alone`)
  }
}

export function isAddress(text: string): boolean {
  return isIP(text) !== 0
}

/** `10.0.0.0/8`; also a plain address when `bare`. */
export function isCidr(text: string, bare: boolean): boolean {
  const slash = text.indexOf('/')
  if (slash < 0) return bare && isAddress(text)
  const family = isIP(text.slice(0, slash))
  const bits = text.slice(slash + 1)
  return family !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
}

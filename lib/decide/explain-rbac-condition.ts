// A condition of authorization that did not hold: what it is about, what was seen and what was wanted.
import type { RbacFacts } from '../policy/rbac-facts.ts'
import { valueAt } from '../route/compiled-value.ts'
import type { RbacMatch } from '../state/rbac.ts'
import { JWT_METADATA, type StringMatch, type ValueMatch } from '../state/route.ts'
import type { ExplainedCondition } from './explanation.ts'

export function rbacCondition(m: RbacMatch, facts: RbacFacts): ExplainedCondition {
  const leaf = firstLeaf(m)
  return { field: fieldOf(leaf), seen: seenOf(leaf, facts), wanted: wantedOf(m) }
}

function firstLeaf(m: RbacMatch): RbacMatch {
  if (m.kind === 'not') return firstLeaf(m.of)
  const [first] = m.kind === 'and' || m.kind === 'or' ? m.of : []
  return first === undefined ? m : firstLeaf(first)
}

/** As an AuthorizationPolicy calls it. */
function fieldOf(m: RbacMatch): string {
  switch (m.kind) {
    case 'header':
      return m.header.field
    case 'path':
    case 'pathTemplate':
      return 'path'
    case 'destinationIp':
      return 'destination.ip'
    case 'destinationPort':
      return 'port'
    case 'requestedServerName':
      return 'connection.sni'
    case 'authenticated':
    case 'filterState':
      return 'principal'
    case 'directRemoteIp':
      return 'source.ip'
    case 'remoteIp':
      return 'remote.ip'
    case 'metadata':
      return m.filter === JWT_METADATA ? `request.auth.claims${bracketed(m.path.slice(1))}` : `${m.filter}${bracketed(m.path)}`
    default:
      return 'anything'
  }
}

function bracketed(path: readonly string[]): string {
  return path.map((name) => `[${name}]`).join('')
}

function seenOf(m: RbacMatch, f: RbacFacts): string {
  switch (m.kind) {
    case 'header':
      return quoted(f.request === null ? [] : headerValues(m.header.name, f.request))
    case 'path':
    case 'pathTemplate':
      return quoted(f.path === null ? [] : [f.path])
    case 'destinationPort':
      return String(f.destinationPort)
    case 'requestedServerName':
      return quoted(f.serverName === '' ? [] : [f.serverName])
    case 'authenticated':
      return quoted(f.peerNames ?? [])
    case 'filterState':
      return quoted([f.filterState(m.key)].filter((text) => text !== null))
    case 'destinationIp':
      return ipText(f.destinationIp)
    case 'directRemoteIp':
      return ipText(f.directRemoteIp)
    case 'remoteIp':
      return ipText(f.remoteIp)
    case 'metadata': {
      const value = valueAt(f.metadata(m.filter), m.path)
      return value === undefined ? 'nothing' : JSON.stringify(value)
    }
    default:
      return 'it'
  }
}

function headerValues(name: string, request: NonNullable<RbacFacts['request']>): string[] {
  if (name === ':method') return [request.method]
  if (name === ':authority') return [request.authority]
  if (name === ':scheme') return [request.scheme]
  const values: string[] = []
  for (let i = request.headers.indexOf(name, 0); i >= 0; i = request.headers.indexOf(name, i + 1))
    values.push(request.headers.valueAt(i))
  return values
}

function quoted(texts: readonly string[]): string {
  return texts.length === 0 ? 'nothing' : texts.map((t) => JSON.stringify(t)).join(', ')
}

function ipText(ip: RbacFacts['remoteIp']): string {
  if (ip === null) return 'nothing'
  if (!ip.v6) return [24, 16, 8, 0].map((bits) => (ip.d >>> bits) & 255).join('.')
  const groups = [ip.a, ip.b, ip.c, ip.d].flatMap((word) => [(word >>> 16).toString(16), (word & 0xffff).toString(16)])
  return groups.join(':')
}

function wantedOf(m: RbacMatch): string {
  switch (m.kind) {
    case 'any':
      return 'anything'
    case 'and':
      return m.of.map(wantedOf).join(' and ')
    case 'or':
      return m.of.length === 0 ? 'what is never there' : m.of.map(wantedOf).join(' or ')
    case 'not':
      return `not ${m.of.kind === 'or' && m.of.of.length > 1 ? `(${wantedOf(m.of)})` : wantedOf(m.of)}`
    case 'header':
      return `${m.header.invert ? 'not ' : ''}${matchText(m.header.match)}`
    case 'path':
    case 'requestedServerName':
    case 'filterState':
      return matchText(m.match)
    case 'authenticated':
      return m.match === null ? 'any certificate' : matchText(m.match)
    case 'pathTemplate':
      return `template ${m.template}`
    case 'destinationPort':
      return m.first === m.last ? String(m.first) : `${m.first} to ${m.last}`
    case 'destinationIp':
    case 'directRemoteIp':
    case 'remoteIp':
      return `${m.prefix.address}/${m.prefix.length}`
    case 'metadata':
      return `${m.invert ? 'not ' : ''}${valueText(m.value)}`
  }
}

function matchText({ kind, value }: StringMatch): string {
  return kind === 'present' || (kind === 'regex' && value === '.+') ? 'any' : `${kind} ${JSON.stringify(value)}`
}

function valueText(v: ValueMatch): string {
  switch (v.kind) {
    case 'text':
      return matchText(v.match)
    case 'or':
      // A claim that is a text or a list of them is asked for twice.
      return [...new Set(v.of.map(valueText))].join(' or ')
    case 'element':
      return valueText(v.of)
    case 'number':
      return v.first === v.end ? String(v.first) : `${v.first} to ${v.end}`
    case 'bool':
      return String(v.value)
    case 'null':
      return 'null'
    case 'present':
      return 'any'
  }
}

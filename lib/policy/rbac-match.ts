// Hot lane: the conditions of authorization, evaluated for each request until one decides. Compiled when configuration changes to small objects
// with integer kinds; none but those that read an address or a token allocates anything.
import { type IpNumber, PrefixSet } from '../base/ip-prefix.ts'
import { CompiledText } from '../route/compiled-text.ts'
import { CompiledValue, valueAt } from '../route/compiled-value.ts'
import { CompiledHeader } from '../route/conditions.ts'
import type { RbacMatch } from '../state/rbac.ts'
import { PathTemplate } from './path-template.ts'
import type { RbacFacts } from './rbac-facts.ts'

const NEVER = 0
const ALWAYS = 1
const AND = 2
const OR = 3
const NOT = 4
const HEADER = 5
const PATH = 6
const PATH_TEMPLATE = 7
const DESTINATION_IP = 8
const DESTINATION_PORT = 9
const SERVER_NAME = 10
const AUTHENTICATED = 11
const FILTER_STATE = 12
const DIRECT_REMOTE_IP = 13
const REMOTE_IP = 14
const METADATA = 15

const KINDS = {
  any: ALWAYS,
  and: AND,
  or: OR,
  not: NOT,
  header: HEADER,
  path: PATH,
  pathTemplate: PATH_TEMPLATE,
  destinationIp: DESTINATION_IP,
  destinationPort: DESTINATION_PORT,
  requestedServerName: SERVER_NAME,
  authenticated: AUTHENTICATED,
  filterState: FILTER_STATE,
  directRemoteIp: DIRECT_REMOTE_IP,
  remoteIp: REMOTE_IP,
  metadata: METADATA,
} as const satisfies Readonly<Record<RbacMatch['kind'], number>>

export class CompiledMatch {
  readonly kind: number
  readonly of: readonly CompiledMatch[]
  readonly header: CompiledHeader | null
  /** null with AUTHENTICATED: whichever. */
  readonly text: CompiledText | null
  readonly template: PathTemplate | null
  readonly prefixes: PrefixSet | null
  readonly first: number
  readonly last: number
  /** Of FILTER_STATE the key, of METADATA the filter. */
  readonly key: string
  readonly path: readonly string[]
  readonly value: CompiledValue | null
  readonly invert: boolean

  constructor(kind: number, of: readonly CompiledMatch[], m: RbacMatch) {
    this.kind = kind
    this.of = of
    this.header = m.kind === 'header' ? new CompiledHeader(m.header) : null
    this.text = 'match' in m && m.match !== null ? new CompiledText(m.match) : null
    this.template = m.kind === 'pathTemplate' ? new PathTemplate(m.template) : null
    this.prefixes = 'prefix' in m ? new PrefixSet([m.prefix]) : null
    this.first = m.kind === 'destinationPort' ? m.first : 0
    this.last = m.kind === 'destinationPort' ? m.last : 0
    this.key = m.kind === 'filterState' ? m.key : m.kind === 'metadata' ? m.filter : ''
    this.path = m.kind === 'metadata' ? m.path : []
    this.value = m.kind === 'metadata' ? new CompiledValue(m.value) : null
    this.invert = m.kind === 'metadata' && m.invert
  }

  holds(f: RbacFacts): boolean {
    switch (this.kind) {
      case ALWAYS:
        return true
      case AND:
        return this.all(f)
      case OR:
        return this.any(f)
      case NOT:
        return !(this.of[0] as CompiledMatch).holds(f)
      case HEADER:
        return f.request !== null && (this.header as CompiledHeader).holds(f.request)
      case PATH:
        return f.path !== null && (this.text as CompiledText).holds(f.path)
      case PATH_TEMPLATE:
        return f.path !== null && (this.template as PathTemplate).holds(f.path)
      case DESTINATION_PORT:
        return f.destinationPort >= this.first && f.destinationPort <= this.last
      case DESTINATION_IP:
        return this.has(f.destinationIp)
      case DIRECT_REMOTE_IP:
        return this.has(f.directRemoteIp)
      case REMOTE_IP:
        return this.has(f.remoteIp)
      case SERVER_NAME:
        return (this.text as CompiledText).holds(f.serverName)
      case AUTHENTICATED:
        return this.isPeer(f.peerNames)
      case FILTER_STATE:
        return this.isState(f.filterState(this.key))
      case METADATA:
        return (this.value as CompiledValue).holds(valueAt(f.metadata(this.key), this.path)) !== this.invert
      default:
        return false
    }
  }

  private all(f: RbacFacts): boolean {
    const { of } = this
    for (let i = 0; i < of.length; i++) if (!(of[i] as CompiledMatch).holds(f)) return false
    return true
  }

  private any(f: RbacFacts): boolean {
    const { of } = this
    for (let i = 0; i < of.length; i++) if ((of[i] as CompiledMatch).holds(f)) return true
    return false
  }

  private has(ip: IpNumber | null): boolean {
    return ip !== null && (this.prefixes as PrefixSet).contains(ip)
  }

  private isState(text: string | null): boolean {
    return text !== null && (this.text as CompiledText).holds(text)
  }

  private isPeer(names: readonly string[] | null): boolean {
    if (names === null) return false
    if (this.text === null) return true
    for (let i = 0; i < names.length; i++) if (this.text.holds(names[i] as string)) return true
    return false
  }
}

/** Lists of one are that one, and what is always or never true does not have to be asked. */
export function compileMatch(m: RbacMatch): CompiledMatch {
  switch (m.kind) {
    case 'and':
      return list(m, ALWAYS, NEVER, m.of)
    case 'or':
      return list(m, NEVER, ALWAYS, m.of)
    case 'not': {
      const of = compileMatch(m.of)
      return of.kind === ALWAYS ? constant(NEVER, m) : of.kind === NEVER ? constant(ALWAYS, m) : new CompiledMatch(NOT, [of], m)
    }
    default:
      return new CompiledMatch(KINDS[m.kind], [], m)
  }
}

/** `unit` is what an empty list is, and adds nothing to another; with `zero` in it the list is that. */
function list(m: RbacMatch, unit: number, zero: number, of: readonly RbacMatch[]): CompiledMatch {
  const parts = of.map(compileMatch).filter((c) => c.kind !== unit)
  if (parts.some((c) => c.kind === zero)) return constant(zero, m)
  const [first] = parts
  if (first === undefined) return constant(unit, m)
  return parts.length === 1 ? first : new CompiledMatch(KINDS[m.kind], parts, m)
}

function constant(kind: number, m: RbacMatch): CompiledMatch {
  return new CompiledMatch(kind, [], m)
}

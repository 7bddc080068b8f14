// Hot lane: `compute` runs for each request of a route with hash policies to a cluster that balances by hash (Envoy HashPolicyImpl). What is
// hashed is the request as it will be sent: Envoy makes the route's edits before it picks an endpoint.
import { canonicalIp, ipOf, unmapped } from '../base/ip-address.ts'
import { XxHash64 } from '../base/xx-hash64.ts'
import type { PickContext } from '../cluster/lb/picker.ts'
import type { HashPolicy } from '../state/route.ts'
import type { CompiledRoute, CompiledWeighted } from './compiled-route.ts'
import { pathWithQuery, queryParameter, queryValue } from './conditions.ts'
import { cookieIn, cookieTail } from './cookie.ts'
import { applyEdits, type CompiledEdits, isConstant, mayEdit } from './header-edits.ts'
import type { EditContext } from './header-operators.ts'
import type { EditableHeaders, HeaderView, RequestView } from './request-view.ts'
import { rewriteTarget } from './rewrite.ts'

/** What a hash may be made of. */
export interface HashFacts {
  readonly request: RequestView
  /** The client's connection, and what edits of the hashed header read; null: not known. */
  readonly context: EditContext | null
}

const HEADER = 0
/** A pseudo-header. */
const PSEUDO = 1
const COOKIE = 2
const SOURCE_IP = 3
const QUERY = 4

const PSEUDO_NAMES: ReadonlySet<string> = new Set([':method', ':scheme', ':authority', ':path', 'host'])

interface CompiledPolicy {
  readonly kind: number
  /** Headers in lower case, cookies and parameters as written. */
  readonly name: string
  /** The route changes the header that this is read from. */
  readonly edited: boolean
  /** What a Set-Cookie field ends with; null: none is made. */
  readonly cookieTail: string | null
}

/** The hash policies of one route. What it has computed stays until the next request of the route. */
export class RouteHash {
  readonly configs: readonly HashPolicy[]
  /** Policies that had something to hash, a bit each; those from the 32nd on are not noted. */
  used: number
  /** Those that made a cookie. */
  made: number
  /** Value of the cookies that were made; empty for none. It is the same for all requests of a connection. */
  cookie: string
  private readonly policies: readonly CompiledPolicy[]
  private readonly hash: XxHash64

  constructor(configs: readonly HashPolicy[], edits: readonly (CompiledEdits | null)[]) {
    this.configs = configs
    this.used = 0
    this.made = 0
    this.cookie = ''
    this.policies = configs.map((config) => compilePolicy(config, edits))
    this.hash = new XxHash64()
  }

  /** Fills the hash of `pick`. Policies are combined in their order; without anything to hash there is none. */
  compute(facts: HashFacts, route: CompiledRoute, weighted: CompiledWeighted, pick: PickContext): void {
    const { policies, hash } = this
    this.used = 0
    this.made = 0
    this.cookie = ''
    let hashed = false
    let high = 0
    let low = 0
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as CompiledPolicy
      if (!this.evaluate(policy, i, facts, route, weighted)) continue
      if (i < 32) this.used |= 1 << i
      if (hashed) {
        // Rotated, so that two policies for the same thing do not cancel each other out.
        const carry = high >>> 31
        high = ((high << 1) | (low >>> 31)) ^ hash.high
        low = ((low << 1) | carry) ^ hash.low
      } else {
        high = hash.high
        low = hash.low
        hashed = true
      }
    }
    pick.hashed = hashed
    pick.hashHigh = high >>> 0
    pick.hashLow = low >>> 0
  }

  /** The Set-Cookie values of the policies in `made`, each once. */
  setCookies(made: number, value: string): readonly string[] {
    const found: string[] = []
    for (let i = 0; i < this.policies.length && i < 32; i++) {
      if ((made & (1 << i)) === 0) continue
      const { name, cookieTail: tail } = this.policies[i] as CompiledPolicy
      const text = `${name}="${value}"${tail ?? ''}`
      // Destinations of one service bring the same policy several times.
      if (!found.includes(text)) found.push(text)
    }
    return found
  }

  private evaluate(policy: CompiledPolicy, index: number, facts: HashFacts, route: CompiledRoute, to: CompiledWeighted): boolean {
    const { request } = facts
    switch (policy.kind) {
      case PSEUDO:
        return this.take(pseudoHeader(policy.name, request, route, to))
      case HEADER:
        return this.takeHeader(policy.edited ? editedHeader(policy.name, facts, route, to) : request.headers, policy.name)
      case COOKIE:
        return this.takeCookie(policy, index, facts, policy.edited ? editedHeader('cookie', facts, route, to) : request.headers)
      case SOURCE_IP: {
        const ip = clientIp(request.headers, facts.context)
        return ip !== '' && this.take(ip)
      }
      default: {
        const { query } = request
        const at = query === null ? -1 : queryParameter(query, policy.name)
        return query !== null && at >= 0 && this.take(queryValue(query, policy.name, at))
      }
    }
  }

  private take(text: string): boolean {
    this.hash.hash(text)
    return true
  }

  private takeHeader(headers: HeaderView, name: string): boolean {
    const first = headers.indexOf(name, 0)
    if (first < 0) return false
    const second = headers.indexOf(name, first + 1)
    if (second < 0) return this.take(headers.valueAt(first))
    const values = [headers.valueAt(first)]
    for (let i = second; i >= 0; i = headers.indexOf(name, i + 1)) values.push(headers.valueAt(i))
    // In whichever order they came; each is hashed with the hash of those before as its seed.
    values.sort()
    const { hash } = this
    hash.hash(values[0] as string)
    for (let i = 1; i < values.length; i++) hash.hash(values[i] as string, hash.high, hash.low)
    return true
  }

  private takeCookie(policy: CompiledPolicy, index: number, facts: HashFacts, headers: HeaderView): boolean {
    let value: string | null = null
    for (let i = headers.indexOf('cookie', 0); i >= 0 && value === null; i = headers.indexOf('cookie', i + 1)) {
      value = cookieIn(headers.valueAt(i), policy.name)
    }
    if (value !== null && value !== '') return this.take(value)
    const { context } = facts
    if (policy.cookieTail === null || context === null) return false
    // From the addresses of the connection: requests that race on it all make the same cookie, and a decision stays without chance.
    if (this.cookie === '') {
      this.take(unmapped(context.downstreamRemoteAddress) + unmapped(context.downstreamLocalAddress))
      this.cookie = hex(this.hash.high) + hex(this.hash.low)
    }
    if (index < 32) this.made |= 1 << index
    return this.take(this.cookie)
  }
}

function compilePolicy(config: HashPolicy, edits: readonly (CompiledEdits | null)[]): CompiledPolicy {
  const edited = (name: string): boolean => edits.some((e) => e !== null && mayEdit(e, name))
  switch (config.kind) {
    case 'header': {
      const name = config.name.toLowerCase()
      return { kind: PSEUDO_NAMES.has(name) ? PSEUDO : HEADER, name, edited: edited(name), cookieTail: null }
    }
    case 'cookie':
      return {
        kind: COOKIE,
        name: config.name,
        edited: edited('cookie'),
        cookieTail: config.ttlSeconds < 0 ? null : cookieTail(config),
      }
    case 'sourceIp':
      return { kind: SOURCE_IP, name: '', edited: false, cookieTail: null }
    case 'query':
      return { kind: QUERY, name: config.name, edited: false, cookieTail: null }
  }
}

function pseudoHeader(name: string, request: RequestView, route: CompiledRoute, to: CompiledWeighted): string {
  const { action } = route
  switch (name) {
    case ':method':
      return request.method
    case ':scheme':
      return request.scheme
    case ':path':
      return route.pathRewrite === null ? pathWithQuery(request) : rewriteTarget(route, request.path, request.query)
    default: {
      const rewritten = action.kind === 'forward' && action.hostRewrite !== '' ? action.hostRewrite : to.hostRewrite
      return rewritten === '' ? request.authority : rewritten
    }
  }
}

/** The values of one header after the edits of the destination and then of the route. */
function editedHeader(name: string, facts: HashFacts, route: CompiledRoute, to: CompiledWeighted): HeaderView {
  const header = new OneHeader(name, facts.request.headers)
  for (const edits of [to.requestEdits, route.requestEdits]) {
    if (edits !== null && (facts.context !== null || isConstant(edits))) applyEdits(edits, header, facts.context as EditContext)
  }
  return header
}

/** A copy of the fields of one name; edits of others pass by. */
class OneHeader implements EditableHeaders {
  private readonly name: string
  private readonly values: string[]

  constructor(name: string, from: HeaderView) {
    this.name = name
    this.values = []
    for (let i = from.indexOf(name, 0); i >= 0; i = from.indexOf(name, i + 1)) this.values.push(from.valueAt(i))
  }

  get(name: string): string | null {
    return name === this.name ? (this.values[0] ?? null) : null
  }

  indexOf(name: string, from: number): number {
    return name === this.name && from < this.values.length ? from : -1
  }

  valueAt(index: number): string {
    return this.values[index] as string
  }

  remove(name: string): void {
    if (name === this.name) this.values.length = 0
  }

  set(name: string, value: string): void {
    this.remove(name)
    this.add(name, value)
  }

  add(name: string, value: string): void {
    if (name === this.name) this.values.push(value)
  }
}

/** A sidecar takes the last address of X-Forwarded-For, when it is one, for its client's (Envoy use_remote_address: false). */
function clientIp(headers: HeaderView, context: EditContext | null): string {
  let last = -1
  for (let i = headers.indexOf('x-forwarded-for', 0); i >= 0; i = headers.indexOf('x-forwarded-for', i + 1)) last = i
  if (last >= 0) {
    const value = headers.valueAt(last)
    const forwarded = canonicalIp(value.substring(value.lastIndexOf(',') + 1).trim())
    if (forwarded !== null) return forwarded
  }
  return context === null ? '' : ipOf(context.downstreamRemoteAddress)
}

function hex(half: number): string {
  return half.toString(16).padStart(8, '0')
}

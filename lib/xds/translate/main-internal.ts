// The unified matcher with which a waypoint's listener chooses its filter chain (xds.type.matcher.v3), as conditions of the chains themselves. What istiod makes is a
// tree: authorities of tunnels, then addresses, then ports, then what the first bytes say; each step narrows the conditions of what is below it.
import { type FilterChainMatch, MATCH_EVERYTHING } from '../../state/listener.ts'
import { StringValue } from '../proto/core.ts'
import { type Any, type Message, TYPE_URL_PREFIX } from '../proto/schema.ts'
import * as M from '../proto/unified-matcher.ts'
import type { TranslatedChain } from './filter-chain.ts'
import { rangesOf } from './filter-chain-match.ts'
import type { Findings } from './findings.ts'
import type { PlacedChain } from './listener.ts'

/** `host:from` leads to `address:port`, which a chain of the listener takes. */
export interface NamedAuthority {
  readonly host: string
  readonly from: number
  readonly address: string
  readonly port: number
}

export interface ChainsByMatcher {
  readonly placed: readonly PlacedChain[]
  readonly authorities: readonly NamedAuthority[]
}

/** Where a walk through the tree has come to. */
interface Walk {
  readonly match: FilterChainMatch
  /** No first bytes have fitted. */
  readonly rest: boolean
}

interface Leaf extends Walk {
  readonly chain: string
}

const CONNECT_AUTHORITY = 'io.istio.connect_authority'
const NETWORK_INPUTS = 'envoy.extensions.matching.common_inputs.network.v3.'

export function chainsByMatcher(root: M.Matcher, chains: readonly TranslatedChain[], findings: Findings): ChainsByMatcher {
  const walker = new Walker()
  walker.matcher(root, { match: MATCH_EVERYTHING, rest: false }, findings)
  const byName = new Map(chains.map((c) => [c.sentName, c]))
  const placed: PlacedChain[] = []
  const names = new Set<string>()
  const ports = new Set(walker.leaves.map((l) => l.match.destinationPort))
  const place = (name: string, match: FilterChainMatch, of: TranslatedChain): void => {
    const unique = names.has(name) ? `${name} ${match.destinationRanges.join()}` : name
    if (names.has(unique)) findings.fault(`the chain ${name} is reached twice for the same connections`)
    names.add(unique)
    placed.push({ name: unique, match, of })
  }
  for (const leaf of walker.leaves) {
    const of = byName.get(leaf.chain)
    if (of === undefined) {
      findings.fault(`there is no filter chain ${leaf.chain}`)
      continue
    }
    // A port that has chains of its own is asked for its own only (chain-match.ts): those of any port are said again for it.
    const at = leaf.match.destinationPort === 0 ? [0, ...[...ports].filter((p) => p !== 0)] : [leaf.match.destinationPort]
    for (const destinationPort of at) {
      const match = { ...leaf.match, destinationPort }
      const name = leaf.match.destinationPort === destinationPort ? leaf.chain : `${leaf.chain} ${destinationPort}`
      if (leaf.rest) {
        place(name, { ...match, transportProtocol: 'raw_buffer' }, of)
        place(`${name} tls`, match, of)
      } else place(name, match, of)
    }
  }
  return { placed, authorities: authoritiesOf(walker, placed, byName, findings) }
}

/** A name leads to an address of the chain's; a chain that has none gets one that nobody else can have. */
function authoritiesOf(
  walker: Walker,
  placed: PlacedChain[],
  chains: ReadonlyMap<string, TranslatedChain>,
  findings: Findings,
): NamedAuthority[] {
  const taken = new Set<string>()
  return [...walker.authorities].flatMap(([authority, chain]): NamedAuthority[] => {
    const colon = authority.lastIndexOf(':')
    const [host, from] = [authority.slice(0, colon).toLowerCase(), Number(authority.slice(colon + 1))]
    const of = chains.get(chain)
    if (of === undefined) {
      findings.fault(`there is no filter chain ${chain}`)
      return []
    }
    const known = walker.leaves.find((l) => l.chain === chain && l.match.destinationRanges.length > 0)
    const [range] = known?.match.destinationRanges ?? []
    if (known !== undefined && range !== undefined)
      return [{ host, from, address: range.slice(0, range.indexOf('/')), port: known.match.destinationPort || from }]
    const address = standIn(host, taken)
    const match = { ...MATCH_EVERYTHING, destinationPort: from, destinationRanges: [`${address}/32`] }
    placed.push({ name: `${chain} ${authority}`, match, of })
    return [{ host, from, address, port: from }]
  })
}

/** Of 240.0.0.0/4, which nobody has (RFC 1112 §4), and the same for a name from push to push. */
function standIn(host: string, taken: Set<string>): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < host.length; i++) hash = Math.imul(hash ^ host.charCodeAt(i), 0x01000193) >>> 0
  for (;;) {
    const address = `240.${(hash >>> 16) & 255}.${(hash >>> 8) & 255}.${hash & 255}`
    if (!taken.has(address)) {
      taken.add(address)
      return address
    }
    hash = (hash + 1) >>> 0
  }
}

class Walker {
  readonly leaves: Leaf[]
  /** Authorities of tunnels, with the names of chains. */
  readonly authorities: Map<string, string>

  constructor() {
    this.leaves = []
    this.authorities = new Map()
  }

  matcher(matcher: M.Matcher, walk: Walk, findings: Findings): void {
    const { matcher_tree: tree, matcher_list: list, on_no_match: otherwise } = matcher
    if (list !== null) findings.at('matcher_list').fault('lists of predicates are not understood; a tree is expected')
    const rest = tree === null ? walk : this.#tree(tree, walk, findings.at('matcher_tree'))
    if (otherwise !== null) this.#onMatch(otherwise, rest, findings.at('on_no_match'))
  }

  /** What is known of a connection that fits no branch. */
  #tree(tree: M.MatcherTree, walk: Walk, findings: Findings): Walk {
    const input = tree.input?.typed_config ?? null
    const { custom_match: custom, exact_match_map: exact } = tree
    if (input === null) findings.at('input').fault('an input is missing')
    else if (custom !== null) this.#ranges(input, custom.typed_config, walk, findings)
    else if (exact === null) findings.fault('exact_match_map or custom_match is expected')
    else if (is(input, M.FilterStateInput)) this.#authorities(input, exact, findings)
    else {
      for (const [key, then] of exact.map) {
        const at = findings.at(`exact_match_map[${key}]`)
        const next = narrowed(input, key, walk, at)
        if (next !== null) this.#onMatch(then, next, at)
      }
      if (is(input, M.ApplicationProtocolInput)) return { ...walk, rest: true }
    }
    return walk
  }

  #ranges(input: Any, custom: Any | null, walk: Walk, findings: Findings): void {
    const field = FIELD_OF_ADDRESS.get(input.typeUrl.slice(TYPE_URL_PREFIX.length))
    if (field === undefined) {
      findings.at('input').fault(`${typeOf(input)} is no input that ranges of addresses are asked of`)
      return
    }
    const matcher = findings.at('custom_match').unpack(custom, M.IPMatcher)
    for (const [i, { ranges, on_match: then }] of (matcher?.range_matchers ?? []).entries()) {
      const at = findings.at('custom_match').at('range_matchers', i)
      if (walk.match[field].length > 0) at.fault('addresses are asked twice on one way through the tree')
      const found = rangesOf(ranges, at, 'ranges')
      if (then !== null) this.#onMatch(then, { ...walk, match: { ...walk.match, [field]: found } }, at.at('on_match'))
    }
  }

  /** Gateways of other networks name services, not addresses. */
  #authorities(input: Any, exact: M.MatchMap, findings: Findings): void {
    const key = findings.at('input').unpack(input, M.FilterStateInput)?.key ?? ''
    if (key !== CONNECT_AUTHORITY) {
      findings.at('input').fault(`the filter state ${key} is not understood; ${CONNECT_AUTHORITY} is expected`)
      return
    }
    for (const [authority, { action }] of exact.map) {
      const at = findings.at(`exact_match_map[${authority}]`)
      const chain = action === null ? null : at.at('action').unpack(action.typed_config, StringValue)
      if (action === null) at.fault('what is chosen by an authority has to be a chain')
      if (chain !== null) this.authorities.set(authority, chain.value)
    }
  }

  #onMatch({ matcher, action }: M.OnMatch, walk: Walk, findings: Findings): void {
    if (matcher !== null) this.matcher(matcher, walk, findings.at('matcher'))
    else if (action === null) findings.fault('neither a matcher nor an action')
    else {
      const chain = findings.at('action').unpack(action.typed_config, StringValue)
      if (chain !== null) this.#leaf({ ...walk, chain: chain.value })
    }
  }

  /** One protocol after the other leads to the same chain. */
  #leaf(leaf: Leaf): void {
    const { applicationProtocols: protocols } = leaf.match
    const but = (l: Leaf) =>
      JSON.stringify({ ...l, match: { ...l.match, applicationProtocols: l.match.applicationProtocols.length > 0 } })
    const i = protocols.length === 0 ? -1 : this.leaves.findIndex((l) => but(l) === but(leaf))
    const known = this.leaves[i]
    if (known === undefined) this.leaves.push(leaf)
    else
      this.leaves[i] = {
        ...known,
        match: { ...known.match, applicationProtocols: [...known.match.applicationProtocols, ...protocols] },
      }
  }
}

const FIELD_OF_ADDRESS: ReadonlyMap<string, 'destinationRanges' | 'sourceRanges' | 'directSourceRanges'> = new Map([
  [`${NETWORK_INPUTS}DestinationIPInput`, 'destinationRanges'],
  [`${NETWORK_INPUTS}SourceIPInput`, 'sourceRanges'],
  [`${NETWORK_INPUTS}DirectSourceIPInput`, 'directSourceRanges'],
])

/** null: it cannot fit, which is told as a fault. */
function narrowed(input: Any, key: string, { match, rest }: Walk, findings: Findings): Walk | null {
  if (is(input, M.DestinationPortInput)) {
    const port = Number(key)
    if (Number.isInteger(port) && port > 0 && port < 65536) return { rest, match: { ...match, destinationPort: port } }
    findings.fault(`${key} is no port`)
    return null
  }
  if (is(input, M.ApplicationProtocolInput)) {
    // Envoy's keys: each protocol in single quotes.
    const protocols = key.split(',').map((p) => p.replace(/^'|'$/g, ''))
    return { rest, match: { ...match, transportProtocol: 'raw_buffer', applicationProtocols: protocols } }
  }
  if (is(input, M.TransportProtocolInput) && (key === 'tls' || key === 'raw_buffer'))
    return { rest, match: { ...match, transportProtocol: key } }
  if (is(input, M.ServerNameInput)) return { rest, match: { ...match, serverNames: [key.toLowerCase()] } }
  findings.fault(`the input ${typeOf(input)} with \`${key}\` is not understood`)
  return null
}

function is(config: Any, of: Message<object>): boolean {
  return config.typeUrl === TYPE_URL_PREFIX + of.typeName
}

function typeOf({ typeUrl }: Any): string {
  return typeUrl.slice(typeUrl.lastIndexOf('.') + 1)
}

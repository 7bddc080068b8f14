// The unified matcher (xds.type.matcher.v3) with which a listener may choose its filter chain, and the inputs that it may ask for.
import { type CidrRange, XdsTypedExtensionConfig } from './core.ts'
import { bool, type Decoded, list, type Message, map, message, one, oneof, recursive, text, uint32Value } from './schema.ts'

type Extension = Decoded<typeof XdsTypedExtensionConfig>

export interface Matcher {
  readonly matcher_list: MatcherList | null
  readonly matcher_tree: MatcherTree | null
  readonly on_no_match: OnMatch | null
}
export interface OnMatch {
  readonly matcher: Matcher | null
  readonly action: Extension | null
}
export interface MatcherTree {
  readonly input: Extension | null
  readonly exact_match_map: MatchMap | null
  readonly prefix_match_map: MatchMap | null
  readonly custom_match: Extension | null
}
export interface MatchMap {
  readonly map: ReadonlyMap<string, OnMatch>
}
/** Kept as what it is: lists of predicates are not sent by istiod. */
export interface MatcherList {
  readonly matchers: readonly object[]
}

export const FieldMatcher = message('xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher', {})
export const MatcherList: Message<MatcherList> = message('xds.type.matcher.v3.Matcher.MatcherList', {
  matchers: list(one(1, FieldMatcher)),
})
export const OnMatch: Message<OnMatch> = recursive<OnMatch>('xds.type.matcher.v3.Matcher.OnMatch', () => ({
  ...oneof('on_match', { matcher: one(1, Matcher), action: one(2, XdsTypedExtensionConfig) }),
}))
export const MatchMap: Message<MatchMap> = recursive<MatchMap>('xds.type.matcher.v3.Matcher.MatcherTree.MatchMap', () => ({
  map: map(one(1, OnMatch)),
}))
export const MatcherTree: Message<MatcherTree> = recursive<MatcherTree>('xds.type.matcher.v3.Matcher.MatcherTree', () => ({
  input: one(1, XdsTypedExtensionConfig),
  ...oneof('tree_type', {
    exact_match_map: one(2, MatchMap),
    prefix_match_map: one(3, MatchMap),
    custom_match: one(4, XdsTypedExtensionConfig),
  }),
}))
export const Matcher: Message<Matcher> = recursive<Matcher>('xds.type.matcher.v3.Matcher', () => ({
  ...oneof('matcher_type', { matcher_list: one(1, MatcherList), matcher_tree: one(2, MatcherTree) }),
  on_no_match: one(3, OnMatch),
}))

/** As `envoy.config.core.v3.CidrRange`, on the wire too. */
export const XdsCidrRange = message('xds.core.v3.CidrRange', { address_prefix: text(1), prefix_len: uint32Value(2) })
export interface IpRangeMatcher {
  readonly ranges: readonly CidrRange[]
  readonly on_match: OnMatch | null
  readonly exclusive: boolean
}
export const IpRangeMatcher: Message<IpRangeMatcher> = recursive<IpRangeMatcher>(
  'xds.type.matcher.v3.IPMatcher.IPRangeMatcher',
  () => ({ ranges: list(one(1, XdsCidrRange)), on_match: one(2, OnMatch), exclusive: bool(3) }),
)
export const IPMatcher = message('xds.type.matcher.v3.IPMatcher', { range_matchers: list(one(1, IpRangeMatcher)) })

const INPUTS = 'envoy.extensions.matching.common_inputs.network.v3.'
export const DestinationIPInput = message(`${INPUTS}DestinationIPInput`, {})
export const DestinationPortInput = message(`${INPUTS}DestinationPortInput`, {})
export const SourceIPInput = message(`${INPUTS}SourceIPInput`, {})
export const SourcePortInput = message(`${INPUTS}SourcePortInput`, {})
export const DirectSourceIPInput = message(`${INPUTS}DirectSourceIPInput`, {})
export const SourceTypeInput = message(`${INPUTS}SourceTypeInput`, {})
export const ServerNameInput = message(`${INPUTS}ServerNameInput`, {})
export const TransportProtocolInput = message(`${INPUTS}TransportProtocolInput`, {})
export const ApplicationProtocolInput = message(`${INPUTS}ApplicationProtocolInput`, {})
export const FilterStateInput = message(`${INPUTS}FilterStateInput`, { key: text(1) })

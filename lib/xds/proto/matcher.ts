// Messages of envoy.type.matcher.v3 that match what filters have found out of a request, for example the claims of a JWT.

import { StringMatcher } from './core.ts'
import { bool, type Decoded, double, list, type Message, message, one, oneof, recursive, text } from './schema.ts'

const NullMatch = message('envoy.type.matcher.v3.ValueMatcher.NullMatch', {})
const DoubleRange = message('envoy.type.v3.DoubleRange', { start: double(1), end: double(2) })
export const DoubleMatcher = message('envoy.type.matcher.v3.DoubleMatcher', {
  ...oneof('match_pattern', { range: one(1, DoubleRange), exact: double(2) }),
})

/** Exactly one field is not null. */
export interface ValueMatcher {
  readonly null_match: object | null
  readonly double_match: Decoded<typeof DoubleMatcher> | null
  readonly string_match: StringMatcher | null
  readonly bool_match: boolean | null
  readonly present_match: boolean | null
  readonly list_match: ListMatcher | null
  readonly or_match: OrMatcher | null
}
export interface ListMatcher {
  readonly one_of: ValueMatcher | null
}
export interface OrMatcher {
  readonly value_matchers: readonly ValueMatcher[]
}

export const ValueMatcher: Message<ValueMatcher> = recursive<ValueMatcher>('envoy.type.matcher.v3.ValueMatcher', () =>
  oneof('match_pattern', {
    null_match: one(1, NullMatch),
    double_match: one(2, DoubleMatcher),
    string_match: one(3, StringMatcher),
    bool_match: bool(4),
    present_match: bool(5),
    list_match: one(6, ListMatcher),
    or_match: one(7, OrMatcher),
  }),
)
export const ListMatcher: Message<ListMatcher> = recursive<ListMatcher>('envoy.type.matcher.v3.ListMatcher', () =>
  oneof('match_pattern', { one_of: one(1, ValueMatcher) }),
)
export const OrMatcher: Message<OrMatcher> = recursive<OrMatcher>('envoy.type.matcher.v3.OrMatcher', () => ({
  value_matchers: list(one(1, ValueMatcher)),
}))

const PathSegment = message('envoy.type.matcher.v3.MetadataMatcher.PathSegment', { ...oneof('segment', { key: text(1) }) })
export const MetadataMatcher = message('envoy.type.matcher.v3.MetadataMatcher', {
  /** The filter whose metadata it is: `envoy.filters.http.jwt_authn`. */
  filter: text(1),
  path: list(one(2, PathSegment)),
  value: one(3, ValueMatcher),
  invert: bool(4),
})
export type MetadataMatcher = Decoded<typeof MetadataMatcher>

// Protobuf messages as typed tables: a name, and for each field its number and kind. The tables hold what control planes send and heddle reads; all else is
// skipped when it is decoded. From a table come the type of the message (`Decoded`), decode.ts, encode.ts and json.ts.
//
//   export const Locality = message('envoy.config.core.v3.Locality', { region: text(1), zone: text(2), sub_zone: text(3) })
//   export type Locality = Decoded<typeof Locality>
//
// A decoded message has every field: scalars their default, messages, wrappers (`google.protobuf.UInt32Value`), durations and members of a oneof null when they
// are absent, lists and maps empty.

/** `google.protobuf.Any`: the value is decoded by whoever knows the type. */
export interface Any {
  /** `type.googleapis.com/envoy.config.cluster.v3.Cluster`. */
  readonly typeUrl: string
  /** A view. */
  readonly value: Uint8Array
}

/** A value of `google.protobuf.Struct`. */
export type StructValue = null | boolean | number | string | readonly StructValue[] | Struct
export interface Struct {
  readonly [key: string]: StructValue
}

export type ScalarType = 'bool' | 'int32' | 'uint32' | 'int64' | 'uint64' | 'double' | 'float' | 'string' | 'bytes'

/** How a value is written. */
export type Kind =
  | { readonly is: 'scalar'; readonly type: ScalarType }
  | { readonly is: 'enum'; readonly names: Readonly<Record<string, number>>; readonly byNumber: ReadonlyMap<number, string> }
  | { readonly is: 'message'; readonly of: () => Message<object> }
  /** A message with a single field 1, `google.protobuf.UInt32Value`. */
  | { readonly is: 'wrapper'; readonly type: ScalarType }
  /** `google.protobuf.Duration`, in milliseconds; `google.protobuf.Timestamp` likewise, since the epoch. */
  | { readonly is: 'duration' | 'timestamp' }
  | { readonly is: 'any' }
  | { readonly is: 'struct' }
  | { readonly is: 'value' }

export interface Field<T> {
  readonly number: number
  readonly kind: Kind
  /** `map`: keys are texts. */
  readonly shape: 'one' | 'list' | 'map'
  /** What an absent field is. */
  readonly absent: T
  /** Members of a oneof share its name: of several the last one counts. */
  readonly oneof: string
}

export type Fields = Readonly<Record<string, Field<unknown>>>

export interface Message<T extends object> {
  /** `envoy.config.cluster.v3.Cluster`. */
  readonly typeName: string
  readonly fields: readonly (readonly [name: string, field: Field<unknown>])[]
  readonly byNumber: ReadonlyMap<number, readonly [name: string, field: Field<unknown>]>
  /** A message without any field. */
  readonly empty: T
}

type Values<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never }

/** The type of a table's messages. */
export type Decoded<M> = M extends Message<infer T> ? T : never

export const TYPE_URL_PREFIX = 'type.googleapis.com/'

export function typeUrlOf(m: Message<object>): string {
  return TYPE_URL_PREFIX + m.typeName
}

export function message<F extends Fields>(typeName: string, fields: F): Message<Values<F>> {
  const list = Object.entries(fields)
  const byNumber = new Map(list.map((entry) => [entry[1].number, entry] as const))
  if (byNumber.size !== list.length) throw new Error(`two fields of ${typeName} have the same number`)
  const empty = Object.fromEntries(list.map(([name, f]) => [name, f.absent])) as Values<F>
  return { typeName, fields: list, byNumber, empty }
}

/** A table that refers to itself: its type is written out, its fields are given later. */
export function recursive<T extends object>(typeName: string, fields: () => Fields): Message<T> {
  let made: Message<object> | null = null
  const get = () => {
    made ??= message(typeName, fields())
    return made
  }
  return {
    typeName,
    get fields() {
      return get().fields
    },
    get byNumber() {
      return get().byNumber
    },
    get empty() {
      return get().empty as T
    },
  }
}

const scalar =
  <T>(type: ScalarType, absent: T) =>
  (number: number): Field<T> => ({ number, kind: { is: 'scalar', type }, shape: 'one', absent, oneof: '' })

export const text = scalar<string>('string', '')
export const bytes = scalar<Uint8Array>('bytes', new Uint8Array(0))
export const bool = scalar<boolean>('bool', false)
export const int32 = scalar<number>('int32', 0)
export const uint32 = scalar<number>('uint32', 0)
/** Numbers of 64 bits that no double holds exactly are a fault of the message. */
export const int64 = scalar<number>('int64', 0)
export const uint64 = scalar<number>('uint64', 0)
export const double = scalar<number>('double', 0)
export const float = scalar<number>('float', 0)

/** A number that is not among the names becomes `#7`. */
export function enumeration<E extends Readonly<Record<string, number>>>(number: number, names: E): Field<keyof E & string> {
  const byNumber = new Map(Object.entries(names).map(([name, n]) => [n, name]))
  return { number, kind: { is: 'enum', names, byNumber }, shape: 'one', absent: byNumber.get(0) as keyof E & string, oneof: '' }
}

export function one<T extends object>(number: number, of: Message<T> | (() => Message<T>)): Field<T | null> {
  return { number, kind: { is: 'message', of: later(of) }, shape: 'one', absent: null, oneof: '' }
}

function later<T extends object>(of: Message<T> | (() => Message<T>)): () => Message<object> {
  return typeof of === 'function' ? of : () => of
}

const wrapper =
  <T>(type: ScalarType) =>
  (number: number): Field<T | null> => ({ number, kind: { is: 'wrapper', type }, shape: 'one', absent: null, oneof: '' })

export const boolValue = wrapper<boolean>('bool')
export const uint32Value = wrapper<number>('uint32')
export const uint64Value = wrapper<number>('uint64')
export const doubleValue = wrapper<number>('double')
export const stringValue = wrapper<string>('string')

const wellKnown =
  <T>(is: 'duration' | 'timestamp' | 'any' | 'struct' | 'value', absent: T) =>
  (number: number): Field<T> => ({ number, kind: { is }, shape: 'one', absent, oneof: '' })

/** Milliseconds. */
export const duration = wellKnown<number | null>('duration', null)
/** Milliseconds since the epoch. */
export const timestamp = wellKnown<number | null>('timestamp', null)
export const any = wellKnown<Any | null>('any', null)
export const struct = wellKnown<Struct | null>('struct', null)
/** `google.protobuf.Value`; undefined: absent. */
export const value = wellKnown<StructValue | undefined>('value', undefined)

/** `list(text(4))`: a repeated field. Numbers may come packed or not. */
export function list<T>(of: Field<T>): Field<readonly NonNullable<T>[]> {
  return { ...of, shape: 'list', absent: [] }
}

/** `map(text(1))`: `map<string, string>` with that field number. */
export function map<T>(of: Field<T>): Field<ReadonlyMap<string, NonNullable<T>>> {
  return { ...of, shape: 'map', absent: new Map() }
}

type Members<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? Field<T | null> : never }

/** `...oneof('action', { route: one(2, RouteAction), redirect: one(3, RedirectAction) })`: at most one of them is not null. */
export function oneof<F extends Fields>(name: string, fields: F): Members<F> {
  const members = Object.entries(fields).map(([key, f]) => [key, { ...f, absent: null, oneof: name }])
  return Object.fromEntries(members) as Members<F>
}

/** `optional string x`: null when absent. */
export function optional<T>(of: Field<T>): Field<T | null> {
  return { ...of, absent: null, oneof: `_${of.number}` }
}

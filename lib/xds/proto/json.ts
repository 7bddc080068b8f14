// Proto3 JSON both ways (protobuf.dev/programming-guides/json), with the field names of the .proto files, as Envoy's admin pages write it.
import { decode } from './decode.ts'
import { encode } from './encode.ts'
import { type Any, type Field, type Kind, type Message, type ScalarType, type StructValue, TYPE_URL_PREFIX } from './schema.ts'

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

/** The tables of what an Any may hold, by type name. */
export type Registry = ReadonlyMap<string, Message<object>>

export function registryOf(messages: readonly Message<object>[]): Registry {
  return new Map(messages.map((m) => [m.typeName, m]))
}

/** What has its default is left out. An Any of a type that is not in `known` is `{"@type": …, "value": base64}`; so is one that cannot be decoded. */
export function toJson<T extends object>(of: Message<T>, value: T, known: Registry): JsonObject {
  const out: Record<string, Json> = {}
  for (const [name, field] of of.fields) {
    const has = (value as Readonly<Record<string, unknown>>)[name]
    if (has === null || has === undefined || (field.oneof === '' && isEmpty(field, has))) continue
    out[name] = fieldJson(field, has, known)
  }
  return out
}

function isEmpty({ shape, kind, absent }: Field<unknown>, value: unknown): boolean {
  if (shape === 'list') return (value as readonly unknown[]).length === 0
  if (shape === 'map') return (value as ReadonlyMap<string, unknown>).size === 0
  if (kind.is === 'scalar' && kind.type === 'bytes') return (value as Uint8Array).length === 0
  return (kind.is === 'scalar' || kind.is === 'enum') && value === absent
}

function fieldJson({ shape, kind }: Field<unknown>, value: unknown, known: Registry): Json {
  if (shape === 'list') return (value as readonly unknown[]).map((v) => valueJson(kind, v, known))
  if (shape === 'map') {
    const entries = [...(value as ReadonlyMap<string, unknown>)].map(([k, v]) => [k, valueJson(kind, v, known)] as const)
    return Object.fromEntries(entries)
  }
  return valueJson(kind, value, known)
}

function valueJson(kind: Kind, value: unknown, known: Registry): Json {
  switch (kind.is) {
    case 'scalar':
    case 'wrapper':
      return scalarJson(kind.type, value)
    case 'enum': {
      const name = value as string
      return name.startsWith('#') ? Number(name.slice(1)) : name
    }
    case 'message':
      return toJson(kind.of(), value as object, known)
    case 'duration':
      return `${trimZeros(value as number)}s`
    case 'timestamp':
      return new Date(value as number).toISOString()
    case 'any':
      return anyJson(value as Any, known)
    default:
      return value as Json
  }
}

function trimZeros(ms: number): string {
  const seconds = ms / 1000
  return Number.isInteger(seconds) ? String(seconds) : seconds.toFixed(9).replace(/0+$/, '')
}

function scalarJson(type: ScalarType, value: unknown): Json {
  if (type === 'bytes') return Buffer.from(value as Uint8Array).toString('base64')
  if (type === 'int64' || type === 'uint64') return String(value)
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
  return value as Json
}

export function anyJson(any: Any, known: Registry): JsonObject {
  const of = known.get(any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1))
  if (of !== undefined) {
    try {
      return { '@type': any.typeUrl, ...toJson(of, decode(of, any.value), known) }
    } catch {
      // Shown as the bytes that it is.
    }
  }
  return { '@type': any.typeUrl, value: Buffer.from(any.value).toString('base64') }
}

/** JSON to a message. Throws with the path of what is wrong; fields that the table does not have are left out. */
export function fromJson<T extends object>(of: Message<T>, json: JsonObject, known: Registry, at = of.typeName): T {
  const out: Record<string, unknown> = Object.fromEntries(Object.entries(of.empty))
  for (const [name, field] of of.fields) {
    const given = json[name] ?? json[camelCase(name)]
    if (given === undefined || (given === null && field.kind.is !== 'value')) continue
    out[name] = fieldValue(field, given, known, `${at}.${name}`)
  }
  return out as T
}

function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase())
}

function fieldValue({ shape, kind }: Field<unknown>, json: Json, known: Registry, at: string): unknown {
  if (shape === 'list') {
    if (!Array.isArray(json)) throw new Error(`${at} is not a list`)
    return json.map((v: Json, i) => parsed(kind, v, known, `${at}[${i}]`))
  }
  if (shape === 'map')
    return new Map(Object.entries(objectOf(json, at)).map(([k, v]) => [k, parsed(kind, v, known, `${at}.${k}`)]))
  return parsed(kind, json, known, at)
}

function parsed(kind: Kind, json: Json, known: Registry, at: string): unknown {
  switch (kind.is) {
    case 'scalar':
    case 'wrapper':
      return scalarValue(kind.type, json)
    case 'enum':
      return typeof json === 'number' ? (kind.byNumber.get(json) ?? `#${json}`) : json
    case 'message':
      return fromJson(kind.of(), objectOf(json, at), known, at)
    case 'duration':
      return Math.round(Number.parseFloat(String(json)) * 1e9) / 1e6
    case 'timestamp':
      return Date.parse(String(json))
    case 'any':
      return anyOf(objectOf(json, at), known, at)
    default:
      return json as StructValue
  }
}

function scalarValue(type: ScalarType, json: Json): unknown {
  if (type === 'bytes') return new Uint8Array(Buffer.from(String(json), 'base64'))
  if (type === 'string') return String(json)
  return type === 'bool' ? json === true : Number(json)
}

function anyOf(json: JsonObject, known: Registry, at: string): Any {
  const typeUrl = String(json['@type'])
  const typeName = typeUrl.startsWith(TYPE_URL_PREFIX) ? typeUrl.slice(TYPE_URL_PREFIX.length) : typeUrl
  const of = known.get(typeName)
  if (of !== undefined) return { typeUrl, value: encode(of, fromJson(of, json, known, at)) }
  if (typeof json['value'] === 'string') return { typeUrl, value: new Uint8Array(Buffer.from(json['value'], 'base64')) }
  throw new Error(`${at} holds a ${typeUrl}, which has no table`)
}

function objectOf(json: Json, at: string): JsonObject {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error(`${at} is not an object`)
  return json as JsonObject
}

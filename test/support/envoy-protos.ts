// Envoy's API by protobufjs, from the .proto files that come with @grpc/grpc-js-xds: bytes of what is recorded as JSON, and what bytes say, without heddle's tables.
import { readdirSync } from 'node:fs'
import path from 'node:path'
import protobuf from 'protobufjs'
import { ROOT } from './proxy.ts'

const DEPS = path.join(ROOT, 'node_modules/@grpc/grpc-js-xds/deps')
const INCLUDES = ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'].map((name) => path.join(DEPS, name))
const BUNDLED = path.join(ROOT, 'node_modules/protobufjs')

/** Relative to `envoy-api`; folders with all that is in them. What these import is loaded with them. */
const FILES = [
  'envoy/service/discovery/v3',
  'envoy/config/cluster/v3',
  'envoy/config/endpoint/v3',
  'envoy/config/listener/v3',
  'envoy/config/route/v3',
  'envoy/config/rbac/v3',
  'envoy/extensions/clusters/dynamic_forward_proxy/v3',
  'envoy/extensions/access_loggers/file/v3',
  'envoy/extensions/access_loggers/filters/cel/v3',
  'envoy/extensions/access_loggers/stream/v3',
  'envoy/extensions/filters/http/cors/v3',
  'envoy/extensions/filters/http/dynamic_forward_proxy/v3',
  'envoy/extensions/filters/http/fault/v3',
  'envoy/extensions/filters/http/grpc_stats/v3',
  'envoy/extensions/filters/http/grpc_web/v3',
  'envoy/extensions/filters/http/jwt_authn/v3',
  'envoy/extensions/filters/http/rbac/v3',
  'envoy/extensions/filters/http/router/v3',
  'envoy/extensions/filters/http/set_filter_state/v3',
  'envoy/extensions/filters/common/set_filter_state/v3',
  'envoy/extensions/filters/http/stateful_session/v3',
  'envoy/extensions/formatter/req_without_query/v3',
  'envoy/extensions/http/stateful_session/cookie/v3',
  'envoy/extensions/http/stateful_session/header/v3',
  'envoy/extensions/filters/listener/http_inspector/v3',
  'envoy/extensions/filters/listener/original_dst/v3',
  'envoy/extensions/filters/listener/proxy_protocol/v3',
  'envoy/extensions/filters/listener/tls_inspector/v3',
  'envoy/extensions/filters/network/http_connection_manager/v3',
  'envoy/extensions/filters/network/rbac/v3',
  'envoy/extensions/filters/network/set_filter_state/v3',
  'envoy/extensions/filters/network/sni_cluster/v3',
  'envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3',
  'envoy/extensions/filters/network/tcp_proxy/v3',
  'envoy/extensions/load_balancing_policies/least_request/v3',
  'envoy/extensions/load_balancing_policies/maglev/v3',
  'envoy/extensions/load_balancing_policies/pick_first/v3',
  'envoy/extensions/load_balancing_policies/ring_hash/v3',
  'envoy/extensions/load_balancing_policies/round_robin/v3',
  'envoy/extensions/load_balancing_policies/wrr_locality/v3',
  'envoy/extensions/matching/common_inputs/network/v3',
  'envoy/extensions/matching/input_matchers/ip/v3',
  'envoy/extensions/network/dns_resolver/cares/v3',
  'envoy/extensions/path/match/uri_template/v3',
  'envoy/extensions/path/rewrite/uri_template/v3',
  'envoy/extensions/request_id/uuid/v3',
  'envoy/extensions/retry/host/previous_hosts/v3',
  'envoy/extensions/transport_sockets/internal_upstream/v3',
  'envoy/extensions/transport_sockets/proxy_protocol/v3',
  'envoy/extensions/transport_sockets/raw_buffer/v3',
  'envoy/extensions/transport_sockets/tls/v3',
  'envoy/extensions/upstreams/http/v3',
]

/** Fields that are newer than the files. */
const NEWER = [
  ['envoy.config.cluster.v3.Cluster', 'dns_jitter', 58, 'google.protobuf.Duration'],
  ['envoy.type.tracing.v3.CustomTag', 'value', 6, 'string'],
] as const

/** Not in Envoy's tree: istio/proxy extensions, written from their definitions. */
const ISTIO = {
  nested: {
    istio: {
      nested: {
        envoy: {
          nested: {
            config: {
              nested: {
                filter: {
                  nested: {
                    http: {
                      nested: {
                        alpn: {
                          nested: {
                            v2alpha1: {
                              nested: {
                                FilterConfig: {
                                  fields: { alpn_override: { rule: 'repeated', type: 'AlpnOverride', id: 1 } },
                                  nested: {
                                    Protocol: { values: { HTTP10: 0, HTTP11: 1, HTTP2: 2 } },
                                    AlpnOverride: {
                                      fields: {
                                        upstream_protocol: { type: 'Protocol', id: 1 },
                                        alpn_override: { rule: 'repeated', type: 'string', id: 2 },
                                      },
                                    },
                                  },
                                },
                              },
                            },
                          },
                        },
                      },
                    },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
}

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
type JsonObject = { readonly [key: string]: Json }

const WRAPPER = /^google\.protobuf\.(Bool|Int32|Int64|UInt32|UInt64|Float|Double|String|Bytes)Value$/

export class EnvoyProtos {
  readonly root: protobuf.Root

  constructor() {
    this.root = new protobuf.Root()
    this.root.resolvePath = (_, target) => resolve(target)
    this.root.loadSync(FILES.flatMap(protosIn).concat('udpa/type/v1/typed_struct.proto', 'xds/type/matcher/v3/ip.proto'), {
      keepCase: true,
    })
    this.root.addJSON(ISTIO.nested)
    for (const [type, name, id, of] of NEWER) this.root.lookupType(type).add(new protobuf.Field(name, id, of))
  }

  /** More files, or folders with all that is in them. */
  load(...files: readonly string[]): this {
    this.root.loadSync(files.flatMap(protosIn), { keepCase: true })
    return this
  }

  /** @param json as proto3 says, with the field names of the .proto files. Throws for a field that the definition does not have. */
  encode(typeName: string, json: JsonObject): Buffer {
    const type = this.root.lookupType(typeName)
    return Buffer.from(type.encode(type.fromObject(this.#plain(type, json, typeName) as object)).finish())
  }

  /** The value of an Any that is written as JSON. */
  encodeAny(json: JsonObject): { readonly typeUrl: string; readonly bytes: Buffer } {
    const { '@type': typeUrl, ...fields } = json
    const name = String(typeUrl).slice(String(typeUrl).indexOf('/') + 1)
    const type = this.root.lookupType(name)
    // Types that have a JSON of their own have it as `value`.
    const own = name.startsWith('google.protobuf.')
      ? this.#plain(type, fields['value'] as Json, name)
      : this.#plain(type, fields, name)
    return { typeUrl: String(typeUrl), bytes: Buffer.from(type.encode(type.fromObject(own as object)).finish()) }
  }

  /** Field names of the .proto files, enums as names, 64 bits as texts, bytes as Buffers; what is absent is left out. */
  decode(typeName: string, bytes: Uint8Array): Record<string, unknown> {
    const type = this.root.lookupType(typeName)
    return type.toObject(type.decode(bytes), { enums: String, longs: String }) as Record<string, unknown>
  }

  #plain(type: protobuf.Type, json: Json, at: string): unknown {
    const name = type.fullName.replace(/^\./, '')
    if (name === 'google.protobuf.Duration') return duration(String(json))
    if (name === 'google.protobuf.Timestamp') return { seconds: Math.trunc(Date.parse(String(json)) / 1000) }
    if (WRAPPER.test(name)) return { value: name.includes('Bytes') ? Buffer.from(String(json), 'base64') : json }
    if (name === 'google.protobuf.Struct') return { fields: struct(json as JsonObject) }
    if (name === 'google.protobuf.Value') return structValue(json)
    if (name === 'google.protobuf.Any') {
      const { typeUrl, bytes } = this.encodeAny(json as JsonObject)
      return { type_url: typeUrl, value: bytes }
    }
    const out: Record<string, unknown> = {}
    for (const [key, value] of Object.entries(json as JsonObject)) {
      const field = type.fields[key]?.resolve()
      if (field === undefined) throw new Error(`${at} has no field ${key}`)
      if (value !== null) out[key] = this.#field(field, value, `${at}.${key}`)
    }
    return out
  }

  #field(field: protobuf.Field, json: Json, at: string): unknown {
    if (field instanceof protobuf.MapField) {
      return Object.fromEntries(Object.entries(json as JsonObject).map(([k, v]) => [k, this.#value(field, v, `${at}.${k}`)]))
    }
    if (field.repeated) return (json as readonly Json[]).map((v, i) => this.#value(field, v, `${at}[${i}]`))
    return this.#value(field, json, at)
  }

  #value(field: protobuf.Field, json: Json, at: string): unknown {
    if (field.resolvedType instanceof protobuf.Type) return this.#plain(field.resolvedType, json, at)
    return field.type === 'bytes' ? Buffer.from(String(json), 'base64') : json
  }
}

let loaded: EnvoyProtos | null = null

/** Made once: it takes a good part of a second. */
export function envoyProtos(): EnvoyProtos {
  loaded ??= new EnvoyProtos()
  return loaded
}

function resolve(target: string): string {
  if (path.isAbsolute(target)) return target
  for (const include of INCLUDES) {
    const file = path.join(include, target)
    if (exists(file)) return file
  }
  return path.join(BUNDLED, target)
}

function exists(file: string): boolean {
  return listing(path.dirname(file)).includes(path.basename(file))
}

const listings = new Map<string, readonly string[]>()

function listing(folder: string): readonly string[] {
  let names = listings.get(folder)
  if (names === undefined) {
    try {
      names = readdirSync(folder)
    } catch {
      names = []
    }
    listings.set(folder, names)
  }
  return names
}

function protosIn(folder: string): string[] {
  return listing(path.join(INCLUDES[0]!, folder))
    .filter((name) => name.endsWith('.proto'))
    .map((name) => `${folder}/${name}`)
}

function duration(text: string): { seconds: number; nanos: number } {
  const ns = Math.round(Number.parseFloat(text) * 1e9)
  return { seconds: Math.trunc(ns / 1e9), nanos: ns % 1e9 }
}

function struct(json: JsonObject): Record<string, unknown> {
  return Object.fromEntries(Object.entries(json).map(([k, v]) => [k, structValue(v)]))
}

function structValue(json: Json): object {
  if (json === null) return { nullValue: 0 }
  if (typeof json === 'boolean') return { boolValue: json }
  if (typeof json === 'number') return { numberValue: json }
  if (typeof json === 'string') return { stringValue: json }
  if (Array.isArray(json)) return { listValue: { values: json.map(structValue) } }
  return { structValue: { fields: struct(json as JsonObject) } }
}

// What a control plane sent, for `/config_dump` in Envoy's shape: each resource in the JSON of its protobuf message, with the fields that heddle's tables have.
import type { KindUse } from '../admin/config-use-page.ts'
import type { DumpedConfig, DumpedFailure, DumpedResource, DumpedState } from '../admin/dumped-config.ts'
import { assignmentJson } from '../admin/noun-dump.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { AdsClient } from '../xds/client/ads-client.ts'
import { XDS } from '../xds/client/resource-types.ts'
import type { XdsResource } from '../xds/client/resource-update.ts'
import { Node } from '../xds/proto/core.ts'
import { anyJson, type Json, type JsonObject, toJson } from '../xds/proto/json.ts'
import { REGISTRY } from '../xds/proto/registry.ts'
import type { Held, Refused } from '../xds/store/resource-set.ts'
import type { XdsWorld } from '../xds/store/xds-world.ts'
import { isFetched } from '../xds/translate/warming.ts'
import { carriedEndpoints, carriedRoutes } from './carried-config.ts'

export type FedConfig = Omit<DumpedConfig, 'fed' | 'startedMs' | 'secrets'>

/** Whether an endpoint may be chosen as far as its health goes: `10.0.0.1:80`. */
export type IsHealthy = (cluster: string, address: string) => boolean

/** Fields of which no value is shown (`udpa.annotations.sensitive`). */
const SENSITIVE: readonly string[] = ['private_key', 'pkcs12', 'password', 'private_key_provider', 'session_ticket_keys']

/** `snapshot`: what is in force, for what names have come to; null: nothing yet. */
export function fedConfig(client: AdsClient, world: XdsWorld, snapshot: Snapshot | null, isHealthy: IsHealthy): FedConfig {
  const of = (typeUrl: string, show = shown): DumpedResource[] =>
    world.states(typeUrl).map(({ name, active, warming, refused }) => ({
      name,
      active: stateOf(active, show),
      warming: stateOf(warming, show),
      failure: failureOf(refused),
    }))
  const versionOf = (typeUrl: string): string => client.status.types.find((t) => t.typeUrl === typeUrl)?.version ?? ''
  const secrets = world.wanted().get(XDS.secret) ?? new Set()
  const clusters = of(XDS.cluster)
  const listeners = of(XDS.listener)
  return {
    node: toJson(Node, client.node, REGISTRY),
    clustersVersion: versionOf(XDS.cluster),
    listenersVersion: versionOf(XDS.listener),
    clusters,
    listeners,
    routes: of(XDS.route),
    inlineRoutes: () => carriedRoutes(listeners),
    endpoints: [
      ...of(XDS.endpoints, (resource) => withHealth(shown(resource), isHealthy)),
      ...endpointsOfClusters(clusters, world, snapshot, isHealthy),
    ],
    extensions: of(XDS.extension),
    missingSecrets: [...secrets].filter((name) => isFetched(name) && !world.secrets.has(name)),
  }
}

function endpointsOfClusters(
  clusters: readonly DumpedResource[],
  world: XdsWorld,
  snapshot: Snapshot | null,
  isHealthy: IsHealthy,
): DumpedResource[] {
  const inForce = new Map(snapshot?.clusters.map((c) => [c.name, c]))
  return clusters.flatMap(({ name, active }) => {
    if (active === null || (world.clusters.get(name)?.edsName ?? null) !== null) return []
    const noun = inForce.get(name)
    const found = noun === undefined ? null : () => assignmentJson(noun, isHealthy)
    return carriedEndpoints(name, active, found, (assignment) => withHealth(assignment, isHealthy))
  })
}

const KINDS = [
  ['clusters', XDS.cluster],
  ['endpoints', XDS.endpoints],
  ['listeners', XDS.listener],
  ['routes', XDS.route],
  ['extensions', XDS.extension],
  ['secrets', XDS.secret],
] as const

/** Bytes of what is held, as it was sent. */
export function sentByKind(client: AdsClient): KindUse[] {
  return KINDS.map(([kind, typeUrl]) => {
    const held = client.resources(typeUrl)
    let bytes = 0
    for (const resource of held.values()) bytes += resource.bytes.length
    return { kind, count: held.size, bytes }
  })
}

/** Of a name that the control plane says is not there, there is nothing to show. */
function stateOf(held: Held<unknown> | null, show: (resource: XdsResource) => JsonObject): DumpedState | null {
  if (held === null || held.resource === null) return null
  const { resource, arrival } = held
  let made: JsonObject | null = null
  return {
    version: resource.version || arrival.version,
    updatedMs: arrival.atMs,
    json: () => {
      made ??= show(resource)
      return made
    },
  }
}

function failureOf(refused: Refused | null): DumpedFailure | null {
  if (refused === null || refused.resource === null) return null
  const { resource, reason, arrival } = refused
  const version = resource.version || arrival.version
  return { version, updatedMs: arrival.atMs, json: () => shown(resource), details: reason }
}

function shown({ typeUrl, bytes }: XdsResource): JsonObject {
  return redacted(anyJson({ typeUrl, value: bytes }, REGISTRY)) as JsonObject
}

function redacted(json: Json): Json {
  if (typeof json !== 'object' || json === null) return json
  if (Array.isArray(json)) return json.map(redacted)
  const entries = Object.entries(json as JsonObject)
  return Object.fromEntries(
    entries.map(([key, value]): [string, Json] => [
      key,
      SENSITIVE.includes(key) && isInline(value)
        ? { inline_bytes: Buffer.from('[redacted]').toString('base64') }
        : redacted(value),
    ]),
  )
}

/** A DataSource that is no file, or whatever else there is of the kind. */
function isInline(value: Json): boolean {
  return typeof value === 'object' && value !== null && !('filename' in value)
}

/** As Envoy shows endpoints: with the health that they have here. What the control plane says of one that is not well stays. */
function withHealth(assignment: JsonObject, isHealthy: IsHealthy): JsonObject {
  const cluster = String(assignment['cluster_name'])
  const groups = (assignment['endpoints'] ?? []) as readonly JsonObject[]
  const endpoints = groups.map((group) => ({
    ...group,
    lb_endpoints: ((group['lb_endpoints'] ?? []) as readonly JsonObject[]).map((endpoint) => ({
      ...endpoint,
      health_status: endpoint['health_status'] ?? (isHealthy(cluster, addressOf(endpoint)) ? 'HEALTHY' : 'UNHEALTHY'),
    })),
  }))
  return { ...assignment, ...(groups.length === 0 ? {} : { endpoints }) }
}

function addressOf(endpoint: JsonObject): string {
  const inner = endpoint['endpoint'] as JsonObject | undefined
  const address = (inner?.['address'] as JsonObject | undefined)?.['socket_address'] as JsonObject | undefined
  const host = String(address?.['address'] ?? '')
  return `${host.includes(':') ? `[${host}]` : host}:${String(address?.['port_value'] ?? 0)}`
}

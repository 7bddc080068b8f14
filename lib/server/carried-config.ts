// What resources of a control plane carry themselves, where others name it: route tables in listeners, endpoints in clusters. Envoy's `/config_dump` shows it beside what has names.
import type { DumpedResource, DumpedState } from '../admin/dumped-config.ts'
import type { Json, JsonObject } from '../xds/proto/json.ts'

const TABLE = 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration'
const ASSIGNMENT = 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment'

/** Of the listeners in force, once for each connection manager. They have no version of their own. */
export function carriedRoutes(listeners: readonly DumpedResource[]): DumpedResource[] {
  return listeners.flatMap(({ active }) => {
    if (active === null) return []
    const listener = active.json() as JsonObject
    const chains = [...objects(listener['filter_chains']), ...objects([listener['default_filter_chain'] ?? null])]
    return chains
      .flatMap((chain) => objects(chain['filters']))
      .flatMap((filter) => objects([field(field(filter, 'typed_config'), 'route_config')]))
      .map((table) => carried(String(table['name'] ?? ''), active.updatedMs, () => ({ '@type': TABLE, ...table })))
  })
}

/**
 * Of a cluster that does not ask for its endpoints (EDS).
 * @param found what the names that it asks DNS for have come to; null: not known yet
 * @param withHealth endpoints as they were sent, with how they are
 */
export function carriedEndpoints(
  name: string,
  cluster: DumpedState,
  found: (() => object) | null,
  withHealth: (assignment: JsonObject) => JsonObject,
): DumpedResource {
  return carried(name, 0, () => {
    const sent = cluster.json() as JsonObject
    const type = sent['type']
    if ((type === 'STRICT_DNS' || type === 'LOGICAL_DNS') && found !== null) return found()
    const own = type === undefined || type === 'STATIC' ? field(sent, 'load_assignment') : null
    return withHealth({ '@type': ASSIGNMENT, ...(own as JsonObject | null), cluster_name: name })
  })
}

function carried(name: string, updatedMs: number, json: () => object): DumpedResource {
  return { name, active: { version: '', updatedMs, json }, warming: null, failure: null }
}

function field(of: Json, name: string): Json {
  return isObject(of) ? (of[name] ?? null) : null
}

function objects(all: Json | undefined): JsonObject[] {
  return Array.isArray(all) ? all.filter(isObject) : []
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// `/config_dump` in Envoy's shape (envoy.admin.v3.ConfigDump as proto3 JSON with the field names of the .proto files), which istioctl and Kiali read.
import type { DumpedConfig, DumpedFailure, DumpedResource, DumpedSecret, DumpedState } from './dumped-config.ts'

const ADMIN = 'type.googleapis.com/envoy.admin.v3.'
const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'

/** Of the fields of a dump that are lists: the type of their elements. */
export const ELEMENT_TYPES: Readonly<Record<string, string>> = {
  static_clusters: `${ADMIN}ClustersConfigDump.StaticCluster`,
  dynamic_active_clusters: `${ADMIN}ClustersConfigDump.DynamicCluster`,
  dynamic_warming_clusters: `${ADMIN}ClustersConfigDump.DynamicCluster`,
  ecds_filters: `${ADMIN}EcdsConfigDump.EcdsFilterConfig`,
  static_endpoint_configs: `${ADMIN}EndpointsConfigDump.StaticEndpointConfig`,
  dynamic_endpoint_configs: `${ADMIN}EndpointsConfigDump.DynamicEndpointConfig`,
  static_listeners: `${ADMIN}ListenersConfigDump.StaticListener`,
  dynamic_listeners: `${ADMIN}ListenersConfigDump.DynamicListener`,
  static_route_configs: `${ADMIN}RoutesConfigDump.StaticRouteConfig`,
  dynamic_route_configs: `${ADMIN}RoutesConfigDump.DynamicRouteConfig`,
  static_secrets: `${ADMIN}SecretsConfigDump.StaticSecret`,
  dynamic_active_secrets: `${ADMIN}SecretsConfigDump.DynamicSecret`,
  dynamic_warming_secrets: `${ADMIN}SecretsConfigDump.DynamicSecret`,
}

/** Fields that are no list, by which Envoy tells a wrong question from a name that there is not. */
export const SINGLE_FIELDS: readonly string[] = ['bootstrap', 'last_updated', 'version_info']

export interface ConfigPart {
  readonly '@type': string
  readonly [field: string]: unknown
}

/** Which resources are in it: by name. */
export type NameFilter = (name: string) => boolean

/** In Envoy's order. Endpoints are only in it when they were asked for. */
export function configParts(config: DumpedConfig, wanted: NameFilter, includeEds: boolean): ConfigPart[] {
  const of = (all: readonly DumpedResource[]): DumpedResource[] => all.filter(({ name }) => wanted(name))
  const { fed } = config
  return [
    part('BootstrapConfigDump', { bootstrap: { node: config.node }, last_updated: time(config.startedMs) }),
    part('ClustersConfigDump', { version_info: config.clustersVersion, ...clusters(of(config.clusters), fed) }),
    ...(config.extensions.length === 0
      ? []
      : [part('EcdsConfigDump', { ecds_filters: list(of(config.extensions), 'ecds_filter') })]),
    ...(includeEds
      ? [
          part('EndpointsConfigDump', {
            [fed ? 'dynamic_endpoint_configs' : 'static_endpoint_configs']: list(of(config.endpoints), 'endpoint_config'),
          }),
        ]
      : []),
    part('ListenersConfigDump', { version_info: config.listenersVersion, ...listeners(of(config.listeners), fed) }),
    part('ScopedRoutesConfigDump', {}),
    part('RoutesConfigDump', {
      static_route_configs: list(of(fed ? config.inlineRoutes() : config.routes), 'route_config'),
      dynamic_route_configs: fed ? list(of(config.routes), 'route_config') : [],
    }),
    part('SecretsConfigDump', {
      dynamic_active_secrets: config.secrets.filter(({ name }) => wanted(name)).map(secret),
      dynamic_warming_secrets: config.missingSecrets.filter(wanted).map((name) => ({ name })),
    }),
  ]
}

function part(type: string, fields: Readonly<Record<string, unknown>>): ConfigPart {
  return { '@type': `${ADMIN}${type}`, ...present(fields) }
}

/** Without what has its default, as proto3 JSON is. */
function present(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const isDefault = (v: unknown): boolean => v === '' || v === null || (Array.isArray(v) && v.length === 0)
  return Object.fromEntries(Object.entries(fields).filter(([, v]) => !isDefault(v)))
}

function clusters(all: readonly DumpedResource[], fed: boolean): object {
  if (!fed) return { static_clusters: list(all, 'cluster') }
  const active = all.filter((c) => c.active !== null)
  // One of which no version was ever in force stands where those stand that are not in force yet.
  const warming = all.filter((c) => c.warming !== null || c.active === null)
  return {
    dynamic_active_clusters: active.map((c) => ({ ...state(c.active, 'cluster'), ...error(c.failure) })),
    dynamic_warming_clusters: warming.map((c) => ({
      ...state(c.warming, 'cluster'),
      ...(c.active === null ? error(c.failure) : {}),
    })),
  }
}

function listeners(all: readonly DumpedResource[], fed: boolean): object {
  if (!fed) return { static_listeners: list(all, 'listener') }
  const dynamic = all.map(({ name, active, warming, failure }) => ({
    name,
    ...(active === null ? {} : { active_state: state(active, 'listener') }),
    ...(warming === null ? {} : { warming_state: state(warming, 'listener') }),
    ...error(failure),
  }))
  return { dynamic_listeners: dynamic }
}

/** Elements that have the resource as that field. What only waits has no place in these lists. */
function list(all: readonly DumpedResource[], field: string): object[] {
  const shown = all.filter(({ active, failure }) => active !== null || failure !== null)
  return shown.map(({ active, failure }) => ({ ...state(active, field), ...error(failure) }))
}

function state(of: DumpedState | null, field: string): object {
  if (of === null) return {}
  return present({ version_info: of.version, [field]: of.json(), last_updated: time(of.updatedMs) })
}

/** envoy.admin.v3.UpdateFailureState. */
function error(of: DumpedFailure | null): object {
  if (of === null) return {}
  const { json, updatedMs, details, version } = of
  const fields = { failed_configuration: json(), last_update_attempt: time(updatedMs), details, version_info: version }
  return { error_state: present(fields) }
}

/** As Envoy shows it: private keys are `[redacted]`. */
function secret({ name, version, updatedMs, chainPem, rootsPem }: DumpedSecret): object {
  const bytes = (text: string): object => ({ inline_bytes: Buffer.from(text).toString('base64') })
  const what =
    chainPem === ''
      ? { validation_context: { trusted_ca: bytes(rootsPem.join('\n')) } }
      : { tls_certificate: { certificate_chain: bytes(chainPem), private_key: bytes('[redacted]') } }
  return present({ name, version_info: version, last_updated: time(updatedMs), secret: { '@type': SECRET, name, ...what } })
}

/** google.protobuf.Timestamp. */
function time(ms: number): string | null {
  return ms === 0 ? null : new Date(ms).toISOString()
}

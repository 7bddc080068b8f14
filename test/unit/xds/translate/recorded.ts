// Recorded worlds, twice: what istiod sent, as bytes, and what our compiler makes of the same YAML.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { ResourceLoader } from '../../../../lib/resources/load.ts'
import type { BootstrapConfig } from '../../../../lib/state/bootstrap-config.ts'
import type { Snapshot } from '../../../../lib/state/snapshot.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import { fromJson, type JsonObject } from '../../../../lib/xds/proto/json.ts'
import { Listener } from '../../../../lib/xds/proto/listener.ts'
import { REGISTRY } from '../../../../lib/xds/proto/registry.ts'
import { RouteConfiguration } from '../../../../lib/xds/proto/route.ts'
import { bootstrapFor, type View } from '../../resources/kit.ts'

interface Recorded {
  readonly listeners: readonly JsonObject[]
  readonly routes: readonly JsonObject[]
}

export function recordedListeners(folder: string): Map<string, Uint8Array> {
  const { listeners } = JSON.parse(readFileSync(join(folder, 'xds.json'), 'utf8')) as Recorded
  return new Map(listeners.map((json) => [String(json['name']), listenerBytes(json)]))
}

/** A listener as JSON with the names of the .proto files. */
export function listenerBytes(json: JsonObject): Uint8Array {
  return encode(Listener, fromJson(Listener, json, REGISTRY))
}

/** RouteConfigurations by name, those that came by RDS and those inside of listeners; several listeners have the same inside. */
export function recordedRoutes(folder: string): Map<string, Uint8Array> {
  const { listeners, routes } = JSON.parse(readFileSync(join(folder, 'xds.json'), 'utf8')) as Recorded
  const all = [...routes]
  JSON.stringify(listeners, (key, value: unknown) => {
    if (key === 'route_config') all.push(value as JsonObject)
    return value
  })
  return new Map(all.map((json) => [String(json['name']), routeBytes(json)]))
}

/** A RouteConfiguration as JSON with the names of the .proto files. */
export function routeBytes(json: JsonObject): Uint8Array {
  return encode(RouteConfiguration, fromJson(RouteConfiguration, json, REGISTRY))
}

/** The same world, compiled. */
export function compiled(folder: string): Snapshot {
  const proxy = JSON.parse(readFileSync(join(folder, 'proxy.json'), 'utf8')) as {
    type?: string
    ip: string
    namespace: string
    labels: Record<string, string>
  }
  const mesh = join(folder, 'mesh.yaml')
  const registryOnly = existsSync(mesh) && readFileSync(mesh, 'utf8').includes('REGISTRY_ONLY')
  const files = readdirSync(folder).filter((f) => f.endsWith('.yaml') && f !== 'mesh.yaml')
  const view: View = {
    namespace: proxy.namespace,
    labels: proxy.labels,
    address: proxy.ip,
    outboundTrafficPolicy: registryOnly ? 'REGISTRY_ONLY' : 'ALLOW_ANY',
    listeners: [],
    identity: 'files',
    minTlsVersion: 'TLSv1.2',
    ...(proxy.type === 'router'
      ? { role: 'gateway' as const }
      : proxy.type === 'waypoint'
        ? { role: 'waypoint' as const, waypoint: {} }
        : { capture: { mode: 'redirect' as const, tunnelPort: 0, detectionTimeoutMs: 0 } }),
  }
  const bootstrap = bootstrapFor(
    files.map((f) => join(folder, f)),
    view,
  )
  const retries = defaultRetries(mesh)
  return new ResourceLoader({ ...bootstrap, mesh: { ...bootstrap.mesh, ...retries } }).load().snapshot
}

/** defaultHttpRetryPolicy of MeshConfig. */
function defaultRetries(mesh: string): Partial<BootstrapConfig['mesh']> {
  if (!existsSync(mesh)) return {}
  const { defaultHttpRetryPolicy: policy } = parse(readFileSync(mesh, 'utf8')) as {
    defaultHttpRetryPolicy?: { attempts: number; retryOn: string }
  }
  return policy === undefined ? {} : { defaultRetryAttempts: policy.attempts, defaultRetryOn: policy.retryOn }
}

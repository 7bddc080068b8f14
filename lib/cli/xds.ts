// heddle xds: how it stands with the control plane (xds-status.ts), and what one sends to a node, before any of it is translated.
import { setTimeout as timer } from 'node:timers/promises'
import { parseDuration } from '../base/duration.ts'
import { didYouMean } from '../base/nearest.ts'
import { Rng } from '../base/rng.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { AdsClient } from '../xds/client/ads-client.ts'
import type { Json, JsonObject } from '../xds/proto/json.ts'
import { ADMIN_FLAG } from './ask-admin.ts'
import { type Arguments, CONFIG_FLAG, type Command, type CommandIo, JSON_FLAG, UsageError } from './command.ts'
import { EXIT_CONFIG, EXIT_OK, EXIT_START } from './exit-codes.ts'
import { configFile, loadOrReport } from './load-config.ts'
import { heddleVersion } from './version.ts'
import { xdsStatus } from './xds-status.ts'

/** Nothing new for so long: names that are not there yet will not come. */
const QUIET_MS = 1000

/** As they are printed. */
const KEYS: Readonly<Record<string, string>> = {
  Cluster: 'clusters',
  ClusterLoadAssignment: 'endpoints',
  Listener: 'listeners',
  RouteConfiguration: 'routes',
  Address: 'workloads',
  Authorization: 'policies',
}

const TYPE_NAMES = Object.values(KEYS)

export const xdsCommand: Command = {
  name: 'xds',
  summary: 'how it stands with the control plane, and what one sends',
  usage: [
    'xds status [--config heddle.yaml] [--admin HOST:PORT] [--json]',
    'xds dump [--config heddle.yaml] [--address HOST:PORT] [--plaintext] [--node-id ID] [--types LIST] [--timeout DURATION]',
  ],
  description: `
status asks the running proxy: whether it is connected and since when, by type whether the last response was acknowledged (SYNCED) or refused, what is
refused and why, and what waits for something else. It ends with 1 when the control plane is away or something is refused.

dump asks the control plane of heddle.yaml as the proxy would ask, as the same node, and prints what it sends as one JSON document with Envoy's field
names: clusters, endpoints, listeners, routes; of role node workloads and policies. Nothing is put in force, and all is acknowledged: istiod takes
this for another connection of the node. Secrets are not asked for.`,
  flags: {
    config: CONFIG_FLAG,
    admin: ADMIN_FLAG,
    json: JSON_FLAG,
    address: { type: 'string', value: 'HOST:PORT', help: 'of the control plane, in place of xds.address' },
    plaintext: { type: 'boolean', value: '', help: 'without TLS: istiod’s port 15010' },
    'node-id': { type: 'string', value: 'ID', aliases: ['node'], help: 'in place of the one of role and workload' },
    types: { type: 'string', value: 'LIST', help: `of these only, with commas: ${TYPE_NAMES.join(', ')}` },
    timeout: { type: 'string', value: 'DURATION', help: 'how long an answer is waited for; default 10s' },
  },
  async run(args, io) {
    const [action, ...more] = args.positionals
    if (more.length > 0 || (action !== 'dump' && action !== 'status'))
      throw new UsageError('what is to be done? heddle xds status, or heddle xds dump')
    if (action === 'status') return xdsStatus(args, io)
    const wanted = wantedTypes(args.text('types'))
    const timeoutMs = parseDuration(args.text('timeout') ?? '10s')
    if (timeoutMs === null) throw new UsageError('--timeout: expected a duration, such as 10s')
    const bootstrap = await loadOrReport(configFile(args, io), {}, { ...io, env: withFlags(args, io) })
    if (bootstrap === null) return EXIT_CONFIG
    if (bootstrap.xds.address === '')
      throw new UsageError('which control plane? give --address or have xds.address in heddle.yaml')
    return dump(bootstrap, io, { timeoutMs, wanted })
  },
}

/** The fields of heddle.yaml that flags stand for, as the environment says them. */
function withFlags(args: Arguments, { env }: CommandIo): CommandIo['env'] {
  const address = args.text('address')
  const nodeId = args.text('node-id')
  return {
    ...env,
    ...(address === null ? {} : { HEDDLE_XDS_ADDRESS: address }),
    ...(nodeId === null ? {} : { HEDDLE_XDS_NODE_ID: nodeId }),
    ...(args.has('plaintext') ? { HEDDLE_XDS_TRANSPORT: 'plaintext' } : {}),
  }
}

interface DumpTerms {
  readonly timeoutMs: number
  /** Of KEYS. */
  readonly wanted: ReadonlySet<string>
}

async function dump(bootstrap: BootstrapConfig, io: CommandIo, { timeoutMs, wanted }: DumpTerms): Promise<number> {
  const { openAdsClient } = await import('../xds/client/open-ads-client.ts')
  const { XDS } = await import('../xds/client/resource-types.ts')
  const { anyJson } = await import('../xds/proto/json.ts')
  const { REGISTRY } = await import('../xds/proto/registry.ts')
  const json = (typeUrl: string, value: Uint8Array): JsonObject => anyJson({ typeUrl, value }, REGISTRY)
  let lastUpdateMs = performance.now()
  const client = openAdsClient({
    bootstrap: { ...bootstrap, xds: { ...bootstrap.xds, state: '' } },
    env: io.env,
    rng: new Rng(process.pid),
    version: heddleVersion(),
    log: { debug() {}, info() {}, warning: (line) => io.stderr.write(`${line}\n`) },
    onUpdate: ({ typeUrl }) => {
      lastUpdateMs = performance.now()
      const held = (of: string): JsonObject[] => [...client.resources(of).values()].map((r) => json(of, r.bytes))
      // The update is held only once this has returned, so the next turn asks.
      queueMicrotask(() => {
        if (typeUrl === XDS.cluster && wanted.has('endpoints'))
          client.setNames(XDS.endpoints, held(XDS.cluster).flatMap(endpointNames))
        if (typeUrl === XDS.listener && wanted.has('routes')) client.setNames(XDS.route, held(XDS.listener).flatMap(routeNames))
      })
      return []
    },
  })
  const isAny = (...names: readonly string[]): boolean => names.some((name) => wanted.has(name))
  const proxyTypes = [isAny('clusters', 'endpoints') ? XDS.cluster : '', isAny('listeners', 'routes') ? XDS.listener : '']
  const nodeTypes = [isAny('workloads') ? XDS.address : '', isAny('policies') ? XDS.authorization : '']
  const types = (bootstrap.role === 'node' ? nodeTypes : proxyTypes).filter((typeUrl) => typeUrl !== '')
  if (types.length === 0) throw new UsageError(`--types: a ${bootstrap.role} is sent none of these`)
  for (const typeUrl of types) client.subscribe(typeUrl, 'wildcard')
  client.start()
  const untilMs = performance.now() + timeoutMs
  while (performance.now() < untilMs && !(isComplete(client) && performance.now() - lastUpdateMs > 50)) {
    if (hasAnswered(client) && performance.now() - lastUpdateMs > QUIET_MS) break
    await timer(10)
  }
  const { status } = client
  const out = Object.fromEntries(
    status.types
      .map(({ typeUrl }) => [KEYS[typeUrl.slice(typeUrl.lastIndexOf('.') + 1)] ?? typeUrl, typeUrl] as const)
      .filter(([key]) => wanted.has(key))
      .map(([key, typeUrl]) => [key, [...client.resources(typeUrl).values()].map((r) => withoutType(json(typeUrl, r.bytes)))]),
  )
  await client.stop()
  if (!hasAnswered(client)) {
    io.stderr.write(
      `heddle xds dump: no answer from ${status.address}${status.lastError === '' ? '' : `: ${status.lastError}`}\n`,
    )
    return EXIT_START
  }
  io.stdout.write(`${JSON.stringify({ control_plane: status.controlPlane, node: status.nodeId, ...out }, null, 1)}\n`)
  return EXIT_OK
}

function wantedTypes(list: string | null): ReadonlySet<string> {
  const wanted = list === null ? TYPE_NAMES : list.split(',').map((name) => name.trim())
  for (const name of wanted)
    if (!TYPE_NAMES.includes(name))
      throw new UsageError(`--types: ${name} is none of ${TYPE_NAMES.join(', ')}${didYouMean(name, TYPE_NAMES)}`)
  return new Set(wanted)
}

function hasAnswered({ status }: AdsClient): boolean {
  return status.types.some((type) => type.responses > 0)
}

/** Each type has been answered, with as many resources as names. */
function isComplete({ status }: AdsClient): boolean {
  return status.types.every(
    (type) => (type.names === 0 && type.interest === 'names') || (type.responses > 0 && type.resources >= type.names),
  )
}

function withoutType({ '@type': _, ...rest }: JsonObject): JsonObject {
  return rest
}

function endpointNames(cluster: JsonObject): string[] {
  if (cluster['type'] !== 'EDS') return []
  const service = (cluster['eds_cluster_config'] as JsonObject | undefined)?.['service_name']
  return [String(service ?? cluster['name'])]
}

/** Wherever in a listener: connection managers lie in chains, and chains in matchers. */
function routeNames(within: Json): string[] {
  if (typeof within !== 'object' || within === null) return []
  if (Array.isArray(within)) return within.flatMap(routeNames)
  return Object.entries(within as JsonObject).flatMap(([key, value]) =>
    key === 'route_config_name' && typeof value === 'string' ? [value] : routeNames(value),
  )
}

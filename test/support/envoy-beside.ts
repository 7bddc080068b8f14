// The same resources in force in Envoy and in one worker of heddle, and the same requests to both: what each of them said, and what its log says of it.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import type { ResourceUpdate } from '../../lib/xds/client/resource-update.ts'
import { XdsWorld } from '../../lib/xds/store/xds-world.ts'
import { NO_GATEWAY_FIELDS } from '../../lib/xds/translate/internal-endpoint.ts'
import { Envoy } from './envoy.ts'
import { envoyProtos } from './envoy-protos.ts'
import { eventually } from './eventually.ts'
import { header, type ResponseMessage } from './h1-reader.ts'
import { OneWorker } from './one-worker.ts'
import { RawClient, type RequestSpec } from './raw-client.ts'
import type { Teardown } from './teardown.ts'
import { type HostAndPort, httpFilter } from './xds-json.ts'

export interface World {
  /** Further fields of the connection manager. */
  readonly manager?: object
  /** In front of the router. */
  readonly filters?: readonly object[]
  /** Of the router. */
  readonly router?: object
  /** Of the only virtual host. */
  readonly routes?: readonly object[]
  /** Further fields of it. */
  readonly host?: object
  /** Further fields of the route configuration. */
  readonly configuration?: object
  readonly clusters: readonly object[]
}

export interface Said {
  readonly answer: ResponseMessage
  readonly code: number
  readonly flags: string
  readonly details: string
}

/** STATIC. */
export function staticCluster(
  name: string,
  upstreams: readonly (HostAndPort & { readonly status?: string })[],
  more: object = {},
) {
  const lb_endpoints = upstreams.map(({ host, port, status }) => ({
    endpoint: { address: { socket_address: { address: host, port_value: port } } },
    ...(status === undefined ? {} : { health_status: status }),
  }))
  const load_assignment = { cluster_name: name, endpoints: [{ lb_endpoints }] }
  return { name, type: 'STATIC', connect_timeout: '5s', load_assignment, ...more }
}

function listenerOf(world: World, port: number, log: string): object {
  const format = { code: '%RESPONSE_CODE%', flags: '%RESPONSE_FLAGS%', details: '%RESPONSE_CODE_DETAILS%' }
  const manager = {
    stat_prefix: 'both',
    normalize_path: true,
    access_log: [
      {
        name: 'file',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
          path: log,
          log_format: { json_format: format },
        },
      },
    ],
    route_config: {
      name: 'both',
      ...world.configuration,
      virtual_hosts: [{ name: 'all', domains: ['*'], routes: world.routes ?? [], ...world.host }],
    },
    http_filters: [...(world.filters ?? []), httpFilter('http.router.v3.Router', world.router)],
    ...world.manager,
  }
  return {
    name: 'both',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [httpFilter('network.http_connection_manager.v3.HttpConnectionManager', manager)] }],
  }
}

/** Throws where heddle refuses what Envoy takes. */
async function heddleOf(t: Teardown, world: World): Promise<OneWorker> {
  const protos = envoyProtos()
  const made = new XdsWorld({
    routes: { unsafeRetries: 'allowed' },
    tunnelFields: '',
    gateway: NO_GATEWAY_FIELDS,
    fetchTimeoutMs: 0,
  })
  const take = (typeUrl: string, messages: readonly object[]): void => {
    const type = typeUrl.slice(typeUrl.indexOf('/') + 1)
    const changed = messages.map((m) => ({
      typeUrl,
      name: String((m as { readonly name?: string }).name),
      aliases: [],
      version: '1',
      bytes: protos.encode(type, m as never),
    }))
    const update: ResourceUpdate = { typeUrl, origin: 'stream', changed, removed: [], complete: true, version: '1' }
    const faults = made.take(update, 0)
    if (faults.length > 0) throw new Error(faults.map((f) => `${f.name}: ${f.reason}`).join('; '))
  }
  take(XDS.cluster, world.clusters)
  take(XDS.listener, [listenerOf(world, 80, '/dev/null')])
  made.settle(0)
  return OneWorker.start(t, made.snapshot)
}

export class Beside {
  readonly envoy: Envoy
  readonly heddle: OneWorker
  readonly #log: string
  #asked: number

  private constructor(envoy: Envoy, heddle: OneWorker, log: string) {
    this.envoy = envoy
    this.heddle = heddle
    this.#log = log
    this.#asked = 0
  }

  static async start(t: Teardown, world: World): Promise<Beside> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-beside-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const log = path.join(folder, 'access.log')
    const heddle = await heddleOf(t, world)
    const resources = (port: number): object => ({ listeners: [listenerOf(world, port, log)], clusters: world.clusters })
    return new Beside(await Envoy.withResources(t, resources), heddle, log)
  }

  get heddlePort(): number {
    return this.heddle.ports['both'] as number
  }

  /** First Envoy, then heddle; each request on a connection of its own. */
  async ask(t: Teardown, request: RequestSpec, budgetMs?: number): Promise<{ readonly envoy: Said; readonly heddle: Said }> {
    const at = this.#asked++
    const theirs = await askOnce(t, this.envoy.port, request, budgetMs)
    const ours = await askOnce(t, this.heddlePort, request, budgetMs)
    return {
      envoy: { answer: theirs, ...saidBy(await this.#envoyRecord(at)) },
      heddle: { answer: ours, ...saidBy(await this.heddle.record(at)) },
    }
  }

  async #envoyRecord(at: number): Promise<Readonly<Record<string, unknown>>> {
    const line = await eventually(`Envoy's access log record ${at}`, () => readFileSync(this.#log, 'utf8').split('\n')[at] ?? '')
    return JSON.parse(line) as Readonly<Record<string, unknown>>
  }
}

async function askOnce(t: Teardown, port: number, request: RequestSpec, budgetMs?: number): Promise<ResponseMessage> {
  const client = await RawClient.connect(t, port)
  const answer = await client.ask(request, budgetMs)
  client.destroy()
  return answer
}

function saidBy(record: Readonly<Record<string, unknown>>): Omit<Said, 'answer'> {
  const text = (...names: readonly string[]): string => String(names.map((n) => record[n]).find((v) => v !== undefined) ?? '-')
  const code = Number(text('code', 'response_code'))
  return { code, flags: text('flags', 'response_flags'), details: text('details', 'response_code_details') }
}

/** What of an answer is compared: its status and these headers. */
export function parts({ answer, code, flags, details }: Said, ...headers: readonly string[]): object {
  return { status: answer.status, log: [code, flags, details], headers: headers.map((name) => header(answer, name) ?? null) }
}

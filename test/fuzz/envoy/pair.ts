// The same listeners in one Envoy and in one worker of heddle, over xDS; upstreams that say what they were asked; and what became of each request.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { XDS } from '../../../lib/xds/client/resource-types.ts'
import type { ResourceUpdate } from '../../../lib/xds/client/resource-update.ts'
import { XdsWorld } from '../../../lib/xds/store/xds-world.ts'
import { NO_GATEWAY_FIELDS } from '../../../lib/xds/translate/internal-endpoint.ts'
import { Envoy } from '../../support/envoy.ts'
import { staticCluster } from '../../support/envoy-beside.ts'
import { envoyProtos } from '../../support/envoy-protos.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort } from '../../support/free-port.ts'
import { RequestReader, type ResponseMessage } from '../../support/h1-reader.ts'
import { OneWorker } from '../../support/one-worker.ts'
import { headerPairs, RawClient } from '../../support/raw-client.ts'
import type { Teardown } from '../../support/teardown.ts'
import { httpFilter } from '../../support/xds-json.ts'
import { type FuzzRequest, LISTENER_PORT, type Subject } from './subject.ts'

/** Names of the upstreams' clusters. */
export const CLUSTERS = ['a', 'b'] as const
/** In every request: which one it is, for the access log. */
const ID = 'x-fuzz-id'

/** What became of a request. Ports of the listener are `$port`. */
export interface Outcome {
  /** 0: the connection was closed without an answer. */
  readonly status: number
  readonly headers: readonly string[]
  /** Of an answer that is not the upstream's. */
  readonly body: string
  /** What the upstream was asked; null: nothing. */
  readonly upstream: { readonly name: string; readonly line: string; readonly headers: readonly string[] } | null
  /** Of the access log; null: there is no line. */
  readonly log: Readonly<Record<string, unknown>> | null
}

export interface Side {
  /** Why the listener of a subject was refused. */
  readonly refused: ReadonlyMap<number, string>
  ask(subject: number, requests: readonly FuzzRequest[]): Promise<readonly Outcome[]>
}

const LOGGED = {
  id: `%REQ(${ID})%`,
  code: '%RESPONSE_CODE%',
  flags: '%RESPONSE_FLAGS%',
  details: '%RESPONSE_CODE_DETAILS%',
  route: '%ROUTE_NAME%',
  cluster: '%UPSTREAM_CLUSTER_RAW%',
}

const nameOf = (subject: number): string => `subject-${subject}`

function listenerOf(subject: Subject, index: number, port: number, log: string): object {
  const manager = {
    stat_prefix: nameOf(index),
    access_log: [
      {
        name: 'file',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
          path: log,
          log_format: { json_format: LOGGED },
        },
      },
    ],
    route_config: { name: nameOf(index), ...subject.routes },
    http_filters: [...subject.filters, httpFilter('http.router.v3.Router')],
    ...subject.manager,
  }
  const listener = {
    name: nameOf(index),
    address: { socket_address: { address: '127.0.0.1', port_value: LISTENER_PORT } },
    filter_chains: [{ filters: [httpFilter('network.http_connection_manager.v3.HttpConnectionManager', manager)] }],
  }
  return withPort(listener, port) as object
}

function withPort(value: unknown, port: number): unknown {
  if (typeof value === 'number')
    return value >= LISTENER_PORT - 100 && value <= LISTENER_PORT + 100 ? value - LISTENER_PORT + port : value
  if (Array.isArray(value)) return value.map((v) => withPort(v, port))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, withPort(v, port)]))
}

export async function startPair(
  t: Teardown,
  subjects: readonly Subject[],
): Promise<{ readonly envoy: Side; readonly heddle: Side }> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-fuzz-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const clusters: object[] = []
  for (const name of CLUSTERS) clusters.push(staticCluster(name, [{ host: '127.0.0.1', port: await startEcho(t, name) }]))
  // Those that are free may be told twice.
  const ports = new Set<number>()
  while (ports.size < 2 * subjects.length) ports.add(await freePort())
  const all = [...ports]
  const [envoy, heddle] = await Promise.all([
    envoySide(t, subjects, clusters, all.slice(0, subjects.length), path.join(folder, 'envoy.log')),
    heddleSide(t, subjects, clusters, all.slice(subjects.length), path.join(folder, 'heddle.log')),
  ])
  return { envoy, heddle }
}

async function envoySide(
  t: Teardown,
  subjects: readonly Subject[],
  clusters: readonly object[],
  ports: readonly number[],
  log: string,
): Promise<Side> {
  const listeners = subjects.map((s, i) => listenerOf(s, i, ports[i] as number, log))
  const envoy = await Envoy.withListeners(t, listeners, clusters)
  const refused = new Map<number, string>()
  const { body } = await envoy.admin('/config_dump?resource=dynamic_listeners')
  const there = new Map<string, string | null>()
  interface Dumped {
    readonly name: string
    readonly active_state?: object
    readonly error_state?: { readonly details: string }
  }
  for (const l of (JSON.parse(body || '{}') as { readonly configs?: readonly Dumped[] }).configs ?? [])
    there.set(l.name, l.active_state === undefined ? (l.error_state?.details ?? 'it is not active') : null)
  for (const i of subjects.keys()) {
    const reason = there.has(nameOf(i)) ? there.get(nameOf(i)) : 'it is not there'
    if (typeof reason === 'string') refused.set(i, reason)
  }
  return sideOf(t, (i) => ports[i] as number, refused, log)
}

async function heddleSide(
  t: Teardown,
  subjects: readonly Subject[],
  clusters: readonly object[],
  ports: readonly number[],
  log: string,
): Promise<Side> {
  const world = new XdsWorld({
    routes: { unsafeRetries: 'allowed' },
    tunnelFields: '',
    gateway: NO_GATEWAY_FIELDS,
    fetchTimeoutMs: 0,
  })
  const take = (typeUrl: string, messages: readonly object[]) => {
    const type = typeUrl.slice(typeUrl.indexOf('/') + 1)
    const changed = messages.map((m) => {
      const { name } = m as { readonly name: string }
      return { typeUrl, name, aliases: [], version: '1', bytes: envoyProtos().encode(type, m as never) }
    })
    const update: ResourceUpdate = { typeUrl, origin: 'stream', changed, removed: [], complete: true, version: '1' }
    return world.take(update, 0)
  }
  take(XDS.cluster, clusters)
  const faults = take(
    XDS.listener,
    subjects.map((s, i) => listenerOf(s, i, ports[i] as number, log)),
  )
  world.settle(0)
  const refused = new Map(faults.map(({ name, reason }) => [Number(name.slice(nameOf(0).length - 1)), reason]))
  const ofName = Object.fromEntries(subjects.map((_, i) => [nameOf(i), ports[i] as number]))
  const worker = await OneWorker.start(t, world.snapshot, { ports: ofName })
  const side = sideOf(t, (i) => ports[i] as number, refused, log)
  return {
    refused,
    ask: async (subject, requests) => {
      const outcomes = await side.ask(subject, requests)
      if (worker.errors.length > 0) throw worker.errors[0]
      return outcomes
    },
  }
}

function sideOf(t: Teardown, portOf: (subject: number) => number, refused: ReadonlyMap<number, string>, log: string): Side {
  const lines = new LogLines(log)
  return {
    refused,
    ask: async (subject, requests) => {
      const port = portOf(subject)
      const answers = await answersTo(t, port, subject, requests)
      const outcomes: Outcome[] = []
      for (const [i, answer] of answers.entries()) {
        // What is no request to either is not in its log under this name.
        const logged = answer === null || isOfCodec(answer) ? null : await lines.of(`${subject}.${i}`)
        outcomes.push(outcomeOf(answer, logged, port))
      }
      return outcomes
    },
  }
}

/** Answered before its headers are known. */
function isOfCodec({ status, headers }: ResponseMessage): boolean {
  return status === 400 || (status === 403 && headers.some(([n, v]) => n.toLowerCase() === 'connection' && v === 'close'))
}

/** One after the other, each client on a connection as long as it is kept open. */
async function answersTo(
  t: Teardown,
  port: number,
  subject: number,
  requests: readonly FuzzRequest[],
): Promise<readonly (ResponseMessage | null)[]> {
  const clients = new Map<string, RawClient>()
  const answers: (ResponseMessage | null)[] = []
  for (const [i, { from, ...request }] of requests.entries()) {
    const spec = { ...request, headers: [...headerPairs(request.headers), [ID, `${subject}.${i}`] as const] }
    const ask = async (): Promise<ResponseMessage> => {
      const client = clients.get(from) ?? (await RawClient.connect(t, { port, localAddress: from }))
      clients.set(from, client)
      return client.ask(spec)
    }
    const again = async (): Promise<ResponseMessage | null> => {
      clients.get(from)?.destroy()
      clients.delete(from)
      return ask().catch(() => null)
    }
    const answer = await ask().catch(again)
    const ends =
      answer === null ||
      answer.status === 400 ||
      answer.headers.some(([n, v]) => n.toLowerCase() === 'connection' && v === 'close')
    if (ends) {
      clients.get(from)?.destroy()
      clients.delete(from)
    }
    answers.push(answer)
  }
  for (const client of clients.values()) client.destroy()
  return answers
}

function outcomeOf(answer: ResponseMessage | null, log: Readonly<Record<string, unknown>> | null, port: number): Outcome {
  const text = (s: string): string => s.replaceAll(String(port), '$port')
  const lines = (pairs: readonly (readonly [string, string])[]): string[] =>
    pairs.map(([n, v]) => `${n.toLowerCase()}: ${text(v)}`).toSorted()
  if (answer === null) return { status: 0, headers: [], body: '', upstream: null, log }
  const echoed = answer.headers.find(([n]) => n.toLowerCase() === 'x-echo')?.[1] ?? null
  const seen = echoed === null ? null : (JSON.parse(Buffer.from(echoed, 'base64').toString()) as Echoed)
  return {
    status: answer.status,
    headers: lines(answer.headers.filter(([n]) => n.toLowerCase() !== 'x-echo')),
    body: text(answer.body.toString('latin1')),
    upstream: seen === null ? null : { name: seen.name, line: seen.line, headers: lines(seen.headers.filter(([n]) => n !== ID)) },
    log: log === null ? null : (JSON.parse(text(JSON.stringify(log))) as Readonly<Record<string, unknown>>),
  }
}

/** Envoy writes its log each 20 ms. */
const LOG_BUDGET_MS = 1500

interface Echoed {
  readonly name: string
  readonly line: string
  readonly headers: readonly (readonly [string, string])[]
}

/** Answers each request with itself, in a header: HEAD has no body. */
async function startEcho(t: Teardown, name: string): Promise<number> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy())
    const reader = new RequestReader({
      onMessage: ({ startLine, headers }) => {
        const echo: Echoed = { name, line: startLine, headers }
        socket.write(
          `HTTP/1.1 200 OK\r\nx-up: 1\r\nx-echo: ${Buffer.from(JSON.stringify(echo)).toString('base64')}\r\ncontent-length: 0\r\n\r\n`,
        )
      },
      onError: () => socket.destroy(),
    })
    socket.on('data', (bytes) => reader.push(bytes))
  })
  t.teardown(() => {
    for (const s of sockets) s.destroy()
    server.close()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as net.AddressInfo).port
}

/** Lines of an access log by the id that they are of. */
class LogLines {
  readonly #file: string
  #read: number
  readonly #byId: Map<string, Readonly<Record<string, unknown>>>

  constructor(file: string) {
    this.#file = file
    this.#read = 0
    this.#byId = new Map()
  }

  /** null: there is none. */
  async of(id: string): Promise<Readonly<Record<string, unknown>> | null> {
    const found = (): Readonly<Record<string, unknown>> | undefined => {
      if (!this.#byId.has(id)) this.#take()
      return this.#byId.get(id)
    }
    return (await eventually(`the line of ${id}`, found, LOG_BUDGET_MS).catch(() => null)) ?? null
  }

  #take(): void {
    let text = ''
    try {
      text = readFileSync(this.#file, 'latin1')
    } catch {
      return
    }
    const end = text.lastIndexOf('\n') + 1
    for (const line of text.slice(this.#read, end).split('\n')) {
      if (line === '') continue
      const { id, ...rest } = JSON.parse(line) as { readonly id: string }
      this.#byId.set(id, rest)
    }
    this.#read = end
  }
}

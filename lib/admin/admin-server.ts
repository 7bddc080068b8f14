// The admin page on 127.0.0.1:15000, with Envoy's paths (Envoy admin). What acts is POST only; who is not on this machine,
// or comes from a web page, is turned away (origin-check.ts).
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { SocketAddress } from '../state/bootstrap-config.ts'
import { LOG_LEVELS, type Logger, type LogLevel } from '../telemetry/logger.ts'
import { EXPOSITION_TYPE } from '../telemetry/metrics-registry.ts'
import type { AdminSource } from './admin-source.ts'
import { clustersJson, clustersText, socketAddress } from './cluster-page.ts'
import { configDump, redactedEnvoyJson, redactedJson } from './config-dump.ts'
import { configUsePage } from './config-use-page.ts'
import { envoyDump } from './dump-query.ts'
import { ejectionsJson, ejectionsText } from './ejection-page.ts'
import { certsJson, commandLineOptions, memoryJson, statsJson } from './envoy-pages.ts'
import { answer, closeServer, createLocalServer, JSON_TYPE, listenOn, TEXT } from './http-listen.ts'
import { isLocalHost, isLocalOrigin } from './origin-check.ts'
import { statsText } from './stats-page.ts'
import { ztunnelDump } from './ztunnel-dump.ts'

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
  /** Done once the answer is on its way. */
  readonly afterwards: (() => void) | null
}

interface Page {
  readonly path: string
  /** `POST`: it acts. */
  readonly method: 'GET' | 'POST'
  readonly help: string
  readonly run: (source: AdminSource, query: URLSearchParams) => Answer | Promise<Answer>
}

export class AdminServer {
  readonly #config: SocketAddress
  readonly #source: AdminSource
  readonly #logger: Logger
  readonly #server: Server

  constructor(config: SocketAddress, source: AdminSource, logger: Logger) {
    this.#config = config
    this.#source = source
    this.#logger = logger
    this.#server = createLocalServer((req, res) => {
      this.#onRequest(req, res).catch((error: unknown) => {
        this.#logger.error('admin page failed', { path: req.url, error })
        if (!res.headersSent) answer(res, 500, TEXT, 'internal error, see the log of heddle\n')
      })
    })
  }

  /** Rejects with an Error that names the setting to change when the port cannot be had. */
  listen(): Promise<{ port: number }> {
    return listenOn(this.#server, this.#config, 'admin')
  }

  close(): Promise<void> {
    return closeServer(this.#server)
  }

  async #onRequest(req: IncomingMessage, res: ServerResponse): Promise<void> {
    req.resume() // no page reads a body
    const refusal = this.#refusal(req)
    if (refusal !== '') return answer(res, 403, TEXT, refusal)
    const url = req.url ?? '/'
    const end = url.indexOf('?')
    const path = end < 0 ? url : url.slice(0, end)
    const page = PAGES.find((p) => p.path === path)
    if (page === undefined) return answer(res, 404, TEXT, `invalid path. ${helpText()}`)
    const method = req.method === 'HEAD' ? 'GET' : req.method
    if (method !== page.method) {
      res.setHeader('allow', page.method === 'GET' ? 'GET, HEAD' : page.method)
      return answer(res, 405, TEXT, `Method ${method} not allowed, ${page.method} required.`)
    }
    const { status, type, body, afterwards } = await page.run(
      this.#source,
      new URLSearchParams(end < 0 ? '' : url.slice(end + 1)),
    )
    if (afterwards !== null) res.once('close', afterwards)
    answer(res, status, type, body)
  }

  #refusal(req: IncomingMessage): string {
    if (!isLocalHost(req.headers.host, this.#config.address)) {
      return 'The Host header does not name this machine. The admin page is reached as localhost, 127.0.0.1 or [::1] only.\n'
    }
    // Also for GET: no web page has business here.
    if (!isLocalOrigin(req.headers.origin, this.#config.address)) return 'Requests from other web pages are refused.\n'
    return ''
  }
}

const PAGES: readonly Page[] = [
  { path: '/', method: 'GET', help: 'this list, with links', run: () => answerOf(200, 'text/html; charset=utf-8', indexHtml()) },
  { path: '/certs', method: 'GET', help: 'certificates and roots in use', run: certs },
  { path: '/clusters', method: 'GET', help: 'clusters and endpoints; ?format=json', run: clusters },
  {
    path: '/config_dump',
    method: 'GET',
    help: 'configuration in force; ?format=envoy|heddle|ztunnel, ?resource=, ?mask=, ?name_regex=, ?include_eds',
    run: dump,
  },
  {
    path: '/config_use',
    method: 'GET',
    help: 'clusters and virtual hosts that requests have needed so far, and what configuration takes',
    run: configUse,
  },
  {
    path: '/control_plane',
    method: 'GET',
    help: 'whether it is connected and since when; by type what came, what was refused and why',
    run: controlPlane,
  },
  { path: '/drain_listeners', method: 'POST', help: 'stop accepting, finish what is in flight', run: drain },
  { path: '/ejections', method: 'GET', help: 'endpoints that are or were ejected, and why; ?format=json', run: ejections },
  { path: '/explain', method: 'GET', help: 'what was decided for a request; ?id=<x-request-id>', run: explain },
  {
    path: '/healthcheck/fail',
    method: 'POST',
    help: 'readiness fails until /healthcheck/ok',
    run: (source) => saidWell(source, false),
  },
  { path: '/healthcheck/ok', method: 'POST', help: 'takes /healthcheck/fail back', run: (source) => saidWell(source, true) },
  { path: '/help', method: 'GET', help: 'this list', run: () => answerOf(200, TEXT, helpText()) },
  { path: '/listeners', method: 'GET', help: 'listeners and their addresses; ?format=json', run: listeners },
  { path: '/logging', method: 'POST', help: 'the log level; ?level=debug|info|warning|error sets it', run: logging },
  { path: '/memory', method: 'GET', help: 'memory of the process', run: memory },
  { path: '/metrics', method: 'GET', help: 'as /stats/prometheus', run: prometheus },
  { path: '/quitquitquit', method: 'POST', help: 'shut down as on SIGTERM', run: quit },
  { path: '/ready', method: 'GET', help: '200 LIVE, or 503 and the state; ?detail for the configuration', run: ready },
  { path: '/server_info', method: 'GET', help: 'version, state, uptime, bootstrap', run: serverInfo },
  { path: '/stats', method: 'GET', help: 'metrics as text; ?usedonly, ?filter=<RE2>, ?format=prometheus|json', run: stats },
  { path: '/stats/prometheus', method: 'GET', help: 'metrics for Prometheus', run: prometheus },
  {
    path: '/workloads',
    method: 'GET',
    help: 'what the tunnel of a node knows: pods, workloads, services, policies',
    run: workloads,
  },
]

function ready(source: AdminSource, query: URLSearchParams): Answer {
  const state = source.state()
  const status = state.server === 'LIVE' ? 200 : 503
  if (!query.has('detail')) return answerOf(status, TEXT, `${state.server}\n`)
  const { server, ...rest } = state
  const notInForce = source.statuses().filter((s) => s.state === 'refused' || s.state === 'waiting')
  return answerOf(status, JSON_TYPE, jsonText({ state: server, ...rest, resources: notInForce }))
}

function workloads(source: AdminSource): Answer {
  const view = source.tunnel()
  if (view === null) return answerOf(404, TEXT, 'only the role node has workloads\n')
  const { world, ...rest } = view
  return answerOf(200, JSON_TYPE, jsonText({ ...rest, ...world }))
}

function controlPlane(source: AdminSource): Answer {
  const status = source.controlPlane()
  if (status === null) return answerOf(404, TEXT, 'no control plane: configuration comes from files\n')
  return answerOf(200, JSON_TYPE, jsonText(status))
}

function prometheus(source: AdminSource): Answer {
  return answerOf(200, EXPOSITION_TYPE, source.metricsText())
}

function stats(source: AdminSource, query: URLSearchParams): Answer {
  if (query.get('format') === 'prometheus') return prometheus(source)
  const text = statsText(source.metricsText(), { usedOnly: query.has('usedonly'), filter: query.get('filter') ?? '' })
  if (text === null) return answerOf(400, TEXT, 'filter is not a regular expression (RE2 syntax)\n')
  return query.get('format') === 'json' ? answerOf(200, JSON_TYPE, jsonText(statsJson(text))) : answerOf(200, TEXT, text)
}

function certs(source: AdminSource): Answer {
  return answerOf(200, JSON_TYPE, jsonText(certsJson(source.dumpedConfig().secrets, Date.now())))
}

function memory(): Answer {
  return answerOf(200, JSON_TYPE, jsonText(memoryJson(process.memoryUsage())))
}

async function configUse(source: AdminSource): Promise<Answer> {
  return answerOf(200, JSON_TYPE, jsonText(configUsePage(await source.configUse(), source.snapshot())))
}

/** In the shape that who asks expects: heddle's own, or where a control plane feeds it, which Istio's tools ask next to, Envoy's. */
function dump(source: AdminSource, query: URLSearchParams): Answer {
  const tunnel = source.tunnel()
  const format = query.get('format') ?? (tunnel !== null ? 'ztunnel' : source.controlPlane() !== null ? 'envoy' : 'heddle')
  if (format === 'ztunnel' && tunnel !== null)
    return answerOf(200, JSON_TYPE, jsonText(ztunnelDump(tunnel, source.dumpedConfig().secrets, source.serverInfo())))
  if (format === 'envoy') {
    const { status, body } = envoyDump(source.dumpedConfig(), query)
    return status === 200 ? answerOf(200, JSON_TYPE, redactedEnvoyJson(body)) : answerOf(status, TEXT, String(body))
  }
  if (format !== 'heddle') return answerOf(400, TEXT, 'format is envoy or heddle, of role node also ztunnel\n')
  const value = configDump(source, query.get('resource') ?? '')
  if (value !== null) return answerOf(200, JSON_TYPE, redactedJson(value))
  return answerOf(404, TEXT, 'no such part; resource is listeners, routeTables, defaultPorts, clusters or resources\n')
}

async function clusters(source: AdminSource, query: URLSearchParams): Promise<Answer> {
  const views = await source.workerViews()
  const snapshot = source.snapshot()
  const known = {
    healthOf: (cluster: string, address: string) => source.hostHealth(cluster, address),
    fed: source.controlPlane() !== null,
  }
  if (query.get('format') === 'json') return answerOf(200, JSON_TYPE, jsonText(clustersJson(snapshot, views, known)))
  return answerOf(200, TEXT, clustersText(snapshot, views, known))
}

function listeners(source: AdminSource, query: URLSearchParams): Answer {
  const views = source.listeners().map((l) => ({ ...l, text: hostPort(l.bound) }))
  if (query.get('format') !== 'json') return answerOf(200, TEXT, views.map((l) => `${l.name}::${l.text}\n`).join(''))
  const statuses = views.map((l) => ({ name: l.name, local_address: { socket_address: socketAddress(l.text) } }))
  return answerOf(200, JSON_TYPE, jsonText({ listener_statuses: statuses }))
}

function serverInfo(source: AdminSource): Answer {
  const { version, uptimeSeconds, bootstrap } = source.serverInfo()
  const uptime = `${Math.floor(uptimeSeconds)}s`
  return answerOf(
    200,
    JSON_TYPE,
    redactedJson({
      version,
      state: source.state().server,
      hot_restart_version: 'disabled',
      uptime_current_epoch: uptime,
      uptime_all_epochs: uptime,
      command_line_options: commandLineOptions(bootstrap),
      node: source.dumpedConfig().node,
      node_version: process.version,
      pid: process.pid,
      bootstrap,
    }),
  )
}

/** Those that heddle has not, by the nearest that it has. */
const ENVOY_LEVELS: Readonly<Record<string, LogLevel>> = { trace: 'debug', warn: 'warning', critical: 'error', off: 'error' }

function logging(source: AdminSource, query: URLSearchParams): Answer {
  const wanted = query.get('level')
  if (wanted !== null) {
    const level = ENVOY_LEVELS[wanted] ?? LOG_LEVELS.find((l): l is LogLevel => l === wanted)
    if (level === undefined) return answerOf(400, TEXT, `level is one of ${LOG_LEVELS.join(', ')}\n`)
    source.setLogLevel(level)
  }
  return answerOf(200, TEXT, `active loggers:\n  heddle: ${source.logLevel()}\n`)
}

/** The answer goes out before the server does. */
function quit(source: AdminSource): Answer {
  return { ...answerOf(200, TEXT, 'OK\n'), afterwards: () => source.quit() }
}

function saidWell(source: AdminSource, well: boolean): Answer {
  source.setUnwell(!well)
  return answerOf(200, TEXT, 'OK\n')
}

function drain(source: AdminSource): Answer {
  source.drain()
  return answerOf(200, TEXT, 'OK\n')
}

function ejections(source: AdminSource, query: URLSearchParams): Answer {
  const all = source.ejections()
  return query.get('format') === 'json'
    ? answerOf(200, JSON_TYPE, jsonText(ejectionsJson(all)))
    : answerOf(200, TEXT, ejectionsText(all))
}

async function explain(source: AdminSource, query: URLSearchParams): Promise<Answer> {
  const id = query.get('id') ?? ''
  if (id === '') return answerOf(400, TEXT, 'say which request: /explain?id=<its x-request-id>\n')
  const explanation = await source.explain(id)
  if (explanation === null) return answerOf(404, JSON_TYPE, jsonText({ id, error: 'no worker remembers a request with this id' }))
  return answerOf(200, JSON_TYPE, jsonText(explanation))
}

function answerOf(status: number, type: string, body: string): Answer {
  return { status, type, body, afterwards: null }
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 1)}\n`
}

function hostPort({ address, port }: SocketAddress): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function helpText(): string {
  return `admin commands are:\n${PAGES.map((p) => `  ${p.path}${p.method === 'POST' ? ' (POST)' : ''}: ${p.help}\n`).join('')}`
}

/** Text of PAGES only, which holds nothing that HTML would need escaped but `<` and `>`. */
function indexHtml(): string {
  const rows = PAGES.map((p) => {
    const name = p.method === 'GET' ? `<a href="${p.path}">${p.path}</a>` : `${p.path} (POST)`
    return `<tr><td>${name}</td><td>${p.help.replace(/</g, '&lt;').replace(/>/g, '&gt;')}</td></tr>`
  })
  return `<!doctype html><meta charset="utf-8"><title>heddle</title><h1>heddle</h1><table>${rows.join('\n')}</table>\n`
}

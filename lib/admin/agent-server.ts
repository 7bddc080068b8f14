// What Istio's agent serves in each pod, on 15020: readiness, metrics of application and proxy together, the application's probes. It listens to everybody, so
// what acts, and what tells of the mesh, is for this machine only.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AgentConfig } from '../state/bootstrap-config.ts'
import { EXPOSITION_TYPE } from '../telemetry/metrics-registry.ts'
import { askApplication } from './app-probes.ts'
import { answer, closeServer, createLocalServer, JSON_TYPE, listenOn, TEXT } from './http-listen.ts'
import { mergedMetrics, scrapeCounts, scrapeTimeout } from './merged-metrics.ts'
import { isLocalHost, isLocalOrigin } from './origin-check.ts'
import { isLocalPeer, readinessAnswer } from './readiness.ts'

export interface AgentSource {
  /** What readiness waits for; empty: ready. */
  waitingFor(): readonly string[]
  /** Prometheus text 0.0.4, fresh. */
  metricsText(): string
  /** Shut down as SIGTERM does; returns before that is done. */
  quit(): void
  /** The end is near: clients of the workload are told to go elsewhere. Returns at once. */
  announceDrain(): void
  /** The names that the DNS proxy knows; null: there is none. */
  names(): unknown
}

/** Of probes and scrapes that are under way. */
const MAX_UNDER_WAY = 64

export class AgentServer {
  readonly #config: AgentConfig
  readonly #source: AgentSource
  readonly #server: Server
  #underWay: number
  #scrapes: number
  /** Of applications. */
  #failedScrapes: number

  constructor(config: AgentConfig, source: AgentSource) {
    this.#config = config
    this.#source = source
    this.#underWay = 0
    this.#scrapes = 0
    this.#failedScrapes = 0
    this.#server = createLocalServer((req, res) => {
      this.#onRequest(req, res).catch(() => {
        if (!res.headersSent) answer(res, 500, TEXT, 'internal error\n')
      })
    })
  }

  listen(): Promise<{ port: number }> {
    const { address, statusPort } = this.#config
    return listenOn(this.#server, { address, port: statusPort }, 'agent', 'statusPort')
  }

  close(): Promise<void> {
    return closeServer(this.#server)
  }

  async #onRequest(req: IncomingMessage, res: ServerResponse): Promise<void> {
    req.resume() // nothing here reads a body
    const url = req.url ?? ''
    const end = url.indexOf('?')
    const path = end < 0 ? url : url.slice(0, end)
    const isProbe = path.startsWith('/app-health/') || path.startsWith('/app-lifecycle/')
    if (path === '/quitquitquit') this.#act(req, res, () => this.#source.quit())
    else if (path === '/drain') this.#act(req, res, () => this.#source.announceDrain())
    else if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.setHeader('allow', 'GET, HEAD')
      answer(res, 405, TEXT, 'GET only\n')
    } else if (path === '/healthz/ready') readinessAnswer(req, res, this.#source.waitingFor())
    else if (path === '/stats/prometheus' || path === '/metrics') await this.#bounded(res, () => this.#metrics(req, res))
    else if (path === '/debug/ndsz') this.#names(req, res)
    else if (isProbe) await this.#bounded(res, () => this.#probe(path, req, res))
    else answer(res, 404, TEXT, 'not found\n')
  }

  async #bounded(res: ServerResponse, run: () => Promise<void>): Promise<void> {
    if (this.#underWay >= MAX_UNDER_WAY) {
      answer(res, 503, TEXT, 'too many at once\n')
      return
    }
    this.#underWay++
    try {
      await run()
    } finally {
      this.#underWay--
    }
  }

  async #metrics(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { metricsFor, applicationMetrics } = this.#config
    if (metricsFor === 'local' && !isLocalPeer(req)) {
      forbid(res)
      return
    }
    const header = req.headers['x-prometheus-scrape-timeout-seconds']
    const ours = this.#source.metricsText()
    const limitMs = scrapeTimeout(typeof header === 'string' ? header : undefined)
    const { text, failed } = await mergedMetrics(ours, applicationMetrics, limitMs)
    this.#scrapes++
    this.#failedScrapes += failed
    const counts = applicationMetrics.length === 0 ? '' : scrapeCounts(this.#scrapes, this.#failedScrapes)
    answer(res, 200, EXPOSITION_TYPE, counts + text)
  }

  async #probe(path: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const probe = this.#config.probes.find((p) => p.path === path)
    if (probe === undefined) {
      answer(res, 400, TEXT, 'no such probe\n')
      return
    }
    const { status, body } = await askApplication(probe, this.#config.probeAddress, req.headers)
    // A page of the application's that somebody may open here in a browser is not taken for anything but text.
    res.writeHead(status, { 'content-type': TEXT, 'content-length': body.length, 'x-content-type-options': 'nosniff' })
    res.end(body)
  }

  #names(req: IncomingMessage, res: ServerResponse): void {
    if (!isLocal(req, this.#config.address)) forbid(res)
    else answer(res, 200, JSON_TYPE, `${JSON.stringify(this.#source.names(), null, 2)}\n`)
  }

  #act(req: IncomingMessage, res: ServerResponse, act: () => void): void {
    if (!isLocal(req, this.#config.address)) forbid(res)
    else if (req.method !== 'POST') {
      res.setHeader('allow', 'POST')
      answer(res, 405, TEXT, 'POST only\n')
    } else {
      answer(res, 200, TEXT, 'OK\n')
      act()
    }
  }
}

function forbid(res: ServerResponse): void {
  answer(res, 403, TEXT, 'for this machine only\n')
}

/** A program on this machine that was not sent by a web page. */
function isLocal(req: IncomingMessage, address: string): boolean {
  return isLocalPeer(req) && isLocalHost(req.headers.host, address) && isLocalOrigin(req.headers.origin, address)
}

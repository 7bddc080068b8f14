// The proxy's metrics for Prometheus, and nothing else, on Istio's 15090: it listens to everybody.
import type { Server } from 'node:http'
import type { AgentConfig } from '../state/bootstrap-config.ts'
import { EXPOSITION_TYPE } from '../telemetry/metrics-registry.ts'
import { answer, closeServer, createLocalServer, listenOn, TEXT } from './http-listen.ts'

export class MetricsServer {
  readonly #config: AgentConfig
  readonly #server: Server

  /** @param metricsText Prometheus text 0.0.4, fresh */
  constructor(config: AgentConfig, metricsText: () => string) {
    this.#config = config
    this.#server = createLocalServer((req, res) => {
      req.resume()
      const isMetrics = /^\/stats\/prometheus(?:\?|$)/.test(req.url ?? '')
      if (!isMetrics) answer(res, 404, TEXT, 'not found: /stats/prometheus is here\n')
      else if (req.method !== 'GET' && req.method !== 'HEAD') answer(res, 405, TEXT, 'GET only\n')
      else answer(res, 200, EXPOSITION_TYPE, metricsText())
    })
  }

  listen(): Promise<{ port: number }> {
    const { address, metricsPort } = this.#config
    return listenOn(this.#server, { address, port: metricsPort }, 'agent', 'metricsPort')
  }

  close(): Promise<void> {
    return closeServer(this.#server)
  }
}

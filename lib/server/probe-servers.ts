// What is served to operators, probes and scrapers, from before the first configuration to the end.
import { AdminServer } from '../admin/admin-server.ts'
import { HealthServer } from '../admin/health-server.ts'
import { adminSource } from './admin-view.ts'
import type { AgentDuties } from './agent.ts'
import type { Supervisor } from './supervisor.ts'

export class ProbeServers {
  readonly #proxy: Supervisor
  readonly #agent: AgentDuties | null
  readonly #admin: AdminServer
  readonly #health: HealthServer

  constructor(proxy: Supervisor, agent: AgentDuties | null) {
    this.#proxy = proxy
    this.#agent = agent
    this.#admin = new AdminServer(proxy.bootstrap.admin, adminSource(proxy), proxy.logger)
    this.#health = new HealthServer(proxy.bootstrap.health, () => proxy.waitingFor())
  }

  /** Resolves with the port of the admin page. Rejects with an Error that names the setting to change. */
  async listen(): Promise<number> {
    const proxy = this.#proxy
    const { admin, health } = proxy.bootstrap
    const adminPort = (await this.#admin.listen()).port
    const healthPort = (await this.#health.listen()).port
    proxy.logger.info(`admin on ${admin.address}:${adminPort}, health on ${health.address}:${healthPort}`)
    await this.#agent?.listen({
      slab: proxy.registry.main,
      waitingFor: () => proxy.waitingFor(),
      metricsText: () => proxy.metricsText(),
      quit: () => void proxy.shutdown('/quitquitquit'),
      announceDrain: () => proxy.announceDrain('/drain'),
    })
    return adminPort
  }

  async close(): Promise<void> {
    await Promise.all([this.#admin.close(), this.#health.close(), this.#agent?.close()])
  }
}

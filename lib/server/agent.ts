// What Istio's agent does beside Envoy, on the main thread: servers for probes and metrics, names of the mesh, roots of the mesh. Each only where heddle.yaml has it.
import { readFileSync } from 'node:fs'
import type { AgentServer, AgentSource } from '../admin/agent-server.ts'
import type { MetricsServer } from '../admin/metrics-server.ts'
import type { DnsProxy } from '../dns/dns-proxy.ts'
import { NameTable } from '../dns/name-table.ts'
import { parseResolvConf } from '../dns/resolv-conf.ts'
import type { CertificateManager } from '../identity/source/certificate-manager.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import { DnsMetrics } from '../telemetry/dns-metrics.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { MetricsSlab } from '../telemetry/slab.ts'
import type { AgentFeed, NamesOfMesh } from '../xds/agent/agent-feed.ts'
import type { HealthReports } from '../xds/agent/health-reports.ts'

export interface AgentDutiesOptions {
  readonly bootstrap: BootstrapConfig
  readonly identity: CertificateManager | null
  readonly log: Logger
}

/** What of the proxy the servers show. */
export interface AgentHost extends Omit<AgentSource, 'names'> {
  readonly slab: MetricsSlab
}

const RESOLV_CONF = '/etc/resolv.conf'

export class AgentDuties {
  readonly #options: AgentDutiesOptions
  #feed: AgentFeed | null
  /** As they were told last; null: not yet. */
  #names: NamesOfMesh | null
  #dns: DnsProxy | null
  #servers: (AgentServer | MetricsServer)[]
  /** null: nobody asks the application for the control plane. */
  #health: HealthReports | null

  private constructor(options: AgentDutiesOptions) {
    this.#options = options
    this.#feed = null
    this.#names = null
    this.#dns = null
    this.#servers = []
    this.#health = null
  }

  /** What reads the control plane's messages is loaded only where there is one. */
  static async open(options: AgentDutiesOptions): Promise<AgentDuties> {
    const duties = new AgentDuties(options)
    const { bootstrap, identity } = options
    const onNames = bootstrap.dns.port === 0 ? null : (names: NamesOfMesh) => duties.#useNames(names)
    const onRoots = identity === null ? null : (pems: readonly string[]) => identity.useMeshRoots(pems)
    const isFed = bootstrap.xds.address !== '' && bootstrap.role !== 'node'
    if (isFed && (onNames !== null || onRoots !== null || bootstrap.agent.readinessProbe !== null)) {
      const { AgentFeed } = await import('../xds/agent/agent-feed.ts')
      duties.#feed = new AgentFeed({ onNames, onRoots })
    }
    return duties
  }

  /** What is asked of a control plane for it; null: nothing. */
  get feed(): AgentFeed | null {
    return this.#feed
  }

  /** Rejects with an Error that names the setting to change. */
  async listen(host: AgentHost): Promise<void> {
    const { agent } = this.#options.bootstrap
    if (agent.statusPort !== 0) {
      const { AgentServer } = await import('../admin/agent-server.ts')
      await this.#listen(new AgentServer(agent, { ...sourceOf(host), names: () => this.#namesShown() }))
    }
    if (agent.metricsPort !== 0) {
      const { MetricsServer } = await import('../admin/metrics-server.ts')
      await this.#listen(new MetricsServer(agent, () => host.metricsText()))
    }
    await this.#listenForDns(host.slab)
    await this.#reportHealth(host)
  }

  async close(): Promise<void> {
    this.#health?.stop()
    await Promise.all([this.#dns?.close(), ...this.#servers.map((server) => server.close())])
  }

  async #reportHealth(host: AgentHost): Promise<void> {
    const { bootstrap, log } = this.#options
    const { readinessProbe: probe } = bootstrap.agent
    const feed = this.#feed
    if (probe === null || feed === null) return
    const { HealthReports } = await import('../xds/agent/health-reports.ts')
    const { askHealth } = await import('./application-health.ts')
    let begun = false
    const ask = async (): Promise<string | null> => {
      const waiting = host.waitingFor()
      begun ||= waiting.length === 0
      // Until the proxy has begun to serve, the control plane has heard nothing of the workload, and sends nobody to it.
      return begun ? askHealth(probe, bootstrap.agent, waiting) : null
    }
    this.#health = new HealthReports({
      ...probe,
      ask,
      report: (problem) => {
        if (problem === null) log.info('the application is well, and the control plane is told')
        else log.warning(`the application is not well, and the control plane is told: ${problem}`)
        feed.reportHealth(problem)
      },
    })
    this.#health.start()
  }

  async #listen(server: AgentServer | MetricsServer): Promise<void> {
    this.#servers.push(server)
    await server.listen()
  }

  async #listenForDns(slab: MetricsSlab): Promise<void> {
    const { bootstrap, log } = this.#options
    const { address, port, servers } = bootstrap.dns
    // A node answers in its pods (pod-dns.ts).
    if (port === 0 || bootstrap.role === 'node') return
    const { DnsProxy } = await import('../dns/dns-proxy.ts')
    const asked = servers.length > 0 ? servers : parseResolvConf(textOf(RESOLV_CONF)).servers
    if (asked.length === 0) log.warning(`DNS: ${RESOLV_CONF} names no server; only names of the mesh are answered (dns.servers)`)
    this.#dns = new DnsProxy({ address, port, servers: () => asked, counts: new DnsMetrics(slab), log })
    await this.#dns.listen()
    log.info(`DNS on ${address}:${port}, what is not of the mesh is asked of ${asked.join(', ') || 'nobody'}`)
    // Without a control plane there are no names of a mesh, and nothing to wait for.
    if (this.#names !== null) this.#useNames(this.#names)
    else if (bootstrap.xds.address === '') this.#useNames(new Map())
  }

  #useNames(names: NamesOfMesh): void {
    this.#names = names
    const { workload, mesh } = this.#options.bootstrap
    const [searchDomain = ''] = parseResolvConf(textOf(RESOLV_CONF)).search
    const services = [...names].map(([host, { ips, registry, shortname, namespace, alt_hosts }]) => ({
      ...{ host, addresses: ips, registry, shortName: shortname, namespace, alsoCalled: alt_hosts },
    }))
    this.#dns?.use(new NameTable(services, { namespace: workload.namespace, domain: mesh.domain, searchDomain }))
  }

  #namesShown(): unknown {
    return this.#names === null ? null : { table: Object.fromEntries(this.#names) }
  }
}

function sourceOf(host: AgentHost): Omit<AgentSource, 'names'> {
  return {
    waitingFor: () => host.waitingFor(),
    metricsText: () => host.metricsText(),
    quit: () => host.quit(),
    announceDrain: () => host.announceDrain(),
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

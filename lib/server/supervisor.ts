// The main thread of a running proxy: configuration in, workers kept alive, admin and health served, an orderly end.
import { FileWatch } from '../base/file-watch.ts'
import { DnsRefresher } from '../cluster/dns.ts'
import { dnsSource, systemDns } from '../cluster/dns-source.ts'
import { HealthChecker } from '../cluster/health-checks/health-checker.ts'
import { HostRows } from '../cluster/host-rows.ts'
import { membershipOf } from '../cluster/membership.ts'
import type { OutlierSweep } from '../cluster/outlier-sweep.ts'
import { HEALTH, SharedHosts, sharedHostsBytes } from '../cluster/shared-hosts.ts'
import { SharedLimits, sharedLimitBytes } from '../cluster/shared-limits.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { Listener } from '../state/listener.ts'
import { type SelfDescription, selfWithout } from '../state/self-description.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { ControlPlaneMetrics } from '../telemetry/control-plane-metrics.ts'
import { HealthCheckStats } from '../telemetry/health-check-stats.ts'
import type { Logger } from '../telemetry/logger.ts'
import { MainMetrics, type ServerState } from '../telemetry/main-metrics.ts'
import { MembershipMetrics } from '../telemetry/membership-metrics.ts'
import { MetricsRegistry } from '../telemetry/metrics-registry.ts'
import { createSlabBuffer } from '../telemetry/slab.ts'
import { ConfigDelivery } from './config-delivery.ts'
import type { ConfigSource } from './config-source.ts'
import { ConfigStore } from './config-store.ts'
import { ConfigThread } from './config-thread.ts'
import { reportCut } from './cut-report.ts'
import { ListeningPorts, mayGoOnWithout } from './listening-ports.ts'
import type { ConfigUse, ConfigUseReport, CutConnection, WorkerInit } from './messages.ts'
import { outlierSweep } from './outliers.ts'
import { ProbeServers } from './probe-servers.ts'
import { missingFor } from './readiness.ts'
import type { RolePart } from './role-part.ts'
import { SecretsKeeper } from './secrets-keeper.ts'
import { StartError } from './start-error.ts'
import type { SupervisorOptions } from './supervisor-options.ts'
import { WorkerPool } from './worker-pool.ts'

/** The first look-ups of DNS names, fetches of keys for tokens and health checks of endpoints may hold up the start this long, and those of a reload half of a second. */
const DNS_START_MS = 3000
const DNS_RELOAD_MS = 500
const CHECKS_START_MS = 3000
/** The first certificate may hold up the start this long; later it is waited for with readiness only. */
const IDENTITY_START_MS = 5000
const CHECKS_RELOAD_MS = 500
const APPLY_LIMIT_MS = 5000

export class Supervisor {
  readonly bootstrap: BootstrapConfig
  readonly logger: Logger
  readonly version: string
  readonly registry: MetricsRegistry
  readonly metrics: MainMetrics
  readonly store: ConfigSource
  readonly pool: WorkerPool
  readonly outliers: OutlierSweep
  readonly checks: HealthChecker
  readonly secrets: SecretsKeeper
  readonly delivery: ConfigDelivery
  /** Resolves when the proxy has ended, with what the drain cut. */
  readonly finished: Promise<readonly CutConnection[]>
  readonly #finish: (cut: readonly CutConnection[]) => void
  readonly #dns: DnsRefresher
  readonly #watch: FileWatch
  readonly #thread: ConfigThread
  readonly #probes: ProbeServers
  readonly #shared: SharedArrayBuffer
  readonly #sharedHosts: SharedArrayBuffer
  readonly #hosts: SharedHosts
  readonly #rows: HostRows
  readonly #membership: MembershipMetrics
  /** Once `start` has resolved. */
  adminPort: number
  readonly #ports: ListeningPorts
  readonly #self: SelfDescription
  readonly role: RolePart | null
  #state: ServerState
  #reloading: Promise<void>
  #drained: Promise<readonly CutConnection[]> | null
  #started: boolean
  /** Why a reload was asked for before the first configuration was in force; empty: none was. */
  #missed: string
  #ending: boolean
  #unwell: boolean

  constructor(bootstrap: BootstrapConfig, options: SupervisorOptions) {
    const { logger } = options
    this.bootstrap = bootstrap
    this.logger = logger
    this.version = options.version
    this.#self = options.self ?? selfWithout(bootstrap.workload)
    this.registry = new MetricsRegistry()
    this.metrics = new MainMetrics(this.registry, options.version, bootstrap.concurrency, bootstrap.role)
    this.#thread = options.thread ?? new ConfigThread()
    this.store =
      options.source?.((why) => void this.reload(why)) ??
      new ConfigStore({ load: () => this.#thread.loadResources(bootstrap) }, logger)
    this.pool = new WorkerPool({
      concurrency: bootstrap.concurrency,
      url: options.workerUrl ?? new URL('./worker.js', import.meta.url),
      makeInit: (index) => this.#workerInit(index),
      log: logger,
      onSeries: (index, family, labels, slot) => this.registry.series(index, family, labels, slot),
      onEjected: ({ cluster, address, detector, atMs }) => this.outliers.onEjected(cluster, address, detector, atMs),
      onFirstUse: (cluster) => this.delivery.firstUse(cluster),
      onQuestion: (question) => this.role?.answer(question),
      onCrash: (index) => this.#onCrash(index),
      onServing: (serving) => this.metrics.setWorkers(serving, serving === bootstrap.concurrency),
    })
    let finish: (cut: readonly CutConnection[]) => void = () => {}
    this.finished = new Promise((resolve) => {
      finish = resolve
    })
    this.#finish = finish
    const names = dnsSource(systemDns(bootstrap.mesh.dnsServers), bootstrap.mesh.dnsServers.length > 0)
    const { identity = null } = options
    this.role =
      options.rolePart?.({
        ...{ bootstrap, identity, names, version: options.version, slab: this.registry.main },
        tell: (message) => this.delivery.pass(message),
        ask: (question) => this.pool.ask(question),
        log: logger,
      }) ?? null
    const fed = bootstrap.xds.address === '' ? null : new ControlPlaneMetrics(this.registry.main)
    if (fed !== null) for (const part of [this.store, this.role]) part?.measure?.(fed)
    this.#dns = new DnsRefresher({
      source: names,
      refreshMs: bootstrap.mesh.dnsRefreshMs,
      log: logger,
      onEndpoints: () => this.delivery.addressesChanged(),
    })
    const watched = [...bootstrap.resources, ...(this.role?.files ?? [])]
    this.#watch = new FileWatch({ paths: watched, onChange: () => this.reload('files changed') })
    this.#probes = new ProbeServers(this, options.agent ?? null)
    this.#shared = new SharedArrayBuffer(sharedLimitBytes(bootstrap.concurrency))
    this.#sharedHosts = new SharedArrayBuffer(sharedHostsBytes(bootstrap.concurrency))
    const hosts = new SharedHosts(this.#sharedHosts, -1, bootstrap.concurrency)
    this.#hosts = hosts
    this.#rows = new HostRows(hosts, () => performance.now())
    this.#membership = new MembershipMetrics(this.registry.main)
    this.outliers = outlierSweep(hosts, this.#rows, this.registry.main, logger, this.pool)
    this.checks = new HealthChecker({
      hosts,
      rows: this.#rows,
      statsFor: (cluster) => new HealthCheckStats(this.registry.main, cluster),
      log: logger,
      onPass: (cluster, address) => this.outliers.onCheckPassed(cluster, address),
    })
    this.secrets = new SecretsKeeper({
      ...{ identity, revocation: bootstrap.identity.revocation, log: logger },
      onChange: (secrets) => this.pool.broadcast({ type: 'secrets', secrets }),
    })
    this.delivery = new ConfigDelivery({
      rows: this.#rows,
      outliers: this.outliers,
      checks: this.checks,
      dns: this.#dns,
      log: logger,
      secrets: this.secrets,
      role: this.role,
      credentials: () => this.store.credentials,
      ports: () => this.#ports.byName(),
      broadcast: (message) => this.pool.broadcast(message),
    })
    this.adminPort = bootstrap.admin.port
    this.#ports = new ListeningPorts(logger)
    this.#state = 'PRE_INITIALIZING'
    this.#reloading = Promise.resolve()
    this.#drained = null
    this.#started = false
    this.#missed = ''
    this.#ending = false
    this.#unwell = false
  }

  /** A proxy of which no worker serves is not live, whatever else is well; one that is said to be unwell is as one that drains (Envoy). */
  get state(): ServerState {
    if (this.#state !== 'LIVE') return this.#state
    return this.#unwell ? 'DRAINING' : this.pool.serving === 0 ? 'INITIALIZING' : 'LIVE'
  }

  /** What readiness waits for; empty: it is ready. */
  waitingFor(): readonly string[] {
    const { role, secrets, store } = this
    return missingFor({ state: this.#state, unwell: this.#unwell, store, role, secrets, serving: this.pool.serving })
  }

  /** True: readiness fails until it is said to be well again. Nothing else changes. */
  setUnwell(unwell: boolean): void {
    this.#unwell = unwell
    this.metrics.setState(this.state)
  }

  /**
   * Resolves with true when all workers serve, with false when `shutdown` was called before that. Rejects with a StartError. In both
   * other cases nothing is left running.
   */
  async start(): Promise<boolean> {
    this.#setState('INITIALIZING')
    try {
      this.#watch.start()
      // First of all: a configuration may be long in coming, and somebody wants to know what it waits for.
      this.adminPort = await this.#probes.listen()
      await this.store.loadFirst()
      this.#dns.update(this.store.snapshot.clusters)
      this.delivery.jwks.update(this.store.snapshot.listeners)
      await this.#ports.reserveAll(this.store.snapshot.listeners, mayGoOnWithout(this.bootstrap))
      if (!this.#ending) await Promise.all([this.#dns.settled(DNS_START_MS), this.delivery.jwks.settled(DNS_START_MS)])
      if (!this.#ending) this.delivery.follow(this.store.snapshot)
      if (!this.#ending) await this.checks.settled(CHECKS_START_MS)
      if (!this.#ending) await this.secrets.settled(IDENTITY_START_MS).then(() => this.delivery.jwks.settled(DNS_START_MS))
      if (!this.#ending) this.delivery.tell(this.store.snapshot)
      if (!this.#ending) await this.pool.start()
    } catch (error) {
      await this.#closeAll()
      if (this.#ending) return this.#abandonStart()
      throw error instanceof StartError ? error : new StartError('bind', (error as Error).message, { cause: error })
    }
    if (this.#ending) return this.#abandonStart()
    this.#noteApplied(this.store.snapshot.version)
    this.role?.start()
    this.#started = true
    this.#setState('LIVE')
    if (this.#missed !== '') void this.reload(this.#missed)
    return true
  }

  async #abandonStart(): Promise<false> {
    await this.#closeAll()
    this.#finish([])
    return false
  }

  /** The port that each listener was given that is bound, in the order of the configuration. */
  boundPorts(): { readonly listener: Listener; readonly port: number }[] {
    return this.store.appliedVersion === 0 ? [] : this.#ports.bound(this.store.snapshot.listeners)
  }

  /** Reads the resources anew. One reload at a time; those asked for meanwhile follow. */
  reload(why: string): Promise<void> {
    // What comes while the first configuration is being put in force follows it.
    if (!this.#started) {
      this.#missed = why
      return this.#reloading
    }
    this.#reloading = this.#reloading
      .then(() => this.#reload(why))
      .catch((error: unknown) => {
        // What `shutdown` cut short needs no explanation.
        if (this.#ending) return
        this.logger.error('a reload failed; the last good configuration stays in force', { error })
        this.metrics.configRefused()
      })
    return this.#reloading
  }

  /** The configuration in force, with the addresses that names have now; null until all workers serve. */
  snapshot(): Snapshot | null {
    return this.store.appliedVersion === 0 ? null : this.#dns.inject(this.store.snapshot)
  }

  /** Prometheus text, fresh. */
  metricsText(): string {
    this.metrics.collect()
    this.#membership.write(membershipOf(this.snapshot()?.clusters ?? [], this.#rows, this.#hosts))
    return this.registry.expose()
  }

  /** HEALTH of cluster/shared-hosts.ts; 0: well, or not known. */
  healthOf(cluster: string, address: string): number {
    const row = this.#rows.rowOf(cluster, address)
    return row < 0 ? 0 : Atomics.load(this.#hosts.cells, this.#hosts.hostAt(row) + HEALTH)
  }

  /** What of the configuration requests have needed so far, and what it takes; for each worker that answers. */
  async configUse(): Promise<ConfigUseReport> {
    const workers = (await this.pool.ask({ type: 'config-use' })) as ConfigUse[]
    return { workers, bytes: this.delivery.bytes }
  }

  setLogLevel(level: BootstrapConfig['logLevel']): void {
    this.logger.level = level
    this.pool.broadcast({ type: 'log-level', level })
  }

  reopenLogs(): void {
    this.pool.broadcast({ type: 'reopen-logs' })
  }

  /** A signal will say when it ends: until then readiness fails and clients are told to go elsewhere (preStop of Kubernetes' sidecar containers). */
  announceDrain(why: string): void {
    if (this.#state !== 'LIVE') return
    this.#setState('DRAINING')
    this.logger.info(`${why}: clients are asked to go elsewhere until the end comes`)
    this.pool.announceDrain(this.bootstrap.capture.mode !== 'none')
  }

  /** Stops accepting and finishes what is in flight; the process stays. */
  drain(acceptMs = 0): Promise<readonly CutConnection[]> {
    this.#drained ??= this.#drain(acceptMs)
    return this.#drained
  }

  /** Drains, then ends everything; `finished` resolves. `atOnce`: new connections are not waited for, as of a program that a person ends. */
  async shutdown(why: string, atOnce = false): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    this.logger.info(`${why}: shutting down`)
    if (this.#started) {
      const cut = await this.drain(atOnce || this.#state === 'DRAINING' ? 0 : this.bootstrap.drain.acceptMs)
      await this.#closeAll()
      this.#finish(cut)
      return
    }
    // `start` is under way: it notices, and ends what it began.
    this.checks.stop()
    await this.store.close()
    await this.pool.terminate()
  }

  #workerInit(index: number): WorkerInit {
    const metrics = createSlabBuffer()
    this.registry.addWorker(index, metrics)
    const said = { bootstrap: { ...this.bootstrap, logLevel: this.logger.level }, self: this.#self }
    const cells = { shared: this.#shared, sharedHosts: this.#sharedHosts }
    const given = { ports: this.#ports.byName(), node: this.role?.init ?? null, secrets: this.secrets.secrets }
    return { index, ...said, ...given, config: this.delivery.everything(), metrics, ...cells }
  }

  #onCrash(index: number): void {
    this.registry.removeWorker(index)
    // At once, not when the replacement starts: after several crashes that is seconds later.
    new SharedLimits(this.#shared, index, this.bootstrap.concurrency).releaseOwn()
    this.#rows.releaseWorker(index)
    this.metrics.workerRestarted()
  }

  async #reload(why: string): Promise<void> {
    if (this.#ending) return
    if (!(await this.store.reload(why))) {
      this.metrics.configRefused()
      return
    }
    const { snapshot } = this.store
    this.#dns.update(snapshot.clusters)
    this.delivery.jwks.update(snapshot.listeners)
    await Promise.all([this.#dns.settled(DNS_RELOAD_MS), this.delivery.jwks.settled(DNS_RELOAD_MS)])
    this.delivery.follow(snapshot)
    await this.checks.settled(CHECKS_RELOAD_MS)
    await this.#ports.follow(snapshot.listeners)
    this.delivery.tell(snapshot)
    if (!(await this.pool.applied(snapshot.version, APPLY_LIMIT_MS))) {
      // The next reload need not wait for a worker that is busy; it becomes known when that one has followed.
      this.logger.warning(`a worker has not put configuration ${snapshot.version} in force within ${APPLY_LIMIT_MS} ms`)
      void this.pool.applied(snapshot.version, 0).then(() => this.#noteApplied(snapshot.version))
      return
    }
    this.#noteApplied(snapshot.version)
    const but = this.store.lastGood ? ', but for what is refused: of that the last good version serves' : ''
    this.logger.info(`configuration ${snapshot.version} is in force (${why})${but}`)
  }

  /** All workers have it. What was refused counts as a failed reload, although the rest of it succeeded. */
  #noteApplied(version: number): void {
    if (version < this.store.appliedVersion) return
    this.store.appliedVersion = version
    this.metrics.configApplied(version, this.store.refused, Date.now())
    if (this.store.lastGood) this.metrics.configRefused()
  }

  async #drain(acceptMs: number): Promise<readonly CutConnection[]> {
    const { deadlineMs } = this.bootstrap.drain
    this.#setState('DRAINING')
    this.#watch.close()
    this.checks.stop()
    const taken = acceptMs > 0 ? `new connections for ${acceptMs} ms still` : 'no new connections'
    this.logger.info(`draining: ${taken}, ${deadlineMs} ms for what is in flight`)
    const drained = this.pool.drain({ acceptMs, deadlineMs, inboundOnly: this.bootstrap.capture.mode !== 'none' })
    this.#ports.release()
    reportCut(await drained, this.logger)
    return drained
  }

  async #closeAll(): Promise<void> {
    this.#watch.close()
    this.#dns.stop()
    this.delivery.jwks.stop()
    this.outliers.close()
    this.checks.stop()
    this.secrets.close()
    await this.role?.close()
    await this.pool.terminate()
    this.#ports.release()
    await Promise.all([this.store.close(), this.#thread.close(), this.#probes.close()])
  }

  #setState(state: ServerState): void {
    this.#state = state
    this.metrics.setState(this.#unwell ? this.state : state)
  }
}

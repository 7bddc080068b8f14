// A worker thread: the data path of a proxy, assembled. What it knows it was given as messages; what it counts is in shared memory.
import { parentPort, workerData } from 'node:worker_threads'
import { RequestIds } from '../base/request-id.ts'
import { Rng } from '../base/rng.ts'
import { ClusterManager } from '../cluster/cluster-manager.ts'
import { SharedHosts } from '../cluster/shared-hosts.ts'
import { SharedLimits } from '../cluster/shared-limits.ts'
import { StepRing } from '../decide/steps.ts'
import { RecentRequests } from '../filter/http/recent-requests.ts'
import type { WorkerParts } from '../filter/network/http-connection-manager.ts'
import { tunnelsOf } from '../hbone/tunnel-client.ts'
import { ListenerSet } from '../listener/listener-set.ts'
import type { Cluster } from '../state/cluster.ts'
import type { WorkloadWorld } from '../state/workload-world.ts'
import { AccessLog, type AccessLogOptions } from '../telemetry/access-log.ts'
import { AccessLogs } from '../telemetry/access-logs.ts'
import { WorkerStats } from '../telemetry/data-path-stats.ts'
import { ACCESS_LOG_DROPPED, ACCESS_LOG_LINES } from '../telemetry/families.ts'
import { Logger } from '../telemetry/logger.ts'
import { RequestMetrics } from '../telemetry/request-metrics.ts'
import { MetricsSlab } from '../telemetry/slab.ts'
import { Io } from '../transport/io.ts'
import { canSetKeepalive } from '../transport/keepalive.ts'
import type { NodeTunnel } from '../tunnel/node-tunnel.ts'
import { drainWorker } from './drain.ts'
import type { FromWorker, NodeInit, ToWorker, WorkerInit } from './messages.ts'
import { WorkerConfig } from './worker-config.ts'
import { useOf, viewOf } from './worker-view.ts'

/** How often access log buffers are looked at. */
const LOG_TICK_MS = 200
const SWEEP_MS = 1000

class Worker {
  readonly init: WorkerInit
  readonly parts: Omit<WorkerParts, 'tunnels'>
  readonly listeners: ListenerSet
  /** Of role `node`, once it has started; null for the others. */
  tunnel: NodeTunnel | null
  readonly config: WorkerConfig
  /** What was said to the tunnel while it was loaded. */
  private early: ((tunnel: NodeTunnel) => void)[]
  private readonly logger: Logger
  private readonly shared: SharedLimits
  private keepaliveNoted: boolean

  constructor(init: WorkerInit) {
    const { bootstrap } = init
    this.init = init
    this.tunnel = null
    this.early = []
    this.keepaliveNoted = false
    this.logger = new Logger({ level: bootstrap.logLevel, fields: { worker: init.index } })
    const slab = new MetricsSlab(
      init.metrics,
      (family, labels, slot) => post({ type: 'series', family, labels, slot }),
      bootstrap.limits.maxSeries,
    )
    const stats = new WorkerStats(slab)
    const io = new Io(
      (error, where, connection) => {
        stats.boundaryError()
        const peer = connection === null ? '' : connection.peerAddress
        this.logger.error(`an exception in a ${where} callback cost one connection`, { peer, error })
      },
      (side, peer, { reason, text, details }) => {
        // One record for each kind of fault and second: a scanner must not fill the log.
        if (!this.logger.every(`tls ${side} ${reason}`, 1000, performance.now())) return
        const whom = side === 'server' ? 'a client' : 'an endpoint'
        this.logger.warning(`TLS with ${whom} failed: ${text}`, { peer, reason, ...details })
      },
    )
    io.tls.use(init.secrets)
    io.tls.drainsOld = bootstrap.identity.onOldCertificate === 'drain-before-expiry'
    const { self } = init
    const metrics = new RequestMetrics(slab, self.workload, self.clusterId, undefined, bootstrap.role === 'waypoint')
    const shared = new SharedLimits(init.shared, init.index, bootstrap.concurrency)
    this.shared = shared
    const hosts = new SharedHosts(init.sharedHosts, init.index, bootstrap.concurrency)
    const clusters = new ClusterManager(io, slab, shared, hosts, metrics, bootstrap.limits)
    clusters.reportEjection = (cluster, address, detector, atMs) => post({ type: 'ejected', cluster, address, detector, atMs })
    clusters.onFirstUse = (config, hasRows) => this.firstUse(config, hasRows)
    clusters.askForPlace = (cluster) => post({ type: 'wants-connection', cluster })
    const accessLog = openAccessLog(init, slab, this.logger)
    this.parts = {
      io,
      slab,
      worker: stats,
      metrics,
      self,
      accessLog,
      logs: accessLogsOf(init, accessLog, slab, this.logger),
      clusters,
      steps: new StepRing(),
      recent: new RecentRequests(),
      requestIds: new RequestIds(),
      rng: new Rng((Date.now() ^ (init.index * 0x9e3779b9)) | 0),
      logger: this.logger,
      limits: bootstrap.limits,
      hostSuffix: bootstrap.mirror.hostSuffix,
      pathNormalization: bootstrap.mesh.pathNormalization,
      mirrors: shared.mirrors(bootstrap.mirror.maxRequests),
      drainMs: bootstrap.drain.changesMs,
      servesHalfClosed: bootstrap.http1.halfClose === 'serve',
      obeysFaultHeaders: bootstrap.faults.headers === 'allow',
    }
    this.config = new WorkerConfig(clusters)
    if (init.config !== null) this.config.apply(init.config)
    init.config = null
    this.listeners = new ListenerSet(this.parts, init.ports, shared.downstream(bootstrap.limits.maxConnections))
  }

  async start(): Promise<void> {
    await this.listeners.open(this.config.listeners, this.config.tables)
    if (this.init.node !== null) await this.startTunnel(this.init.node)
    setInterval(() => this.tickLogs(), LOG_TICK_MS)
    setInterval(() => this.parts.io.run('sweep', () => this.sweep()), SWEEP_MS)
    post({ type: 'ready' })
  }

  private async startTunnel(node: NodeInit): Promise<void> {
    const { world } = this.config
    const { nodeTunnel } = await import('./node-worker.ts')
    const places = this.shared.downstream(this.init.bootstrap.limits.maxConnections)
    this.tunnel = nodeTunnel(
      this.init,
      node,
      world,
      this.parts,
      places,
      (hostname) => post({ type: 'resolve', hostname }),
      (name) => post({ type: 'ask', name }),
    )
    for (const say of this.early.splice(0)) say(this.tunnel)
    await this.tunnel.open()
  }

  private toTunnel(say: (tunnel: NodeTunnel) => void): void {
    if (this.tunnel !== null) say(this.tunnel)
    else if (this.init.node !== null) this.early.push(say)
  }

  /** null: it knows the same as before. */
  private useWorld(world: WorkloadWorld | null): void {
    if (world !== null) this.toTunnel((tunnel) => tunnel.use(world))
  }

  private firstUse(config: Cluster, hasRows: boolean): void {
    if (!hasRows) post({ type: 'first-use', cluster: config.name })
    this.noteKeepalive(config)
  }

  /** Said once in each worker's life, by the first worker. */
  private noteKeepalive({ name, limits }: Cluster): void {
    if (this.init.index !== 0 || this.keepaliveNoted) return
    if ((limits.tcpKeepaliveIntervalSeconds === 0 && limits.tcpKeepaliveProbes === 0) || canSetKeepalive()) return
    this.keepaliveNoted = true
    const text =
      'tcpKeepalive: interval and probes need the package koffi on Linux, which is not there; a probe a second and ten of them are used'
    this.logger.warning(text, { cluster: name })
  }

  private tickLogs(): void {
    this.parts.accessLog?.tick()
    this.parts.logs.tick()
  }

  private sweep(): void {
    this.parts.clusters.sweep()
    tunnelsOf(this.parts.io).sweep()
    this.listeners.sweep()
    this.tunnel?.sweep()
  }

  private applied(): void {
    const { version } = this.config.tables
    const said = () => post({ type: 'applied', version })
    const bound = this.listeners.bindNew(this.config.listeners)
    if (bound === null) said()
    else void bound.then(said)
  }

  onMessage(message: ToWorker): void {
    switch (message.type) {
      case 'config':
        // Swapped between two events: a request finishes on the tables that it began with.
        this.config.apply(message.changes)
        this.listeners.use(this.config.listeners, this.config.tables, message.ports)
        this.useWorld(message.changes.world)
        this.parts.recent.configurationChanged(message.changes.version)
        this.applied()
        return
      case 'rows':
        this.parts.clusters.useRows(message.cluster, message.rows)
        return
      case 'secrets':
        this.parts.io.tls.use(message.secrets)
        tunnelsOf(this.parts.io).renew()
        this.tunnel?.wake()
        return
      case 'give-way':
        this.parts.clusters.giveWay(message.cluster)
        return
      case 'drain':
        void drainWorker(this.parts, this.listeners, this.tunnel, message).then((cut) => post({ type: 'drained', cut }))
        return
      case 'announce-drain':
        this.parts.io.run('drain', () => this.listeners.announceDrain(message.inboundOnly))
        return
      case 'explain':
        void explainRecent(this.parts, this.tunnel, message.id).then((value) =>
          post({ type: 'reply', call: message.call, value }),
        )
        return
      case 'failures': {
        const failures = this.parts.clusters.failuresOf(message.cluster, message.address)
        post({ type: 'reply', call: message.call, value: failures })
        return
      }
      case 'config-use':
        post({ type: 'reply', call: message.call, value: useOf(this.parts.clusters, this.config.tables) })
        return
      case 'inspect':
        post({ type: 'reply', call: message.call, value: viewOf(this.parts, this.listeners) })
        return
      case 'addresses':
        this.tunnel?.parts.lookups.answered(message.hostname, message.addresses, message.ttlMs)
        return
      case 'asked':
        // An answer that there is nobody is good for those who wait, and no longer.
        this.tunnel?.parts.asking?.answered(message.name, message.answered ? [] : null, 0)
        return
      case 'world':
        this.toTunnel((tunnel) => tunnel.apply(message.change))
        return
      case 'open-pod':
        this.toTunnel((tunnel) => {
          void tunnel.openPod(message.pod).then((value) => post({ type: 'reply', call: message.call, value }))
        })
        return
      case 'close-pod':
        this.toTunnel((tunnel) => tunnel.closePod(message.uid))
        return
      case 'log-level':
        this.logger.level = message.level
        return
      case 'reopen-logs':
        this.parts.accessLog?.reopen()
        this.parts.logs.reopen()
        return
      default: {
        const unknown: never = message
        throw new Error(`unknown message ${JSON.stringify(unknown)}`)
      }
    }
  }
}

/** The sentences are made by modules that a worker loads only when somebody asks. */
async function explainRecent(
  parts: Pick<WorkerParts, 'recent' | 'steps'>,
  tunnel: NodeTunnel | null,
  id: string,
): Promise<unknown> {
  const carried = tunnel === null ? [] : tunnel.parts.recent.findAll(id)
  if (carried.length > 0) {
    const { explainConnections } = await import('./explain-connection.ts')
    return explainConnections(carried)
  }
  const stream = parts.recent.find(id)
  if (stream === null) return null
  const { explainStream } = await import('./explain-stream.ts')
  return explainStream(stream, id, parts.steps)
}

function openAccessLog(init: WorkerInit, slab: MetricsSlab, logger: Logger): AccessLog | null {
  const { path, format } = init.bootstrap.accessLog
  if (path === null) return null
  return new AccessLog({
    path,
    format,
    ...countersOf(slab),
    onError: (error) => {
      if (logger.every('access log', 10_000, performance.now())) logger.error(`cannot write the access log ${path}`, { error })
    },
  })
}

/** Those that a control plane asks for. */
function accessLogsOf({ bootstrap }: WorkerInit, own: AccessLog | null, slab: MetricsSlab, logger: Logger): AccessLogs {
  const { path, isDefault } = bootstrap.accessLog
  return new AccessLogs({
    counters: () => countersOf(slab),
    own: own === null || path === null ? null : { path, log: own, isDefault },
    onError: (path, error) => {
      if (logger.every(`access log ${path}`, 10_000, performance.now()))
        logger.error(`the access log ${path} that the control plane asks for cannot be written`, { error })
    },
  })
}

function countersOf(slab: MetricsSlab): Pick<AccessLogOptions, 'values' | 'linesSlot' | 'droppedSlot'> {
  return { values: slab.values, linesSlot: slab.allot(ACCESS_LOG_LINES, ''), droppedSlot: slab.allot(ACCESS_LOG_DROPPED, '') }
}

function post(message: FromWorker): void {
  parentPort?.postMessage(message)
}

async function main(): Promise<void> {
  try {
    const worker = new Worker(workerData as WorkerInit)
    parentPort?.on('message', (message: ToWorker) => worker.parts.io.run('message', () => worker.onMessage(message)))
    await worker.start()
  } catch (error) {
    post({ type: 'failed', message: (error as Error).message })
    process.exitCode = 1
    parentPort?.close()
  }
}

await main()

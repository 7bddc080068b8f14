// The data path of one worker in the test's own thread, made from nouns: for configurations that no YAML leads to in a test, such as one end of mTLS.
import { RequestIds } from '../../lib/base/request-id.ts'
import { Rng } from '../../lib/base/rng.ts'
import { ClusterManager } from '../../lib/cluster/cluster-manager.ts'
import { HostRows } from '../../lib/cluster/host-rows.ts'
import { SharedHosts, sharedHostsBytes } from '../../lib/cluster/shared-hosts.ts'
import { SharedLimits, sharedLimitBytes } from '../../lib/cluster/shared-limits.ts'
import type { Explanation } from '../../lib/decide/explanation.ts'
import { StepRing } from '../../lib/decide/steps.ts'
import { RecentRequests } from '../../lib/filter/http/recent-requests.ts'
import type { WorkerParts } from '../../lib/filter/network/http-connection-manager.ts'
import { ListenerSet } from '../../lib/listener/listener-set.ts'
import type { Limiter } from '../../lib/pool/limiter.ts'
import { compileTables, type Tables } from '../../lib/route/compile.ts'
import { explainStream } from '../../lib/server/explain-stream.ts'
import { type SelfDescription, selfWithout } from '../../lib/state/self-description.ts'
import type { Snapshot } from '../../lib/state/snapshot.ts'
import { AccessLog } from '../../lib/telemetry/access-log.ts'
import { AccessLogs } from '../../lib/telemetry/access-logs.ts'
import { WorkerStats } from '../../lib/telemetry/data-path-stats.ts'
import { Logger } from '../../lib/telemetry/logger.ts'
import { RequestMetrics } from '../../lib/telemetry/request-metrics.ts'
import { createSlabBuffer, MetricsSlab } from '../../lib/telemetry/slab.ts'
import { Io } from '../../lib/transport/io.ts'
import type { Secrets } from '../../lib/transport/secrets.ts'
import { putClusters } from './clusters.ts'
import { eventually } from './eventually.ts'
import { freePort } from './free-port.ts'
import type { Teardown } from './teardown.ts'

export interface OneWorkerOptions {
  readonly secrets?: Secrets
  /** Places for downstream connections; 0: no limit. */
  readonly maxConnections?: number
  /** Of connections whose filter chain is gone; 0: as long as they like. */
  readonly drainMs?: number
  /** By listener's name; default: any that are free. */
  readonly ports?: Readonly<Record<string, number>>
  /** Default: nobody is told anything. */
  readonly self?: SelfDescription
}

/** What went wrong in a handshake, as the worker reports it. */
export interface HandshakeRecord {
  readonly side: string
  readonly peer: string
  readonly reason: string
  readonly text: string
  readonly details: Readonly<Record<string, string>>
}

export class OneWorker {
  readonly parts: Omit<WorkerParts, 'tunnels'>
  readonly io: Io
  readonly listeners: ListenerSet
  /** By listener's name. */
  readonly ports: Readonly<Record<string, number>>
  /** Access log records. */
  readonly records: Readonly<Record<string, unknown>>[]
  readonly handshakes: HandshakeRecord[]
  /** Exceptions in callbacks: there must be none. */
  readonly errors: unknown[]
  readonly log: string[]
  /** Labels of the series that exist, with their family. */
  readonly series: { readonly family: string; readonly labels: string }[]

  private tables: Tables
  private readonly rows: HostRows

  private constructor(snapshot: Snapshot, ports: Readonly<Record<string, number>>, options: OneWorkerOptions) {
    this.records = []
    this.handshakes = []
    this.errors = []
    this.log = []
    this.series = []
    this.ports = ports
    this.io = new Io(
      (error) => this.errors.push(error),
      (side, peer, { reason, text, details }) => this.handshakes.push({ side, peer, reason, text, details }),
    )
    if (options.secrets !== undefined) this.io.tls.use(options.secrets)
    const slab = new MetricsSlab(createSlabBuffer(), (family, labels) => this.series.push({ family, labels }), 10_000)
    const own = { namespace: 'default', serviceAccount: 'web', name: 'web', labels: {}, address: '127.0.0.1', locality: '' }
    const metrics = new RequestMetrics(slab, options.self?.workload ?? own)
    const limits = {
      maxHeaderBytes: 61_440,
      maxHeaders: 100,
      bufferBytes: 1 << 20,
      maxConnections: options.maxConnections ?? 0,
      maxRequestsPerConnection: 0,
      headerTimeoutMs: 0,
      connectionIdleTimeoutMs: 0,
      streamIdleTimeoutMs: 0,
      streamStallTimeoutMs: 30_000,
      maxSeries: 10_000,
    }
    const sharedHosts = new SharedHosts(new SharedArrayBuffer(sharedHostsBytes(1)), 0, 1)
    const shared = new SharedLimits(new SharedArrayBuffer(sharedLimitBytes(1)), 0, 1)
    const clusters = new ClusterManager(this.io, slab, shared, sharedHosts, metrics, limits)
    this.parts = {
      io: this.io,
      slab,
      worker: new WorkerStats(slab),
      metrics,
      self: options.self ?? selfWithout(own),
      accessLog: this.accessLog(slab),
      logs: this.accessLogs(slab),
      clusters,
      steps: new StepRing(),
      recent: new RecentRequests(),
      rng: new Rng(7),
      requestIds: new RequestIds(),
      logger: new Logger({ level: 'debug', write: (line) => this.log.push(line) }),
      limits,
      hostSuffix: '',
      mirrors: shared.mirrors(0),
      drainMs: options.drainMs ?? 0,
      servesHalfClosed: true,
      pathNormalization: 'BASE',
      obeysFaultHeaders: false,
    }
    this.rows = new HostRows(sharedHosts, () => 0)
    const tables = compileTables(snapshot, putClusters(clusters, snapshot.clusters, this.rows))
    const places: Limiter | null = shared.downstream(limits.maxConnections)
    this.listeners = new ListenerSet(this.parts, ports, places)
    this.tables = tables
  }

  private accessLog(slab: MetricsSlab): AccessLog {
    return new AccessLog({
      path: '/dev/null',
      format: 'json',
      values: slab.values,
      linesSlot: 1,
      droppedSlot: 2,
      write: (_fd, buffer, offset, length, done) => {
        const text = Buffer.from(buffer.subarray(offset, offset + length)).toString('latin1')
        for (const line of text.split('\n')) if (line !== '') this.records.push(JSON.parse(line))
        done(null, length)
      },
    })
  }

  private accessLogs(slab: MetricsSlab): AccessLogs {
    return new AccessLogs({
      counters: () => ({ values: slab.values, linesSlot: 1, droppedSlot: 2 }),
      own: null,
      onError: (_path, error) => this.errors.push(error),
    })
  }

  static async start(t: Teardown, snapshot: Snapshot, options: OneWorkerOptions = {}): Promise<OneWorker> {
    const ports: Record<string, number> = {}
    for (const { name, bind } of snapshot.listeners) if (bind) ports[name] = options.ports?.[name] ?? (await freePort())
    const worker = new OneWorker(snapshot, ports, options)
    await worker.listeners.open(snapshot.listeners, worker.tables)
    const tick = setInterval(() => {
      worker.parts.accessLog?.tick()
      worker.parts.logs.tick()
    }, 5)
    t.teardown(() => {
      clearInterval(tick)
      worker.listeners.drain()
      worker.parts.clusters.drain()
      for (const { chain } of worker.listeners.chains())
        if (chain.filter !== null)
          for (const session of [...chain.filter.sessions]) session.connection.destroy('the test is over')
    })
    return worker
  }

  /** A new configuration, of listeners that are bound already. */
  use(snapshot: Snapshot): void {
    this.io.run('snapshot', () => {
      this.tables = compileTables(snapshot, putClusters(this.parts.clusters, snapshot.clusters, this.rows))
      this.listeners.use(snapshot.listeners, this.tables, this.ports)
    })
  }

  /** What the worker does about once a second. */
  sweep(): void {
    this.io.run('sweep', () => {
      this.parts.clusters.sweep()
      this.listeners.sweep()
    })
  }

  record(index: number): Promise<Readonly<Record<string, unknown>>> {
    return eventually(`access log record ${index}`, () => this.records[index] as Readonly<Record<string, unknown>>)
  }

  explain(requestId: string): Explanation | null {
    const stream = this.parts.recent.find(requestId)
    return stream === null ? null : explainStream(stream, requestId, this.parts.steps)
  }
}

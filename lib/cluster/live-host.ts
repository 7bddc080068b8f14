// Hot lane: an endpoint as one worker lives it: its pools, its detector, its series.
import type { EndpointPool, PoolSettings } from '../pool/endpoint-pool.ts'
import { Http1Pool } from '../pool/http1-pool.ts'
import { Http2Pool } from '../pool/http2-pool.ts'
import type { Places } from '../pool/places.ts'
import type { ToldClient } from '../pool/proxy-header.ts'
import type { Endpoint, EndpointTunnel } from '../state/cluster.ts'
import type { ClusterStats } from '../telemetry/data-path-stats.ts'
import type { SeriesCache } from '../telemetry/request-metrics.ts'
import type { Io } from '../transport/io.ts'
import { ACTIVE, Host, OWN_CELLS } from './lb/host.ts'
import type { OutlierDetector } from './outlier-detector.ts'
import { HOST_CELLS, type SharedHosts } from './shared-hosts.ts'

/** A host without a row counts here: the cells of a row, and a part of its own. */
const OWN_HOST_CELLS = HOST_CELLS + OWN_CELLS

/** What the pools of a cluster share. */
export interface PoolContext {
  readonly io: Io
  readonly places: Places
  readonly stats: ClusterStats
  readonly values: Float64Array
}

/** Every Host that a worker makes is one of these; the pure rooms see the Host only. */
export class LiveHost extends Host {
  /** HTTP/1, and the counts of TCP connections. */
  readonly pool: Http1Pool
  /** Null until a request is to go out as HTTP/2. */
  http2: Http2Pool | null
  /** Telemetry series of requests to this endpoint. */
  series: SeriesCache
  /** null: its cluster has no outlier detection. */
  detector: OutlierDetector | null
  /** Its HEALTH that `available` shows. */
  health: number
  private readonly context: PoolContext
  /** Of clusters whose endpoints are told of each client: its pools, which nobody else has; null: there have been none. */
  private told: Map<string, EndpointPool> | null
  private draining: boolean

  constructor(
    id: number,
    endpoint: Endpoint,
    context: PoolContext,
    settings: PoolSettings,
    series: SeriesCache,
    clientAddress = '',
  ) {
    super(id, endpoint, clientAddress)
    this.cells = new Int32Array(OWN_HOST_CELLS)
    this.own = HOST_CELLS
    this.context = context
    this.told = null
    this.pool = new Http1Pool(context.io, this, settings, context.places, context.stats, context.values)
    this.http2 = null
    this.series = series
    this.detector = null
    this.health = 0
    this.draining = false
  }

  override get keepsSessions(): boolean {
    return this.health === 0 && this.endpoint.keepsSessions
  }

  poolFor(http2: boolean): EndpointPool {
    if (!http2) return this.pool
    if (this.http2 === null) {
      const { io, places, stats, values } = this.context
      this.http2 = new Http2Pool(io, this, this.pool.settings, places, stats, values)
      if (this.draining) this.http2.drain()
    }
    return this.http2
  }

  /** For requests of one client. */
  poolOf(http2: boolean, client: ToldClient): EndpointPool {
    const key = `${http2 ? 2 : 1} ${client.source} ${client.destination}`
    this.told ??= new Map()
    const known = this.told.get(key)
    if (known !== undefined) return known
    const { io, places, stats, values } = this.context
    const pool = new (http2 ? Http2Pool : Http1Pool)(io, this, ofOneClient(this.pool.settings), places, stats, values, client)
    if (this.draining) pool.drain()
    this.told.set(key, pool)
    return pool
  }

  /** Where it counts from now on; null or a negative row: for itself. */
  place(shared: SharedHosts | null, row: number): void {
    if (shared === null || row < 0) {
      if (this.cells.length !== OWN_HOST_CELLS) this.move(new Int32Array(OWN_HOST_CELLS), 0, HOST_CELLS)
      return
    }
    const at = shared.hostAt(row)
    if (this.cells !== shared.cells || this.row !== at) this.move(shared.cells, at, shared.ownAt(row))
  }

  /** As the newest configuration has it, at the same address. */
  useEndpoint(endpoint: Endpoint): void {
    const before = this.endpoint
    this.endpoint = endpoint
    if (before.tls === endpoint.tls && sameTunnel(before.tunnel, endpoint.tunnel)) return
    this.pool.renew()
    if (this.http2 !== null) this.http2.renew()
    if (this.told !== null) for (const pool of this.told.values()) pool.renew()
  }

  useSettings(settings: PoolSettings): void {
    this.pool.useSettings(settings)
    if (this.http2 !== null) this.http2.useSettings(settings)
    if (this.told !== null) for (const pool of this.told.values()) pool.useSettings(ofOneClient(settings))
  }

  giveWay(own: boolean): void {
    this.pool.giveWay(own)
    if (this.http2 !== null) this.http2.giveWay(own)
    if (this.told !== null) for (const pool of this.told.values()) pool.giveWay(own)
  }

  /** Nothing is open to it, under way, or waiting. */
  get unused(): boolean {
    if (this.told !== null && this.told.size > 0) return false
    return this.pool.unused && (this.http2 === null || this.http2.unused) && this.ownCount(ACTIVE) === 0
  }

  sweep(): void {
    this.pool.sweep()
    if (this.http2 !== null) this.http2.sweep()
    if (this.told !== null) this.sweepTold(this.told)
  }

  private sweepTold(told: Map<string, EndpointPool>): void {
    for (const [key, pool] of told) {
      pool.sweep()
      if (pool.unused) told.delete(key)
    }
  }

  drain(): void {
    this.draining = true
    this.pool.drain()
    if (this.http2 !== null) this.http2.drain()
    if (this.told !== null) for (const pool of this.told.values()) pool.drain()
  }

  undrain(): void {
    this.draining = false
    this.pool.undrain()
    if (this.http2 !== null) this.http2.undrain()
    if (this.told !== null) for (const pool of this.told.values()) pool.undrain()
  }
}

/** A client that has gone leaves its connections behind, and comes back from another port. */
const TOLD_IDLE_MS = 30_000

function ofOneClient(settings: PoolSettings): PoolSettings {
  const { idleTimeoutMs } = settings
  return { ...settings, idleTimeoutMs: idleTimeoutMs === 0 ? TOLD_IDLE_MS : Math.min(idleTimeoutMs, TOLD_IDLE_MS) }
}

/** Each snapshot may bring its own copy. */
function sameTunnel(a: EndpointTunnel | null, b: EndpointTunnel | null): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}

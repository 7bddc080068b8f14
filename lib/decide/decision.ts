// Hot lane: one per request stream, used again for each request. What `decide` found; executing it is somebody else's.
import type { BalancedCluster } from '../cluster/lb/balanced-cluster.ts'
import type { Host } from '../cluster/lb/host.ts'
import type { CompiledTable, CompiledVirtualHost } from '../route/compile.ts'
import type { CompiledRoute, CompiledWeighted } from '../route/compiled-route.ts'
import type { CompiledSession } from '../route/session.ts'

/** Nothing decided yet. */
export const UNDECIDED = 0
/** Send to `host` of `cluster`. */
export const FORWARD = 1
/** Answer with the route's redirect. */
export const REDIRECT = 2
/** Answer with the route's own response. */
export const DIRECT_RESPONSE = 3
/** 404 NR route_not_found: no table for the port, or no virtual host in it. */
export const NO_VIRTUAL_HOST = 4
/** 404 NR route_not_found. */
export const NO_ROUTE = 5
/** The route's clusterNotFoundStatus, NC cluster_not_found. */
export const NO_CLUSTER = 6
/** 503 UH no_healthy_upstream. */
export const NO_HEALTHY_UPSTREAM = 7

/** Stable words by verdict; scripts read them. */
export const VERDICT_WORDS: readonly string[] = [
  'undecided',
  'forward',
  'redirect',
  'direct-response',
  'no-virtual-host',
  'no-route',
  'no-cluster',
  'no-healthy-upstream',
]

/** Which fields are set follows from the verdict; those beyond what was reached are null. */
export class Decision {
  verdict: number
  table: CompiledTable | null
  virtualHost: CompiledVirtualHost | null
  route: CompiledRoute | null
  weighted: CompiledWeighted | null
  cluster: BalancedCluster | null
  host: Host | null
  /** What chose among several destinations: the draw after the remainder by their sum; -1 with one destination. */
  weightDraw: number
  /** Whether the request has a hash, and its 64 bits: every attempt is picked by it. */
  hashed: boolean
  hashHigh: number
  hashLow: number
  /** Hash policies that made a cookie, a bit each (RouteHash.setCookies); the client gets it with the response. */
  cookiesMade: number
  /** Its value; empty for none. */
  cookie: string
  /** What keeps the request's session with its endpoint; null: nothing. */
  session: CompiledSession | null
  /** The endpoint that the request says it belongs to; empty: none. */
  sessionAddress: string
  /** `host:port` that is dialled in place of what the client dialled; empty: none. */
  dialled: string
  /** Priorities that its retries avoid, a bit each (retryRemoteLocalities). */
  avoided: number
  /** How many of the hosts tried play no part in that any more. */
  avoidedFrom: number
  /** What this request's steps are read by and added to (`StepRing.addTo`); -1 before `decide`. */
  steps: number

  constructor() {
    this.verdict = UNDECIDED
    this.table = null
    this.virtualHost = null
    this.route = null
    this.weighted = null
    this.cluster = null
    this.host = null
    this.weightDraw = -1
    this.hashed = false
    this.hashHigh = 0
    this.hashLow = 0
    this.cookiesMade = 0
    this.cookie = ''
    this.session = null
    this.sessionAddress = ''
    this.dialled = ''
    this.avoided = 0
    this.avoidedFrom = 0
    this.steps = -1
  }

  reset(): void {
    this.verdict = UNDECIDED
    this.table = null
    this.virtualHost = null
    this.route = null
    this.weighted = null
    this.cluster = null
    this.host = null
    this.weightDraw = -1
    this.hashed = false
    this.hashHigh = 0
    this.hashLow = 0
    this.cookiesMade = 0
    this.cookie = ''
    this.session = null
    this.sessionAddress = ''
    this.dialled = ''
    this.avoided = 0
    this.avoidedFrom = 0
    this.steps = -1
  }
}

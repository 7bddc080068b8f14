// Hot lane: every request leaves its steps here. A ring of integers, allocated once: a few nanoseconds a step, so that each
// request can be explained, not a sampled few. Sentences are made in explain.ts when somebody asks.
import type { RbacTrace } from '../policy/rbac.ts'
import type { TriedRoutes } from '../route/compile.ts'

/**
 * Steps: what `a` and `b` mean.
 *
 * | code | a | b |
 * | --- | --- | --- |
 * | TABLE | index of the route table in the snapshot | TABLE_FIXED, TABLE_BY_PORT, TABLE_BY_DEFAULT |
 * | NO_TABLE | port that was asked for, -2: none that is a number | as TABLE |
 * | VIRTUAL_HOST | index in the table | BY_EXACT, BY_SUFFIX, BY_PREFIX, BY_STAR of route/domain-index.ts |
 * | NO_VIRTUAL_HOST | index of the table | 0 |
 * | ROUTE_FAILED | index of the route in the virtual host | number of the failed condition, see CompiledRoute.failedCondition |
 * | ROUTE | index of the chosen route | 0 |
 * | NO_ROUTE | number of routes | 0 |
 * | WEIGHT | the draw, after the remainder by the sum | index of the destination |
 * | NO_CLUSTER | index of the destination | 0 |
 * | ENDPOINT | id of the host | hosts of the cluster |
 * | ENDPOINT_AGAIN | id of the host | picks that were needed |
 * | NO_ENDPOINT | hosts of the cluster | 0 |
 * | ATTEMPT | number, from 1 | status of the response, or an OUTCOME_… below 100 |
 * | HASH | hash policies of the route that had something to hash, a bit each | those that made a cookie |
 * | SESSION | SESSION_NEW, SESSION_KEPT, SESSION_LOST | id of the host, -1: the cluster has none at that address |
 * | UNAVAILABLE | hosts that are ejected or fail their checks; not taken when there are none | hosts of the cluster |
 * | FAULT | FAULT_DELAY, FAULT_ABORT, FAULT_GRPC_ABORT | milliseconds, the status |
 * | CORS | 1: the origin is allowed, 0: it is not | 0: no preflight, CORS_ANSWERED, CORS_FORWARDED |
 * | MIRROR | index of the mirror | MIRROR_… |
 * | VERDICT | verdict of decision.ts | 0 |
 * | WRITTEN | number of an attempt without a response | 1: bytes of it may have left; 0: nothing has |
 * | RETRIED | keyword and reason, see retry-steps.ts | ms of back-off |
 * | NOT_RETRIED | keyword that asked for it, -1: none | reason of retry-steps.ts |
 * | PRIORITY | priority × 1024 + PRIORITY_… + its percent of the load | healthy hosts × 65536 + hosts |
 * | RBAC | index of the filter × 16 + RBAC_SHADOW for its dry run + what it said, see policy/rbac.ts | index of the policy that fitted, -1: none |
 * | JWT | status of policy/jwt-status.ts | index of the provider whose token was refused, -1: none |
 * | LOCALITY | index in the cluster's localityWeights | its share of the priority, in hundredths of a percent |
 */
export const TABLE = 1
export const NO_TABLE = 2
export const VIRTUAL_HOST = 3
export const NO_VIRTUAL_HOST_STEP = 4
export const ROUTE_FAILED = 5
export const ROUTE = 6
export const NO_ROUTE_STEP = 7
export const WEIGHT = 8
export const NO_CLUSTER_STEP = 9
export const ENDPOINT = 10
export const ENDPOINT_AGAIN = 11
export const NO_ENDPOINT = 12
export const ATTEMPT = 13
export const VERDICT = 14
export const WRITTEN = 15
export const RETRIED = 16
export const NOT_RETRIED = 17
/** One for each priority up to the chosen one. */
export const PRIORITY = 19
export const LOCALITY = 20

/** Added to the load of PRIORITY: the one that was chosen. */
export const PRIORITY_CHOSEN = 512
/** Added: a retry avoided it. */
export const PRIORITY_AVOIDED = 256
/** Added: it is in panic and uses all of its hosts. */
export const PRIORITY_PANIC = 128
export const PRIORITY_STEP = 1024

export const HASH = 18
export const UNAVAILABLE = 21
export const FAULT = 23
export const CORS = 24
export const MIRROR = 25
export const RBAC = 26
export const JWT = 27
export const SESSION = 28

/** The request does not say which endpoint its session is with. */
export const SESSION_NEW = 0
export const SESSION_KEPT = 1
/** The endpoint is not there any more, or not well. */
export const SESSION_LOST = 2

export const RBAC_FILTER = 16
export const RBAC_SHADOW = 8

export const FAULT_DELAY = 1
export const FAULT_ABORT = 2
export const FAULT_GRPC_ABORT = 3

/** A preflight was answered here. */
export const CORS_ANSWERED = 1
/** A preflight went on like any other OPTIONS. */
export const CORS_FORWARDED = 2

export const MIRROR_SENT = 1
/** The draw was against it. */
export const MIRROR_NOT_DRAWN = 2
export const MIRROR_NO_CLUSTER = 3
export const MIRROR_NO_ENDPOINT = 4
/** mirror.maxRequests copies are under way. */
export const MIRROR_LIMIT = 5

export const TABLE_FIXED = 0
export const TABLE_BY_PORT = 1
export const TABLE_BY_DEFAULT = 2

/** Outcomes of an attempt without a response. */
export const OUTCOME_CONNECT_FAILED = 1
export const OUTCOME_CONNECT_TIMEOUT = 2
/** The connection was closed before the response. */
export const OUTCOME_CLOSED = 3
export const OUTCOME_RESET = 4
export const OUTCOME_REFUSED_STREAM = 5
export const OUTCOME_PROTOCOL_ERROR = 6
export const OUTCOME_PER_TRY_TIMEOUT = 7
export const OUTCOME_TIMEOUT = 8
export const OUTCOME_OVERFLOW = 9
/** The client went away. */
export const OUTCOME_CANCELLED = 10
/** The connection had been closed while idle; nothing was written, another one was taken. */
export const OUTCOME_STALE_CONNECTION = 11
/** HTTP/2: the upstream said that it will not do anything with it. */
export const OUTCOME_GOAWAY = 12

/** Owner, code, a, b. */
const WIDTH = 4
/** Positions count in this range, so that they stay small integers for ever. */
const WRAP = 0x3fffffff

export class StepRing implements TriedRoutes, RbacTrace {
  readonly #cells: Int32Array
  /** Capacity - 1. */
  readonly #mask: number
  /** Position of the next step. */
  #head: number
  /** The request that `add` writes for. */
  #owner: number

  /** `capacity` in steps, a power of two; 65,536 are 1 MiB and hold the last 10,000 requests or so. */
  constructor(capacity = 65_536) {
    if (capacity < 2 || (capacity & (capacity - 1)) !== 0 || capacity > WRAP) {
      throw new Error(`steps: ${capacity} is no power of two`)
    }
    this.#cells = new Int32Array(capacity * WIDTH)
    this.#mask = capacity - 1
    this.#head = 0
    this.#owner = 0
  }

  /** Begins the steps of a request. The number returned is what they are read by, and added to later. */
  begin(): number {
    this.#owner = this.#head
    return this.#head
  }

  /** A step of the request that began or resumed last. */
  add(code: number, a: number, b: number): void {
    const cells = this.#cells
    const at = (this.#head & this.#mask) * WIDTH
    cells[at] = this.#owner
    cells[at + 1] = code
    cells[at + 2] = a
    cells[at + 3] = b
    this.#head = (this.#head + 1) & WRAP
  }

  /** `add` goes on with the steps of an earlier request. */
  resume(start: number): void {
    this.#owner = start
  }

  /** A later step of a request, after others have had theirs. */
  addTo(start: number, code: number, a: number, b: number): void {
    this.resume(start)
    this.add(code, a, b)
  }

  tried(route: number, condition: number): void {
    this.add(ROUTE_FAILED, route, condition)
  }

  asked(filter: number, shadow: boolean, said: number, policy: number): void {
    this.add(RBAC, filter * RBAC_FILTER + (shadow ? RBAC_SHADOW : 0) + said, policy)
  }

  /** Whether the steps since `start` are still there. */
  isIntact(start: number): boolean {
    return ((this.#head - start) & WRAP) <= this.#mask + 1
  }

  /** A request's steps as code, a, b, code, a, b, …; null when newer ones have taken their place. Not hot. */
  read(start: number): Int32Array | null {
    if (!this.isIntact(start)) return null
    const found: number[] = []
    for (let p = start; p !== this.#head; p = (p + 1) & WRAP) {
      const at = (p & this.#mask) * WIDTH
      if (this.#cells[at] !== start) continue
      found.push(this.#cells[at + 1] as number, this.#cells[at + 2] as number, this.#cells[at + 3] as number)
    }
    return Int32Array.from(found)
  }
}

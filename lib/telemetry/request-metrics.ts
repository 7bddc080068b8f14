// Hot lane: Istio's standard metrics of every request and TCP session. A request costs one look-up of its series and eight
// writes into the slab; text is only made when a series is met for the first time.
import type { WorkloadIdentity } from '../state/bootstrap-config.ts'
import type { Cluster, Endpoint } from '../state/cluster.ts'
import type { AccessRecord } from './access-record.ts'
import { DEFAULT_BOUNDS, type FamilyGroup, ISTIO_GRPC, ISTIO_REQUEST, ISTIO_TCP } from './families.ts'
import {
  destinationService,
  endpointPeer,
  isLabelAuthority,
  istioLabels,
  namespaceOf,
  ownPeer,
  type Peer,
  type Principals,
  peerOf,
  type Reporter,
  type RequestOutcome,
  UNKNOWN_PEER,
} from './istio-labels.ts'
import { renderLabels } from './labels.ts'
import type { MetricPlan, MetricSource } from './metric-plan.ts'
import { PeerBook } from './peer-metadata.ts'
import { flagsText } from './response-flags.ts'
import { type MetricsSlab, observe } from './slab.ts'

/** `grpcStatus` of `record`: the request is not gRPC. */
export const NOT_GRPC = -2
/** `grpcStatus` of `record`: gRPC, but no status arrived. */
export const NO_GRPC_STATUS = -1
/** gRPC statuses go to 16; a peer that sends more gets this one number for all of them. */
const OTHER_GRPC_STATUS = 17

// Offsets within a block of ISTIO_REQUEST and ISTIO_TCP (families.ts).
const HISTOGRAM_WIDTH = DEFAULT_BOUNDS.length + 2
const DURATION = 1
const REQUEST_BYTES = DURATION + HISTOGRAM_WIDTH
const RESPONSE_BYTES = REQUEST_BYTES + HISTOGRAM_WIDTH
const TCP_OPENED = 0
const TCP_CLOSED = 1
const TCP_SENT = 2
const TCP_RECEIVED = 3

/** Peers that one destination tells apart; further ones are `unknown`. */
const MAX_PEERS = 1000
/** Series of one destination whose labels have values of requests. */
const MAX_VALUES = 1000
const NO_PRINCIPALS: Principals = { own: '', peer: '' }

/** Messages of gRPC that each side has sent. */
export interface GrpcMessages {
  readonly request: number
  readonly response: number
}

/** A TCP session whose metrics are counted. */
export interface TcpMetered extends MetricSource {
  readonly responseFlags: number
  /** null: metrics are those by default. */
  readonly plan: MetricPlan | null
}

/** How many authorities may become labels where no service is known, by default. */
export const DEFAULT_AUTHORITY_LABELS = 100

/**
 * The series of one destination as one reporter sees it. The owner of the endpoint (or of the cluster, or of the listener
 * for requests that reach neither) keeps it and gives it back with every request; it goes with its owner.
 */
export class SeriesCache {
  readonly reporter: Reporter
  readonly cluster: Cluster | null
  readonly endpoint: Endpoint | null
  /** Outcome key → first slot. */
  readonly slots: Map<number, number>
  /** Where no service is known, the label destination_service is the authority: one cache for each. */
  readonly byAuthority: Map<string, SeriesCache> | null
  /** Stands for the host where the cluster names none; empty: unknown. */
  readonly authority: string
  lastKey: number
  lastSlot: number
  /** Where messages of gRPC are counted, by outcome; null: there were none. */
  grpcSlots: Map<number, number> | null
  /** Where metrics are not as by default: the slot of each of a group, by group, outcome and values of labels; -1: there is no such metric. */
  planned: WeakMap<MetricPlan, Map<string, readonly number[]>> | null
  readonly principals: Principals
  /** What the proxy at the other end has said of itself; null: nothing. */
  readonly told: Peer | null
  /** With mTLS: one cache for each peer. */
  private byPeer: Map<string, SeriesCache> | null
  private lastPeer: SeriesCache | null

  constructor(
    reporter: Reporter,
    cluster: Cluster | null,
    endpoint: Endpoint | null,
    authority: string,
    byAuthority: boolean,
    principals: Principals = NO_PRINCIPALS,
    told: Peer | null = null,
  ) {
    this.reporter = reporter
    this.cluster = cluster
    this.endpoint = endpoint
    this.slots = new Map()
    this.byAuthority = byAuthority ? new Map() : null
    this.authority = authority
    this.lastKey = -1
    this.lastSlot = 0
    this.grpcSlots = null
    this.planned = null
    this.principals = principals
    this.told = told
    this.byPeer = null
    this.lastPeer = null
  }

  /** `told` is the same object for the same proxy. */
  ofPeers(own: string, peer: string, told: Peer | null): SeriesCache {
    const { lastPeer } = this
    if (lastPeer !== null && lastPeer.told === told && lastPeer.principals.peer === peer && lastPeer.principals.own === own)
      return lastPeer
    this.byPeer ??= new Map()
    const key = `${own} ${peer} ${told === null ? '' : Object.values(told).join(' ')}`
    let cache = this.byPeer.get(key)
    if (cache === undefined) {
      if (this.byPeer.size >= MAX_PEERS) return this
      const { reporter, cluster, endpoint, authority, byAuthority } = this
      cache = new SeriesCache(reporter, cluster, endpoint, authority, byAuthority !== null, { own, peer }, told)
      this.byPeer.set(key, cache)
    }
    this.lastPeer = cache
    return cache
  }
}

export class RequestMetrics {
  readonly slab: MetricsSlab
  readonly own: Peer
  readonly clusterId: string
  readonly maxAuthorities: number
  readonly authorities: Set<string>
  /** What proxies at the other end have said of themselves. */
  readonly peers: PeerBook
  /** All that this proxy reports it reports as one. */
  readonly isWaypoint: boolean

  /**
   * @param clusterId value of source_cluster and destination_cluster; Istio's default is `Kubernetes`
   * @param maxAuthorities authorities that may be labels of outbound requests that reached no service (Istio takes any); 0: none
   * @param isWaypoint the role
   */
  constructor(
    slab: MetricsSlab,
    own: WorkloadIdentity,
    clusterId = 'Kubernetes',
    maxAuthorities: number = DEFAULT_AUTHORITY_LABELS,
    isWaypoint = false,
  ) {
    this.slab = slab
    this.own = ownPeer(own, clusterId)
    this.clusterId = clusterId
    this.maxAuthorities = maxAuthorities
    this.authorities = new Set()
    this.peers = new PeerBook()
    this.isWaypoint = isWaypoint
  }

  /**
   * A cache for requests to an endpoint; for requests that got no endpoint (UH, UO: endpoint null) or no cluster (404 NR,
   * redirect, direct response: both null).
   */
  seriesFor(reporter: Reporter, cluster: Cluster | null, endpoint: Endpoint | null): SeriesCache {
    if (this.isWaypoint) return new SeriesCache('waypoint', cluster, endpoint, '', false)
    // Istio sets disable_host_header_fallback for inbound listeners and gateways only.
    const byAuthority = reporter === 'source' && (cluster === null || cluster.host === '')
    return new SeriesCache(reporter, cluster, endpoint, '', byAuthority)
  }

  /**
   * At the end of a request. Wire bytes are head and body of what the client sent and was sent.
   * @param grpcStatus 0–16, or NOT_GRPC, or NO_GRPC_STATUS
   * @param plan null: labels and metrics are those by default
   * @param messages of gRPC, null: they are not counted
   */
  record(
    cache: SeriesCache,
    rec: AccessRecord,
    requestWireBytes: number,
    responseWireBytes: number,
    grpcStatus: number,
    plan: MetricPlan | null = null,
    messages: GrpcMessages | null = null,
  ): void {
    if (plan !== null && !plan.on) return
    const known = this.forPeers(cache, rec)
    const series = known.byAuthority === null ? known : this.#ofAuthority(known, known.byAuthority, rec.authority)
    const grpc = grpcStatus > 16 ? OTHER_GRPC_STATUS : grpcStatus
    // Ten bits of code, five of gRPC status; without flags the key stays a small integer, which Map hashes fastest.
    const key = rec.responseFlags * 32768 + rec.responseCode * 32 + grpc + 2
    if (plan !== null) {
      const outcome = outcomeOf(rec.responseCode, grpc, rec.responseFlags)
      const slots = this.#planned(series, `${key}`, plan, ISTIO_REQUEST, outcome, rec)
      this.#add(slots[0] as number, 1)
      this.#observe(slots[1] as number, rec.durationMs)
      this.#observe(slots[2] as number, requestWireBytes)
      this.#observe(slots[3] as number, responseWireBytes)
      if (messages === null) return
      const counts = this.#planned(series, `${key}`, plan, ISTIO_GRPC, outcome, rec)
      this.#add(counts[0] as number, messages.request)
      this.#add(counts[1] as number, messages.response)
      return
    }
    if (messages !== null) this.#countMessages(series, key, rec, grpc, messages)
    let slot: number
    if (key === series.lastKey) {
      slot = series.lastSlot
    } else {
      slot = series.slots.get(key) ?? this.#allotRequest(series, key, rec.responseCode, grpc, rec.responseFlags)
      series.lastKey = key
      series.lastSlot = slot
    }
    const values = this.slab.values
    values[slot]! += 1
    observe(values, slot + DURATION, DEFAULT_BOUNDS, rec.durationMs)
    observe(values, slot + REQUEST_BYTES, DEFAULT_BOUNDS, requestWireBytes)
    observe(values, slot + RESPONSE_BYTES, DEFAULT_BOUNDS, responseWireBytes)
  }

  #countMessages(series: SeriesCache, key: number, rec: AccessRecord, grpc: number, messages: GrpcMessages): void {
    series.grpcSlots ??= new Map()
    let slot = series.grpcSlots.get(key)
    if (slot === undefined) {
      const labels = this.#labels(series, outcomeOf(rec.responseCode, grpc, rec.responseFlags))
      slot = this.slab.allot(ISTIO_GRPC, renderLabels(labels))
      series.grpcSlots.set(key, slot)
    }
    this.slab.values[slot]! += messages.request
    this.slab.values[slot + 1]! += messages.response
  }

  /** The slot of each metric of the group; -1: there is none. `source`: what values of labels are made of. */
  #planned(
    series: SeriesCache,
    outcomeKey: string,
    plan: MetricPlan,
    group: FamilyGroup,
    outcome: RequestOutcome,
    source: MetricSource,
  ): readonly number[] {
    series.planned ??= new WeakMap()
    let known = series.planned.get(plan)
    if (known === undefined) {
      known = new Map()
      series.planned.set(plan, known)
    }
    const key = `${group.name} ${outcomeKey}${plan.keyOf(source)}`
    const slots = known.get(key)
    if (slots !== undefined) return slots
    let offset = 0
    const texts = plan.labelsOf(group, this.#labels(series, outcome), source)
    const made = group.families.map(({ width }, i) => {
      const labels = texts[i] as string | null
      const slot = labels === null ? -1 : this.slab.allot(group, labels) + offset
      offset += width
      return slot
    })
    // Clients choose values: what finds no room is worked out each time.
    if (known.size < MAX_VALUES) known.set(key, made)
    return made
  }

  #add(slot: number, count: number): void {
    if (slot >= 0) this.slab.values[slot]! += count
  }

  #observe(slot: number, value: number): void {
    if (slot >= 0) observe(this.slab.values, slot, DEFAULT_BOUNDS, value)
  }

  /** The cache for who is at the two ends of mTLS. */
  forPeers(
    cache: SeriesCache,
    { ownPrincipal, peerPrincipal, peer }: Pick<AccessRecord, 'ownPrincipal' | 'peerPrincipal' | 'peer'>,
  ): SeriesCache {
    return peerPrincipal === '' ? cache : cache.ofPeers(ownPrincipal, peerPrincipal, peer)
  }

  /** A TCP session has its upstream, or has failed to get one (its flags). */
  tcpOpened(cache: SeriesCache, session: TcpMetered): void {
    this.#tcp(cache, session, session.responseFlags, TCP_OPENED, 1)
  }

  /** Every few seconds of a long session (Istio standard metrics: 5 s), with what came since the last call. */
  tcpBytes(cache: SeriesCache, session: TcpMetered, receivedDelta: number, sentDelta: number): void {
    this.#tcp(cache, session, 0, TCP_RECEIVED, receivedDelta)
    this.#tcp(cache, session, 0, TCP_SENT, sentDelta)
  }

  /**
   * A TCP session has ended; the bytes are what `tcpBytes` has not been told yet.
   * @param receivedDelta from the client
   * @param sentDelta to the client
   */
  tcpClosed(cache: SeriesCache, session: TcpMetered, receivedDelta: number, sentDelta: number): void {
    const { responseFlags: flags } = session
    this.#tcp(cache, session, flags, TCP_CLOSED, 1)
    this.#tcp(cache, session, flags, TCP_RECEIVED, receivedDelta)
    this.#tcp(cache, session, flags, TCP_SENT, sentDelta)
  }

  #tcp(cache: SeriesCache, session: TcpMetered, flags: number, metric: number, count: number): void {
    const { plan } = session
    if (plan === null) {
      // A cache serves requests or sessions, never both, so that the keys cannot meet.
      const slot = cache.slots.get(flags) ?? this.#allotTcp(cache, flags)
      this.slab.values[slot + metric]! += count
    } else if (plan.on) {
      const outcome: RequestOutcome = { protocol: 'tcp', responseCode: 0, grpcStatus: '', flags: flagsText(flags) }
      this.#add(this.#planned(cache, `${flags}`, plan, ISTIO_TCP, outcome, session)[metric] as number, count)
    }
  }

  #ofAuthority(cache: SeriesCache, byAuthority: Map<string, SeriesCache>, authority: string): SeriesCache {
    const known = byAuthority.get(authority)
    if (known !== undefined) return known
    if (!this.#mayBeLabel(authority)) return this.#ofAuthority(cache, byAuthority, '')
    const series = new SeriesCache(cache.reporter, cache.cluster, cache.endpoint, authority, false, cache.principals, cache.told)
    byAuthority.set(authority, series)
    return series
  }

  /** The empty authority is always allowed: it is `unknown`. */
  #mayBeLabel(authority: string): boolean {
    if (authority === '' || this.authorities.has(authority)) return true
    if (this.authorities.size >= this.maxAuthorities || !isLabelAuthority(authority)) return false
    this.authorities.add(authority)
    return true
  }

  #allotTcp(cache: SeriesCache, flags: number): number {
    const labels = this.#labels(cache, { protocol: 'tcp', responseCode: 0, grpcStatus: '', flags: flagsText(flags) })
    const slot = this.slab.allot(ISTIO_TCP, renderLabels(labels))
    cache.slots.set(flags, slot)
    return slot
  }

  #allotRequest(series: SeriesCache, key: number, responseCode: number, grpc: number, flags: number): number {
    const slot = this.slab.allot(ISTIO_REQUEST, renderLabels(this.#labels(series, outcomeOf(responseCode, grpc, flags))))
    series.slots.set(key, slot)
    return slot
  }

  #labels(series: SeriesCache, outcome: RequestOutcome): ReturnType<typeof istioLabels> {
    const { reporter, told, principals } = series
    const namespace = namespaceOf(principals.peer)
    const source = reporter === 'source' ? this.own : peerOf(UNKNOWN_PEER, told, namespace)
    const destination =
      reporter === 'destination'
        ? this.own
        : peerOf(
            endpointPeer(series.endpoint, this.clusterId),
            reporter === 'source' ? told : null,
            reporter === 'source' ? namespace : '',
          )
    const service = destinationService(series.cluster, series.authority, destination.namespace)
    return istioLabels(reporter, source, destination, service, outcome, principals)
  }
}

function outcomeOf(responseCode: number, grpc: number, flags: number): RequestOutcome {
  return {
    protocol: grpc === NOT_GRPC ? 'http' : 'grpc',
    responseCode,
    grpcStatus: grpc < 0 ? '' : String(grpc),
    flags: flagsText(flags),
  }
}

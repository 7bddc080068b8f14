// Hot lane: Istio's TCP metrics as a node's tunnel has them: labels and their order are ztunnel's, which differ from a sidecar's, and both sides have a
// principal. Received is from the client to the server, at either end. Text is made when a series is met for the first time.
import type { MeshService } from '../state/mesh-service.ts'
import type { Workload } from '../state/workload.ts'
import { ISTIO_TCP, ISTIO_TCP_FAILED, ISTIO_TCP_SOCKETS } from './families.ts'
import { renderLabels } from './labels.ts'
import type { MetricsSlab } from './slab.ts'
import type { TunnelRecord } from './tunnel-record.ts'

// Offsets within a block of ISTIO_TCP (families.ts).
const OPENED = 0
const CLOSED = 1
const SENT = 2
const RECEIVED = 3

/** Series that are remembered; they are found again in the slab. */
const MAX_KNOWN = 10_000

export class TunnelMetrics {
  private readonly slab: MetricsSlab
  private readonly known: Map<string, number>
  private readonly socketsOutbound: number
  private readonly socketsInbound: number

  constructor(slab: MetricsSlab) {
    this.slab = slab
    this.known = new Map()
    this.socketsOutbound = slab.allot(ISTIO_TCP_SOCKETS, renderLabels([['reporter', 'source']]))
    this.socketsInbound = slab.allot(ISTIO_TCP_SOCKETS, renderLabels([['reporter', 'destination']]))
  }

  /** A connection has been accepted (1) or has ended (-1). */
  sockets(direction: TunnelRecord['direction'], change: 1 | -1): void {
    this.slab.values[direction === 'outbound' ? this.socketsOutbound : this.socketsInbound]! += change
  }

  /** It is known where it goes to. Returns the slot for `bytes` and `closed`. */
  opened(rec: TunnelRecord): number {
    const slot = this.slotOf(rec)
    this.slab.values[slot + OPENED]! += 1
    return slot
  }

  /** What came since the last call. */
  bytes(slot: number, toServer: number, toClient: number): void {
    const { values } = this.slab
    values[slot + RECEIVED]! += toServer
    values[slot + SENT]! += toClient
  }

  closed(slot: number): void {
    this.slab.values[slot + CLOSED]! += 1
  }

  failed(rec: TunnelRecord): void {
    this.slab.values[this.slab.allot(ISTIO_TCP_FAILED, labelsOf(rec, rec.flag))]! += 1
  }

  private slotOf(rec: TunnelRecord): number {
    const { direction, source, destination, service } = rec
    const key = `${direction} ${source?.uid} ${destination?.uid} ${service?.namespace}/${service?.hostname} ${rec.sourceIdentity} ${rec.destinationIdentity}`
    let slot = this.known.get(key)
    if (slot === undefined) {
      slot = this.slab.allot(ISTIO_TCP, labelsOf(rec, ''))
      if (this.known.size >= MAX_KNOWN) this.known.clear()
      this.known.set(key, slot)
    }
    return slot
  }

  /** Workloads may have changed what labels are made of. */
  forget(): void {
    this.known.clear()
  }
}

function labelsOf(rec: TunnelRecord, flag: string): string {
  const { source, destination, service } = rec
  const mtls = rec.sourceIdentity !== '' && rec.destinationIdentity !== ''
  return renderLabels([
    ['reporter', rec.direction === 'outbound' ? 'source' : 'destination'],
    ...sideLabels('source', source, rec.sourceIdentity),
    ['destination_service', serviceText(service, (s) => s.hostname)],
    ['destination_service_namespace', serviceText(service, (s) => s.namespace)],
    ['destination_service_name', serviceText(service, (s) => s.name)],
    ...sideLabels('destination', destination, rec.destinationIdentity),
    ['request_protocol', 'tcp'],
    ['response_flags', flag === '' ? '-' : flag],
    ['connection_security_policy', mtls ? 'mutual_tls' : 'unknown'],
    ['source_region', known(source === null ? '' : source.locality.region)],
    ['source_zone', known(source === null ? '' : source.locality.zone)],
    ['destination_region', known(destination === null ? '' : destination.locality.region)],
    ['destination_zone', known(destination === null ? '' : destination.locality.zone)],
  ])
}

function sideLabels(side: 'source' | 'destination', w: Workload | null, identity: string): [name: string, value: string][] {
  return [
    [`${side}_workload`, known(w === null ? '' : w.workloadName || w.name)],
    [`${side}_canonical_service`, known(w === null ? '' : w.canonicalName)],
    [`${side}_canonical_revision`, known(w === null ? '' : w.canonicalRevision)],
    [`${side}_workload_namespace`, known(w === null ? '' : w.namespace)],
    [`${side}_principal`, known(identity)],
    [`${side}_app`, known(w === null ? '' : w.canonicalName)],
    [`${side}_version`, known(w === null ? '' : w.canonicalRevision)],
    [`${side}_cluster`, known(w === null ? '' : w.clusterId)],
  ]
}

function serviceText(service: MeshService | null, of: (s: MeshService) => string): string {
  return known(service === null ? '' : of(service))
}

function known(value: string): string {
  return value === '' ? 'unknown' : value
}

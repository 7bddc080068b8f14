// How it goes with the control plane, in the registry's own slab: Envoy's names where it has them, and counts for each type of resource.
import { offsetOf } from './data-path-stats.ts'
import { CDS_UPDATE, CONTROL_PLANE, type FamilyGroup, LDS_UPDATE, XDS_TYPE } from './families.ts'
import { renderLabels } from './labels.ts'
import type { MetricsSlab } from './slab.ts'

/** The types of which Envoy has metrics of its own, by their short names. */
const ENVOY_UPDATES: Readonly<Record<string, FamilyGroup>> = { CDS: CDS_UPDATE, LDS: LDS_UPDATE }

export class ControlPlaneMetrics {
  readonly #slab: MetricsSlab
  readonly #stream: number
  /** By short name: the slots of XDS_TYPE, and of Envoy's group or -1. */
  readonly #types: Map<string, { readonly own: number; readonly envoy: number }>

  constructor(slab: MetricsSlab) {
    this.#slab = slab
    this.#stream = slab.allot(CONTROL_PLANE, '')
    this.#types = new Map()
  }

  setConnected(connected: boolean): void {
    this.#slab.values[this.#stream + offsetOf(CONTROL_PLANE, 'envoy_control_plane_connected_state')] = connected ? 1 : 0
  }

  streamBegun(): void {
    this.#slab.values[this.#stream + offsetOf(CONTROL_PLANE, 'heddle_xds_streams_total')]! += 1
  }

  /** It ended with a fault, or was never there. @param types short names of what was wanted */
  streamFailed(types: readonly string[]): void {
    this.#slab.values[this.#stream + offsetOf(CONTROL_PLANE, 'heddle_xds_stream_failures_total')]! += 1
    for (const short of types) this.#addEnvoy(short, 'failure', 1)
  }

  /** @param short `CDS` @param ms for taking it or refusing it */
  response(short: string, accepted: boolean, bytes: number, ms: number, nowMs: number): void {
    this.#add(short, 'heddle_xds_responses_total', 1)
    this.#add(short, 'heddle_xds_response_bytes_total', bytes)
    this.#add(short, accepted ? 'heddle_xds_acks_total' : 'heddle_xds_nacks_total', 1)
    this.#add(short, 'heddle_xds_apply_seconds_total', ms / 1000)
    this.#set(short, 'heddle_xds_last_response_timestamp_seconds', nowMs / 1000)
    this.#addEnvoy(short, 'attempt', 1)
    this.#addEnvoy(short, accepted ? 'success' : 'rejected', 1)
  }

  /** Held, and of how many the last version was refused. */
  setResources(short: string, held: number, refused: number): void {
    this.#set(short, 'heddle_xds_resources', held)
    this.#set(short, 'heddle_xds_refused_resources', refused)
  }

  #slots(short: string): { readonly own: number; readonly envoy: number } {
    let slots = this.#types.get(short)
    if (slots === undefined) {
      const group = ENVOY_UPDATES[short]
      slots = {
        own: this.#slab.allot(XDS_TYPE, renderLabels([['type', short]])),
        envoy: group === undefined ? -1 : this.#slab.allot(group, ''),
      }
      this.#types.set(short, slots)
    }
    return slots
  }

  #add(short: string, name: string, by: number): void {
    this.#slab.values[this.#slots(short).own + offsetOf(XDS_TYPE, name)]! += by
  }

  #set(short: string, name: string, value: number): void {
    this.#slab.values[this.#slots(short).own + offsetOf(XDS_TYPE, name)] = value
  }

  #addEnvoy(short: string, what: 'attempt' | 'success' | 'failure' | 'rejected', by: number): void {
    const { envoy } = this.#slots(short)
    const group = ENVOY_UPDATES[short]
    if (group === undefined) return
    const index = group.families.findIndex((f) => f.name.endsWith(`_update_${what}`))
    this.#slab.values[envoy + index]! += by
  }
}

// Hot lane: `pick` runs for each request, `observe` for each response of clusters with this policy. PEAK_EWMA (Finagle, Linkerd): of two hosts
// the one whose expected latency, times the requests that would share it, is smaller. The estimate rises at once with a slow answer and falls
// slowly, so that trouble shows early and is forgotten late.
import type { Host } from './host.ts'
import { type Balancer, drawIndex, EMPTY_PICKER, type PickContext, type Picker } from './picker.ts'

/** A failed attempt counts as an answer that took at least so long, however fast it failed. */
const FAILED_MS = 1000
/** Estimates of failures that follow each other double up to here. */
const MAX_FAILED_MS = 60_000
/** Cost of a host that has requests and has never answered: one at a time tries it, until it is known. */
const UNKNOWN_COST = 1e12

/** Expected latency at a time: the estimate fades while nothing is heard, so that a host that was slow is tried again. */
export function expectedMs(host: Host, decayMs: number, nowMs: number): number {
  const silentMs = nowMs - host.latencyAtMs
  return silentMs <= 0 ? host.latencyMs : host.latencyMs * Math.exp(-silentMs / decayMs)
}

/** Response headers came after `latencyMs`. */
export function observe(host: Host, latencyMs: number, decayMs: number, nowMs: number): void {
  // Of the time since the last sample only; more samples in the same moment weigh nothing, except when they are higher.
  const recent = host.latencyAtMs < 0 ? 0 : Math.exp(-Math.max(0, nowMs - host.latencyAtMs) / decayMs)
  host.latencyMs = latencyMs > host.latencyMs ? latencyMs : host.latencyMs * recent + latencyMs * (1 - recent)
  host.latencyAtMs = nowMs
}

/** No response, or one that says that the host does not work. */
export function observeFailure(host: Host, elapsedMs: number, decayMs: number, nowMs: number): void {
  const known = host.latencyAtMs < 0 ? 0 : expectedMs(host, decayMs, nowMs)
  observe(host, Math.max(elapsedMs, Math.min(MAX_FAILED_MS, Math.max(FAILED_MS, 2 * known))), decayMs, nowMs)
}

/** Given up after `elapsedMs` without an answer: it would have taken longer than that, and nobody knows how long. */
export function observeGivenUp(host: Host, elapsedMs: number, decayMs: number, nowMs: number): void {
  if (host.latencyAtMs >= 0 && elapsedMs > expectedMs(host, decayMs, nowMs)) observe(host, elapsedMs, decayMs, nowMs)
}

function costOf(host: Host, decayMs: number, nowMs: number): number {
  const active = host.active
  if (host.latencyAtMs < 0) return active === 0 ? 0 : UNKNOWN_COST + active
  return (expectedMs(host, decayMs, nowMs) * (active + 1)) / host.weight
}

class PeakEwmaPicker implements Picker {
  readonly #hosts: readonly Host[]
  readonly #decayMs: number

  constructor(hosts: readonly Host[], decayMs: number) {
    this.#hosts = hosts
    this.#decayMs = decayMs
  }

  pick(ctx: PickContext): Host | null {
    const hosts = this.#hosts
    const n = hosts.length
    const i = drawIndex(ctx.draw, n)
    const a = hosts[i] as Host
    if (n === 1) return a
    // Another one than the first: with few hosts a slow one would be compared with itself too often.
    const k = drawIndex(ctx.draw2, n - 1)
    const b = hosts[k < i ? k : k + 1] as Host
    return costOf(b, this.#decayMs, ctx.nowMs) < costOf(a, this.#decayMs, ctx.nowMs) ? b : a
  }
}

export class PeakEwma implements Balancer {
  readonly #decayMs: number

  constructor(decayMs: number) {
    this.#decayMs = decayMs
  }

  update(hosts: readonly Host[]): Picker {
    return hosts.length === 0 ? EMPTY_PICKER : new PeakEwmaPicker(hosts, this.#decayMs)
  }
}

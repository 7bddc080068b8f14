// The sentences about priorities and localities. Loaded only when somebody asks.
import type { Cluster } from '../state/cluster.ts'
import * as S from './steps.ts'

export interface ToldPriority {
  readonly priority: number
  /** Percent. */
  readonly load: number
  readonly chosen: boolean
  readonly panic: boolean
  readonly avoided: boolean
  readonly healthy: number
  readonly total: number
}

/** Of a PRIORITY step. */
export function readPriority(a: number, b: number): ToldPriority {
  const rest = a % S.PRIORITY_STEP
  return {
    priority: Math.floor(a / S.PRIORITY_STEP),
    load: rest % S.PRIORITY_PANIC,
    chosen: (rest & S.PRIORITY_CHOSEN) !== 0,
    panic: (rest & S.PRIORITY_PANIC) !== 0,
    avoided: (rest & S.PRIORITY_AVOIDED) !== 0,
    healthy: b >>> 16,
    total: b & 0xffff,
  }
}

/** `before`: the priorities that are preferred to the chosen one, in their order. */
export function priorityText(chosen: ToldPriority, before: readonly ToldPriority[], panicThreshold: number): string {
  const name = `priority ${chosen.priority}`
  if (chosen.panic) {
    return `${name} is in panic: ${ofIts(chosen)}, which is less than ${panicThreshold} %, so all of them are used`
  }
  if (before.length === 0) return `${name}, which has ${chosen.load} % of the load: ${ofIts(chosen)}`
  const reasons = before.map((p) => {
    if (p.avoided) return `the retry avoids priority ${p.priority}, which was tried`
    return `of the ${plural(p.total)} of priority ${p.priority} ${areHealthy(p.healthy)} (${p.load} % of the load)`
  })
  return `${name}, because ${reasons.join(', and ')}`
}

/** Of a LOCALITY step. */
export function localityText(cluster: Cluster | null, index: number, share: number): string {
  const found = cluster?.localityWeights?.[index]
  const { region = '', zone = '', subzone = '' } = found?.locality ?? {}
  const name = [region, zone, subzone].join('/').replace(/\/+$/, '')
  return `locality ${name === '' ? '(unknown)' : name}, which has ${share / 100} % of the weight`
}

function ofIts({ healthy, total }: ToldPriority): string {
  return healthy === total ? `all of its ${plural(total)} are healthy` : `of its ${plural(total)} ${areHealthy(healthy)}`
}

function areHealthy(n: number): string {
  return n === 0 ? 'none is healthy' : n === 1 ? 'one is healthy' : `${n} are healthy`
}

function plural(n: number): string {
  return `${n} endpoint${n === 1 ? '' : 's'}`
}

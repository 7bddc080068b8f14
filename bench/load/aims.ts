// What the project aims at, beside what was measured. Nothing fails when an aim is missed: the table is the judgement.
import type { Row, Summary } from './summary.ts'
import { summarise } from './summary.ts'

/** One comparison of a heddle with a peer, or of a heddle with a number. */
export interface Comparison {
  readonly scenario: string
  readonly tool: string
  /** What is compared, such as `CPU per request, heddle / haproxy`. */
  readonly subject: string
  readonly value: number
  /** At most this; null: no aim, shown for orientation. */
  readonly aim: number | null
  readonly unit: '' | 'MB'
}

/** Aims by scenario and peer. `p99` and `cpu` are ratios to that peer. */
const CPU_AIMS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  'h1-1k': { haproxy: 1.3, envoy: 0.5 },
  'h1-64k': { envoy: 0.8 },
  'open-1000rps': { envoy: 0.6 },
  'h2-8x10': { haproxy: 1.5, envoy: 0.35 },
  'h2-1x100': { haproxy: 1.5, envoy: 0.35 },
  'h2-h1-8x10': { haproxy: 1.5, envoy: 0.35 },
  'mtls-h1-1k': { envoy: 0.6 },
  'mtls-h2-8x10': { envoy: 0.6 },
  'hbone-1k': { envoy: 1 },
  'hbone-bulk': { envoy: 1.8 },
  'grpc-unary': { haproxy: 1.5, envoy: 0.35 },
}
/** What being ready for failures may cost while nothing fails. */
const SURVIVE_AIM = 1.05
const OPEN_LOOP_P99_AIMS: Readonly<Record<string, number>> = { envoy: 1 }
const RESIDENT_AIM_MB = 75

export function isHeddle(target: string): boolean {
  return target.startsWith('heddle')
}

/** Every heddle of a scenario and tool against every peer of the same. Failed rows are left out. */
export function compare(rows: readonly Row[]): Comparison[] {
  const comparisons: Comparison[] = []
  for (const row of rows) {
    if (!isHeddle(row.target)) continue
    const own = summarise(row)
    if (own.failure !== '') continue
    for (const other of rows) {
      if (other.scenario !== row.scenario || other.tool !== row.tool) continue
      // What heddle costs in another configuration or version is compared with itself.
      if (row.target === 'heddle-survive' || row.target === 'heddle-base' ? other.target === 'heddle' : !isHeddle(other.target))
        comparisons.push(...withPeer(row, own, other))
    }
    if (row.target === 'heddle-2w') {
      const value = own.loadedBytes / 2 ** 20
      comparisons.push({ ...labels(row), subject: 'RSS loaded, heddle-2w', value, aim: RESIDENT_AIM_MB, unit: 'MB' })
    }
  }
  return comparisons
}

function withPeer(row: Row, own: Summary, other: Row): Comparison[] {
  const peer = summarise(other)
  if (peer.failure !== '' || own.cpuMicros === null || peer.cpuMicros === null) return []
  const pair = `${row.target} / ${other.target}`
  const found: Comparison[] = [
    {
      ...labels(row),
      subject: `CPU per request, ${pair}`,
      value: own.cpuMicros / peer.cpuMicros,
      aim: row.target === 'heddle-survive' ? SURVIVE_AIM : (CPU_AIMS[row.scenario]?.[other.target] ?? null),
      unit: '',
    },
  ]
  if (row.scenario === 'open-1000rps') {
    const aim = OPEN_LOOP_P99_AIMS[other.target] ?? null
    found.push({ ...labels(row), subject: `p99, ${pair}`, value: own.p99Ms / peer.p99Ms, aim, unit: '' })
  }
  return found
}

function labels(row: Row): { readonly scenario: string; readonly tool: string } {
  return { scenario: row.scenario, tool: row.tool }
}

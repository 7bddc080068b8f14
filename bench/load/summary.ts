// Medians over rounds, ratios between targets, and how they stand to the project's aims.
import type { Sample } from './measure.ts'
import type { ScenarioId } from './scenario.ts'

/** All rounds of one target under one scenario and tool. */
export interface Row {
  readonly scenario: ScenarioId
  readonly tool: string
  readonly target: string
  readonly idleBytes: number
  readonly samples: readonly Sample[]
}

export interface Summary {
  readonly requestsPerSecond: number
  readonly cpuMicros: number | null
  readonly cpuMicrosLeast: number | null
  readonly cpuMicrosMost: number | null
  readonly cpuCores: number | null
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly loadedBytes: number
  readonly foreign: number | null
  readonly sendLagP99Ms: number | null
  /** The first failure of any round; empty when all count. */
  readonly failure: string
}

export function summarise(row: Row): Summary {
  const of = (read: (sample: Sample) => number): number => median(row.samples.map(read))
  const ofCpu = (choose: (values: readonly number[]) => number): number | null => {
    const values = row.samples.flatMap((sample) => (sample.cpuMicros === null ? [] : [sample.cpuMicros]))
    return values.length === 0 ? null : choose(values)
  }
  const orNull = (read: (sample: Sample) => number | null): number | null => {
    const values = row.samples.flatMap((sample) => read(sample) ?? [])
    return values.length === 0 ? null : median(values)
  }
  return {
    requestsPerSecond: of((sample) => sample.requests / sample.seconds),
    cpuMicros: ofCpu(median),
    cpuMicrosLeast: ofCpu((values) => Math.min(...values)),
    cpuMicrosMost: ofCpu((values) => Math.max(...values)),
    cpuCores: orNull((sample) => sample.cpuCores),
    p50Ms: of((sample) => sample.p50Ms),
    p99Ms: of((sample) => sample.p99Ms),
    p999Ms: of((sample) => sample.p999Ms),
    loadedBytes: Math.max(...row.samples.map((sample) => sample.residentBytes)),
    foreign: orNull((sample) => sample.foreign),
    sendLagP99Ms: orNull((sample) => sample.sendLagP99Ms),
    failure: row.samples.find((sample) => sample.failure !== '')?.failure ?? '',
  }
}

/** The middle value, or the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  const ascending = [...values].sort((a, b) => a - b)
  const middle = ascending.length >> 1
  const upper = ascending[middle] ?? Number.NaN
  return ascending.length % 2 === 1 ? upper : ((ascending[middle - 1] ?? Number.NaN) + upper) / 2
}

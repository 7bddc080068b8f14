// What the DNS proxy has done, in the registry's own slab.
import { DNS_QUERIES, DNS_UPSTREAM } from './families.ts'
import { renderLabels } from './labels.ts'
import type { MetricsSlab } from './slab.ts'

const OUTCOMES = ['table', 'upstream', 'failed', 'refused', 'dropped'] as const

export class DnsMetrics {
  readonly #slab: MetricsSlab
  readonly #queries: Readonly<Record<(typeof OUTCOMES)[number], number>>
  readonly #upstream: number

  constructor(slab: MetricsSlab) {
    this.#slab = slab
    const slot = (outcome: string) => slab.allot(DNS_QUERIES, renderLabels([['outcome', outcome]]))
    const [table, upstream, failed, refused, dropped] = OUTCOMES.map(slot) as [number, number, number, number, number]
    this.#queries = { table, upstream, failed, refused, dropped }
    this.#upstream = slab.allot(DNS_UPSTREAM, '')
  }

  query(outcome: (typeof OUTCOMES)[number]): void {
    this.#slab.values[this.#queries[outcome]]! += 1
  }

  upstreamFailure(): void {
    this.#slab.values[this.#upstream]! += 1
  }
}

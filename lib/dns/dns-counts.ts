// What a DNS proxy counts, and who is told.

export type DnsOutcome = 'table' | 'upstream' | 'failed' | 'refused' | 'dropped'

export interface DnsCounts {
  /**
   * A question has come to its end. table: answered from the names of the mesh. upstream: by somebody else. failed: by nobody, SERVFAIL. refused: it made
   * no sense. dropped: not answered at all.
   */
  query(outcome: DnsOutcome): void
  /** One of those who are asked did not answer, or could not. */
  upstreamFailure(): void
}

export const UNCOUNTED: DnsCounts = { query: () => {}, upstreamFailure: () => {} }

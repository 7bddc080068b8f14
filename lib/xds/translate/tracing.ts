// Tracing of connection managers: heddle starts no spans. What others need to continue theirs, the headers, is passed on like all headers.
import type { HcmTracing } from '../proto/tracing.ts'
import type { Findings } from './findings.ts'

export function noteTracing(tracing: HcmTracing | null, findings: Findings): void {
  const provider = tracing?.provider ?? null
  if (provider !== null)
    findings.at('tracing').note(`no spans are sent to ${provider.name}: headers of traces are passed on, and that is all`)
}

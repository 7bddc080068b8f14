// A connection that a node's tunnel has carried or refused, explained: the sentences of its decision. Both ends of a tunnel have one id, and may be on this
// node. Loaded when somebody asks.

import { type ExplainedConnection, refOf } from '../decide/explanation.ts'
import { explainInbound, explainOutbound, type TunnelSentence } from '../decide/tunnel/explain-tunnel.ts'
import { BUILT_IN } from '../state/origin.ts'
import type { ConnectionRecord } from '../tunnel/connection-record.ts'

export function explainConnections(records: readonly ConnectionRecord[]): ExplainedConnection {
  const [first] = records as [ConnectionRecord, ...ConnectionRecord[]]
  return {
    id: first.id,
    verdict: first.error === '' ? 'carried' : 'refused',
    connections: records.map((record) => {
      const sentences: readonly TunnelSentence[] =
        record.outbound !== null
          ? explainOutbound(record.outbound)
          : record.inbound !== null
            ? explainInbound(record.inbound)
            : []
      return {
        direction: record.direction,
        at: new Date(record.startTimeMs).toISOString(),
        tookMs: record.durationMs,
        source: record.sourceAddress,
        sourceIdentity: record.sourceIdentity,
        destination: record.destinationAddress,
        authority: record.hboneAddress,
        destinationIdentity: record.destinationIdentity,
        bytesSent: record.bytesSent,
        bytesReceived: record.bytesReceived,
        error: record.error,
        steps: sentences.map(({ text, origin }) => ({ text, object: origin.kind === BUILT_IN.kind ? null : refOf(origin) })),
      }
    }),
  }
}

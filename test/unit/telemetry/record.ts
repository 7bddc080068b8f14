// An access record for tests: a plain request that was answered with 200, and what a test wants different.
import type { AccessRecord } from '../../../lib/telemetry/access-record.ts'

export interface RecordParts extends Partial<Omit<AccessRecord, 'requestHeader'>> {
  readonly headers?: Readonly<Record<string, string>>
}

export function accessRecord(parts: RecordParts): AccessRecord {
  const { headers, ...rest } = parts
  return {
    startTimeMs: Date.UTC(2026, 10, 21, 10, 0, 0, 7),
    durationMs: 12,
    method: 'GET',
    originalPath: '/reviews?id=1',
    authority: 'reviews:9080',
    protocol: 'HTTP/1.1',
    responseCode: 200,
    responseFlags: 0,
    responseCodeDetails: 'via_upstream',
    connectionTerminationDetails: '',
    upstreamTransportFailureReason: '',
    bytesReceived: 3,
    bytesSent: 1024,
    upstreamServiceTimeMs: 11,
    upstreamHost: '10.0.0.9:9080',
    upstreamCluster: 'outbound|9080||reviews.prod.svc.cluster.local',
    upstreamLocalAddress: '10.0.0.1:40000',
    downstreamLocalAddress: '127.0.0.1:8080',
    downstreamPeerAddress: '127.0.0.1:50000',
    requestedServerName: '',
    routeName: 'default',
    peerPrincipal: '',
    ownPrincipal: '',
    peer: null,
    attempts: 1,
    ...rest,
    requestHeader: (name) => headers?.[name] ?? null,
  }
}

// What the operators of access logs read, for tests: a plain request that was answered with 200, and what a test wants different.
import type { LogContext } from '../../../../lib/filter/log/log-context.ts'
import type { RequestView } from '../../../../lib/route/request-view.ts'
import { HeaderList } from '../../route/world.ts'

type Headers = readonly (readonly [name: string, value: string])[]

export interface ContextParts extends Partial<Omit<LogContext, 'requestHeaders' | 'responseHeaders' | 'request'>> {
  readonly headers?: Headers
  /** null: there was no answer. */
  readonly answer?: Headers | null
  readonly trailers?: Readonly<Record<string, string>>
}

export function logContext({ headers = [], answer = [], trailers = {}, ...rest }: ContextParts = {}): LogContext {
  const requestHeaders = new HeaderList(headers)
  const facts = {
    logType: 'DownstreamEnd' as const,
    method: 'GET',
    scheme: 'http',
    authority: 'reviews:9080',
    pathWithQuery: '/r?id=1',
    originalPath: '/r?id=1',
    sentPath: '/r?id=1',
    protocol: 'HTTP/1.1',
    downstreamRemoteAddress: '10.0.0.2:5555',
    downstreamDirectRemoteAddress: '10.0.0.3:6666',
    downstreamLocalAddress: '10.0.0.1:9080',
    downstreamDirectLocalAddress: '10.0.0.1:15006',
    upstreamHost: '10.0.0.9:9080',
    upstreamCluster: 'outbound|9080||reviews',
    upstreamLocalAddress: '10.0.0.1:40000',
    requestedServerName: '',
    upstreamTransportFailureReason: '',
    connectionTerminationDetails: '',
    downstreamTls: null,
    upstreamTls: null,
    routeName: 'default',
    virtualHostName: 'reviews:9080',
    grpcStatus: -2,
    metadata: null,
    uniqueId: () => 'unique',
    environment: (name: string) => (name === 'REGION' ? 'eu' : ''),
    responseCode: 200,
    responseFlags: 0,
    responseCodeDetails: 'via_upstream',
    startTimeMs: Date.UTC(2026, 10, 21, 10, 22, 8, 94),
    durationMs: 12,
    bytesReceived: 3,
    bytesSent: 1024,
    requestWireBytes: 130,
    responseWireBytes: 1300,
    requestEndMs: 1.5,
    requestSentMs: 2.25,
    responseBeginMs: 8.75,
    overMs: 12.5,
    attempts: 1,
    hostname: 'box',
    requestHeaders,
    requestField: (_id: number, name: string) => requestHeaders.get(name),
    responseHeaders: answer === null ? null : new HeaderList(answer),
    responseTrailer: (name: string) => trailers[name] ?? null,
    ...rest,
  }
  const { method, scheme, authority, metadata } = facts
  const [path = '', query = null] = facts.originalPath.split('?')
  return {
    ...facts,
    request: { method, scheme, authority, path, query, headers: requestHeaders, metadata: metadata as RequestView['metadata'] },
  }
}

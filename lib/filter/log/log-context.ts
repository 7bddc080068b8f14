import type { EditContext } from '../../route/header-operators.ts'
import type { RequestView } from '../../route/request-view.ts'

/** What the operators of access logs read, at the end of a request or a connection: what those of headers read, and what is known only then. */
export interface LogContext extends EditContext {
  /** As `%ACCESS_LOG_TYPE%` says it. */
  readonly logType: 'DownstreamEnd' | 'TcpConnectionEnd' | 'NotSet'
  /** The path with its query as the client asked for it, and as the upstream was asked. Query parameters that may be tokens are in neither. */
  readonly originalPath: string
  readonly sentPath: string
  /** Our end of the connection, whatever the client dialled. */
  readonly downstreamDirectLocalAddress: string
  /** Heads and bodies, of TCP all bytes. */
  readonly requestWireBytes: number
  readonly responseWireBytes: number
  /** For conditions; of TCP it has nothing. */
  readonly request: RequestView
  /** Milliseconds from the beginning, with fractions; -1: it has not come to that. */
  readonly requestEndMs: number
  readonly requestSentMs: number
  readonly responseBeginMs: number
  readonly overMs: number
  /** A header with an id of http/known-headers.ts, by both; null: it is not there. */
  requestField(id: number, name: string): string | null
  /** By its lower-case name; null: it is not there. */
  responseTrailer(name: string): string | null
}

// What the end of a stream means: whether to wait longer before the next one, how loud it is said, and where to look.
import { GRPC, GrpcError } from '../../grpc/grpc-error.ts'

export interface StreamEnd {
  /** The next try waits longer than this one did. */
  readonly isFault: boolean
  /** It is told as information: nothing is wrong with either side. */
  readonly isExpected: boolean
  /** `UNAVAILABLE: no connection to …`. */
  readonly text: string
}

/** No fault where a stream that had been of use ends so; ztunnel waits no longer after these, either. */
const CLEAN: readonly number[] = [GRPC.UNKNOWN, GRPC.CANCELLED, GRPC.DEADLINE_EXCEEDED]
/** istiod before it has read its world. */
const NOT_READY = /not ready to serve/i

/** @param error null: the control plane ended the stream with OK. @param answered it had sent something on this stream */
export function streamEnd(error: unknown, answered: boolean): StreamEnd {
  if (error === null) {
    const text = answered
      ? 'the control plane ended the stream'
      : 'the control plane ended the stream before it had sent anything'
    return { isFault: !answered, isExpected: answered, text }
  }
  if (!(error instanceof GrpcError)) {
    return { isFault: true, isExpected: false, text: error instanceof Error ? error.message : String(error) }
  }
  const text = `${error.name}: ${error.message}${advice(error)}`
  // Each half hour by the defaults of an installation: keepaliveMaxServerConnectionAge.
  if (error.announced)
    return { isFault: !answered, isExpected: true, text: 'the control plane closed the connection, as announced' }
  if (error.code === GRPC.UNAVAILABLE && NOT_READY.test(error.message)) {
    return { isFault: true, isExpected: true, text: 'the control plane is starting and not ready yet' }
  }
  return { isFault: !(answered && CLEAN.includes(error.code)), isExpected: false, text }
}

function advice({ code, fromServer }: GrpcError): string {
  if (!fromServer) return ''
  switch (code) {
    case GRPC.UNAUTHENTICATED:
      return ' (look at the token, its audience, and whether the port wants one)'
    case GRPC.PERMISSION_DENIED:
      return ' (namespace and service account of the node have to be those of the token)'
    case GRPC.INVALID_ARGUMENT:
      return ' (look at the node id and the addresses of the workload)'
    case GRPC.UNIMPLEMENTED:
      return ' (the server does not know the method: xds.protocol may be the other one)'
    default:
      return ''
  }
}

// How a gRPC call fails: one type, whoever said it.
import { GRPC_STATUS_NAMES } from '../http/grpc-status.ts'

/** Status codes by name (grpc/grpc doc/statuscodes.md). */
export const GRPC = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const

export interface GrpcErrorDetails {
  /** The server said it in a grpc-status; else it was found on this side. Default false. */
  readonly fromServer?: boolean
  /** It is known that the server did nothing for this call (gRFC A6: REFUSED_STREAM, or a stream behind GOAWAY's last). Default false. */
  readonly refused?: boolean
  /** The server had announced that the connection would end, without a fault (RFC 9113 §6.8: GOAWAY NO_ERROR). Default false. */
  readonly announced?: boolean
}

/** A call that did not end with OK. `name` is the code's name; `message` is a sentence without it. */
export class GrpcError extends Error {
  readonly code: number
  override readonly name: string
  readonly fromServer: boolean
  readonly refused: boolean
  readonly announced: boolean

  constructor(code: number, message: string, details: GrpcErrorDetails = {}) {
    super(message)
    this.code = code
    this.name = grpcStatusName(code)
    this.fromServer = details.fromServer ?? false
    this.refused = details.refused ?? false
    this.announced = details.announced ?? false
  }
}

export function grpcStatusName(code: number): string {
  return GRPC_STATUS_NAMES[code] ?? `CODE_${code}`
}

/** What an HTTP status means where no grpc-status came (grpc/grpc doc/http-grpc-status-mapping.md). */
export function codeOfHttpStatus(status: number): number {
  switch (status) {
    case 400:
      return GRPC.INTERNAL
    case 401:
      return GRPC.UNAUTHENTICATED
    case 403:
      return GRPC.PERMISSION_DENIED
    case 404:
      return GRPC.UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return GRPC.UNAVAILABLE
    default:
      return GRPC.UNKNOWN
  }
}

/** What the code of an RST_STREAM means (grpc/grpc doc/PROTOCOL-HTTP2.md, Errors). */
export function codeOfReset(http2Code: number): number {
  switch (http2Code) {
    case 0x5: // STREAM_CLOSED has no mapping
    case 0xd: // nor has HTTP_1_1_REQUIRED
      return GRPC.UNKNOWN
    case 0x7:
      return GRPC.UNAVAILABLE
    case 0x8:
      return GRPC.CANCELLED
    case 0xb:
      return GRPC.RESOURCE_EXHAUSTED
    case 0xc:
      return GRPC.PERMISSION_DENIED
    default:
      return http2Code <= 0xd ? GRPC.INTERNAL : GRPC.UNKNOWN
  }
}

const HTTP2_CODE_NAMES: readonly string[] = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
]

/** RFC 9113 §7. */
export function http2CodeName(code: number): string {
  return HTTP2_CODE_NAMES[code] ?? `0x${code.toString(16)}`
}

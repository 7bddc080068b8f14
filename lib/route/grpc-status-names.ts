// Statuses of gRPC by name (google.rpc.Code), as Envoy writes them, and what statuses of HTTP come to.

const CODES = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const

/** `form`: `NUMBER`, `SNAKE_STRING` (`INVALID_ARGUMENT`), or any other: `InvalidArgument`. A status without a name is a number. */
export function grpcStatusName(status: number, form: string): string {
  const name = CODES[status]
  if (name === undefined || form === 'NUMBER') return String(status)
  return form === 'SNAKE_STRING' ? name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase() : name
}

/** Envoy gRPC status mapping; everything else is UNKNOWN. */
const GRPC_BY_HTTP: Readonly<Record<number, number>> = { 400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14 }

export function grpcStatusOf(status: number): number {
  return GRPC_BY_HTTP[status] ?? 2
}

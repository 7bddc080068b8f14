// Statuses of gRPC by name (google.rpc.Code), as Envoy writes them.

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

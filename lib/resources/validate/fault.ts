// HTTPFaultInjection. Istio HTTPFaultInjection.
import { didYouMean } from '../../base/nearest.ts'
import { GRPC_STATUS_NAMES } from '../../http/grpc-status.ts'
import type { Path, Report } from '../finding.ts'
import type { FaultSpec } from '../schema/virtual-service.ts'
import { checkDuration, checkPercent, checkRange } from './values.ts'

export function checkFault(fault: FaultSpec | undefined, path: Path, report: Report): void {
  if (fault === undefined) return
  const { delay, abort } = fault
  if (delay === undefined && abort === undefined) report(path, 'the fault does nothing: expected `delay` or `abort`')
  if (delay !== undefined) {
    const at = [...path, 'delay']
    if (delay.exponentialDelay !== undefined)
      report([...at, 'exponentialDelay'], '`exponentialDelay` is not supported; use `fixedDelay`', true)
    else if (delay.fixedDelay === undefined) report(at, 'the delay needs a `fixedDelay` such as 5s')
    checkDuration(delay.fixedDelay, [...at, 'fixedDelay'], report)
    checkPercent(delay.percentage?.value, [...at, 'percentage', 'value'], report)
    checkRange(delay.percent, 0, 100, [...at, 'percent'], report)
  }
  if (abort !== undefined) checkAbort(abort, [...path, 'abort'], report)
}

function checkAbort(abort: NonNullable<FaultSpec['abort']>, path: Path, report: Report): void {
  if (abort.http2Error !== undefined)
    report([...path, 'http2Error'], '`http2Error` is not supported; use `httpStatus` or `grpcStatus`', true)
  if (abort.httpStatus !== undefined && abort.grpcStatus !== undefined) {
    report([...path, 'grpcStatus'], '`httpStatus` and `grpcStatus` cannot both be set', true)
  }
  // The message of Istio's validator says 599, its code 600.
  const status = abort.httpStatus
  if (status !== undefined && (status < 200 || status > 600))
    report([...path, 'httpStatus'], `expected a status from 200 to 599, found ${status}`)
  const grpc = abort.grpcStatus
  if (grpc !== undefined && !GRPC_STATUS_NAMES.includes(grpc)) report([...path, 'grpcStatus'], grpcMessage(grpc))
  checkPercent(abort.percentage?.value, [...path, 'percentage', 'value'], report)
  checkRange(abort.percent, 0, 100, [...path, 'percent'], report)
}

function grpcMessage(grpc: string): string {
  const byNumber = /^\d+$/.test(grpc) ? GRPC_STATUS_NAMES[Number(grpc)] : undefined
  const guess = byNumber === undefined ? didYouMean(grpc, GRPC_STATUS_NAMES) : `; write ${byNumber}`
  return `expected the name of a gRPC status such as NOT_FOUND, found "${grpc}"${guess}`
}

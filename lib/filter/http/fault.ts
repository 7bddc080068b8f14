// Hot lane: fault injection (Istio HTTPFaultInjection and Envoy fault filter): delay first, then abort, each with its own draw.
import { Deadline, type DeadlineOwner } from '../../base/timer-wheel.ts'
import type { Fault } from '../../state/route.ts'
import * as F from '../../telemetry/response-flags.ts'
import { CONTINUE, runFilters, STOP } from './chain.ts'
import type { HttpStream } from './http-stream.ts'
import { sendGrpcReply, sendLocalReply } from './local-reply.ts'
import { FAULT_ABORT } from './reasons.ts'

/** Held requests, so that one that is cut meanwhile is not continued. */
class Delay implements DeadlineOwner {
  private readonly stream: HttpStream
  private readonly fault: Fault

  constructor(stream: HttpStream, fault: Fault) {
    this.stream = stream
    this.fault = fault
  }

  onDeadline(): void {
    const { stream } = this
    if (stream.done) return
    if (abort(stream, this.fault) === CONTINUE) runFilters(stream, stream.filterIndex + 1)
  }

  abandon(): void {
    this.stream.session.abandon()
  }
}

export function beginFault(stream: HttpStream): number {
  const { route } = stream.decision
  if (route === null || route.action.kind !== 'forward' || route.action.fault === null) return CONTINUE
  const { fault } = route.action
  const { delay } = fault
  if (delay !== null && stream.manager.rng.percent(delay.percent)) {
    stream.responseFlags |= F.DI
    stream.manager.io.timers.arm(new Deadline(new Delay(stream, fault), 0), delay.fixedMs)
    return STOP
  }
  return abort(stream, fault)
}

function abort(stream: HttpStream, fault: Fault): number {
  const rule = fault.abort
  if (rule === null || !stream.manager.rng.percent(rule.percent)) return CONTINUE
  stream.responseFlags |= F.FI
  stream.responseCodeDetails = FAULT_ABORT.details
  stream.manager.worker.requestRefused(FAULT_ABORT.code)
  if (rule.grpcStatus >= 0 && stream.isGrpc()) sendGrpcReply(stream, rule.grpcStatus, FAULT_ABORT.body)
  // A gRPC abort of a request that is not gRPC answers 200 with the text (Istio HTTPFaultInjection).
  else sendLocalReply(stream, rule.grpcStatus >= 0 ? 200 : rule.httpStatus, FAULT_ABORT.body, false)
  return STOP
}

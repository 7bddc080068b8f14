// Hot lane: fault injection (Istio HTTPFaultInjection and Envoy fault filter): delay first, then abort, each with its own draw.
import { Deadline, type DeadlineOwner } from '../../base/timer-wheel.ts'
import { pickAgain } from '../../decide/decide.ts'
import * as S from '../../decide/steps.ts'
import type { Fault } from '../../state/route.ts'
import * as F from '../../telemetry/response-flags.ts'
import { CONTINUE, type Holder, runFilters, STOP } from './chain.ts'
import { faultAskedFor } from './fault-headers.ts'
import type { HttpStream } from './http-stream.ts'
import { sendGrpcReply, sendLocalReply } from './local-reply.ts'
import { FAULT_ABORT } from './reasons.ts'

/** A request that is held. It ends once: with its time, or with the request when that is cut meanwhile. */
class Delay implements DeadlineOwner, Holder {
  private readonly stream: HttpStream
  private readonly fault: Fault
  private readonly deadline: Deadline

  constructor(stream: HttpStream, fault: Fault) {
    this.stream = stream
    this.fault = fault
    this.deadline = new Deadline(this, 0)
  }

  begin(ms: number): void {
    const { manager } = this.stream
    this.stream.holder = this
    manager.values[manager.stats.faultsActive]!++
    manager.io.timers.arm(this.deadline, ms)
  }

  onDeadline(): void {
    const { stream } = this
    this.letGo()
    this.lookAgain()
    if (abort(stream, this.fault) === CONTINUE) runFilters(stream, stream.filterIndex + 1)
  }

  /** The endpoint was chosen before the delay; it may have gone meanwhile, or one may have come. */
  private lookAgain(): void {
    const { decision, manager } = this.stream
    const { cluster, host } = decision
    // The address that a client dialled stays where it is.
    if (cluster === null || cluster.config.type === 'ORIGINAL_DST') return
    const context = manager.pickContext(this.stream, null)
    if (host === null || !host.available || !cluster.hosts.includes(host)) pickAgain(decision, context, manager.steps)
  }

  letGo(): void {
    const { manager } = this.stream
    this.stream.holder = null
    manager.values[manager.stats.faultsActive]!--
    manager.io.timers.cancel(this.deadline)
  }

  abandon(): void {
    this.stream.session.abandon()
  }
}

export function beginFault(stream: HttpStream): number {
  const { weighted } = stream.decision
  const { manager } = stream
  if (weighted === null || !manager.config.settings.fault) return CONTINUE
  const policy = weighted.fault
  // The proxy of the client injects, never the one of the service.
  const fault = manager.obeysFaultHeaders && stream.outbound ? faultAskedFor(stream.headers, policy) : policy
  if (fault === null) return CONTINUE
  const { delay } = fault
  if (delay === null || delay.fixedMs === 0 || !manager.rng.percent(delay.percent)) return abort(stream, fault)
  stream.responseFlags |= F.DI
  manager.values[manager.stats.faultDelays]!++
  manager.steps.addTo(stream.decision.steps, S.FAULT, S.FAULT_DELAY, delay.fixedMs)
  new Delay(stream, fault).begin(delay.fixedMs)
  return STOP
}

function abort(stream: HttpStream, fault: Fault): number {
  const rule = fault.abort
  const { manager } = stream
  if (rule === null || !manager.rng.percent(rule.percent)) return CONTINUE
  const grpc = rule.grpcStatus >= 0
  stream.responseFlags |= F.FI
  stream.responseCodeDetails = FAULT_ABORT.details
  manager.values[manager.stats.faultAborts]!++
  manager.steps.addTo(
    stream.decision.steps,
    S.FAULT,
    grpc ? S.FAULT_GRPC_ABORT : S.FAULT_ABORT,
    grpc ? rule.grpcStatus : rule.httpStatus,
  )
  manager.worker.requestRefused(FAULT_ABORT.code)
  if (grpc && stream.isGrpc()) sendGrpcReply(stream, rule.grpcStatus, FAULT_ABORT.body)
  // A gRPC abort of a request that is not gRPC answers 200 with the text (Istio HTTPFaultInjection).
  else sendLocalReply(stream, grpc ? 200 : rule.httpStatus, FAULT_ABORT.body, false)
  return STOP
}

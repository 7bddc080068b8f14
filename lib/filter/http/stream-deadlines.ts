// Hot lane: how long a request may take to come, and it and its answer together (Envoy request_timeout and max_stream_duration). Made for requests that have
// such a limit.
import { Deadline, type DeadlineOwner } from '../../base/timer-wheel.ts'
import type { ForwardAction } from '../../state/route.ts'
import type { HttpStream } from './http-stream.ts'
import { REQUEST_TIMEOUT, STREAM_DURATION } from './reasons.ts'
import { grpcTimeout } from './router-terms.ts'

const REQUEST = 1
const DURATION = 2

/** Once its route is known: Envoy counts from the end of its head too. */
export function beginDeadlines(stream: HttpStream): void {
  const { requestTimeoutMs, maxStreamDurationMs } = stream.manager.config.settings
  const action = stream.decision.route?.action
  const forward = action?.kind === 'forward' ? action : null
  const durationMs = grpcDuration(stream, forward) || (forward?.maxStreamDurationMs ?? maxStreamDurationMs)
  const requestMs = stream.session.hasBody ? requestTimeoutMs : 0
  if (durationMs === 0 && requestMs === 0) return
  const deadlines = new StreamDeadlines(stream)
  stream.deadlines = deadlines
  if (requestMs > 0) deadlines.arm(REQUEST, requestMs)
  if (durationMs > 0) deadlines.arm(DURATION, durationMs)
}

/** Of a call that says how long its client waits; 0: none. */
function grpcDuration(stream: HttpStream, forward: ForwardAction | null): number {
  const max = forward?.grpcStreamMaxMs ?? null
  if (max === null || stream.grpcStatus === -2) return 0
  const asked = grpcTimeout(stream)
  return max === 0 ? asked : Math.min(asked, max)
}

export class StreamDeadlines implements DeadlineOwner {
  private readonly stream: HttpStream
  private readonly request: Deadline
  private readonly duration: Deadline

  constructor(stream: HttpStream) {
    this.stream = stream
    this.request = new Deadline(this, REQUEST)
    this.duration = new Deadline(this, DURATION)
  }

  arm(kind: number, ms: number): void {
    this.stream.manager.io.timers.arm(kind === REQUEST ? this.request : this.duration, ms)
  }

  /** The request is complete. */
  requestEnded(): void {
    this.stream.manager.io.timers.cancel(this.request)
  }

  cancel(): void {
    const { timers } = this.stream.manager.io
    timers.cancel(this.request)
    timers.cancel(this.duration)
  }

  onDeadline(kind: number): void {
    const { stream } = this
    const { values, stats } = stream.manager
    if (kind === REQUEST) {
      values[stats.rqTimeout]!++
      stream.reply(REQUEST_TIMEOUT)
    } else stream.reply(stream.requestComplete ? { ...STREAM_DURATION, status: 504 } : STREAM_DURATION)
  }

  abandon(): void {
    this.stream.session.abandon()
  }
}

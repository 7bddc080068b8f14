// Hot lane: what a peer may do that costs us and brings nobody anything. Each count is held against useful work on the same connection, so that
// a busy connection may do more than an idle one. A count that is exceeded costs the peer its connection: ENHANCE_YOUR_CALM.

export interface AbuseLimits {
  /** Streams on a connection before resets are looked at. */
  readonly resetsFrom: number
  /** Share of streams that may end by an early reset, whichever side sends it. Ours count too: a peer can provoke them. */
  readonly resetShare: number
  /** A reset is early when the stream lived shorter, ms. */
  readonly earlyResetMs: number
  /** PING, SETTINGS, unknown frames and frames on closed streams: so many at once, … */
  readonly controlFrames: number
  /** … and so many more each second, and for each frame with a header block or data. */
  readonly controlFramesPerSecond: number
  /** DATA frames in a row that bring nothing and end nothing. */
  readonly emptyFrames: number
  /** PRIORITY frames for each stream. */
  readonly priorityPerStream: number
  /** WINDOW_UPDATE frames: this, and 2 for each stream and 20 for each DATA frame sent. */
  readonly windowUpdates: number
  /** Frames that wait because the peer does not read. */
  readonly waitingFrames: number
  readonly waitingBytes: number
}

/** Envoy's numbers where it has them (http2_protocol_options of its core protocol options, and its overload settings for resets). */
export const ABUSE_LIMITS: AbuseLimits = {
  resetsFrom: 500,
  resetShare: 0.5,
  earlyResetMs: 1000,
  controlFrames: 1000,
  controlFramesPerSecond: 100,
  emptyFrames: 10,
  priorityPerStream: 100,
  windowUpdates: 1000,
  waitingFrames: 1000,
  waitingBytes: 4 * 1024 * 1024,
}

/** Counts of one connection. Each method returns false when the peer has gone too far. */
export class AbuseGuard {
  private readonly limits: AbuseLimits
  private streams: number
  private earlyResets: number
  /** Control frames that may still come. */
  private credit: number
  private creditMs: number
  private empty: number
  private priorities: number
  private updates: number
  private updatesAllowed: number

  constructor(limits: AbuseLimits, nowMs: number) {
    this.limits = limits
    this.streams = 0
    this.earlyResets = 0
    this.credit = limits.controlFrames
    this.creditMs = nowMs
    this.empty = 0
    this.priorities = 0
    this.updates = 0
    this.updatesAllowed = limits.windowUpdates
  }

  /** A stream was opened, or refused for lack of room. */
  opened(): void {
    this.streams++
    this.updatesAllowed += 2
    this.useful()
  }

  /** A frame with a header block or data came. */
  useful(): void {
    this.empty = 0
    if (this.credit < this.limits.controlFrames) this.credit++
  }

  dataSent(): void {
    this.updatesAllowed += 20
    this.useful()
  }

  /** A stream ended by RST_STREAM of either side (CVE-2023-44487, CVE-2025-8671). */
  reset(livedMs: number): boolean {
    const { limits } = this
    if (livedMs < limits.earlyResetMs) this.earlyResets++
    return this.streams < limits.resetsFrom || this.earlyResets <= this.streams * limits.resetShare
  }

  /** PING, SETTINGS, an unknown frame, a frame on a closed stream. `weight`: what it counts for. */
  control(weight: number, nowMs: number): boolean {
    const { limits } = this
    this.credit = Math.min(limits.controlFrames, this.credit + ((nowMs - this.creditMs) * limits.controlFramesPerSecond) / 1000)
    this.creditMs = nowMs
    this.credit -= weight
    return this.credit >= 0
  }

  /** A DATA frame without data that does not end its stream. */
  emptyFrame(): boolean {
    return ++this.empty <= this.limits.emptyFrames
  }

  priority(): boolean {
    return ++this.priorities <= this.limits.priorityPerStream * (1 + this.streams)
  }

  windowUpdate(): boolean {
    return ++this.updates <= this.updatesAllowed
  }

  waiting(frames: number, bytes: number): boolean {
    return frames <= this.limits.waitingFrames && bytes <= this.limits.waitingBytes
  }
}

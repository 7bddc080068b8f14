// Hot lane: one reading of the clock per socket event serves all that happens in it; a call costs 40 ns, a field 1.

/** Time of one thread. `monotonicMs` never goes back; `wallMs` is the epoch time that belongs to it. */
export class Clock {
  monotonicMs: number
  private readonly epochOffsetMs: number
  private dateSecond: number
  private dateText: string

  constructor() {
    this.monotonicMs = performance.now()
    this.epochOffsetMs = performance.timeOrigin
    this.dateSecond = -1
    this.dateText = ''
  }

  /** Called once at the beginning of each socket event and tick. */
  update(): void {
    this.monotonicMs = performance.now()
  }

  get wallMs(): number {
    return Math.floor(this.epochOffsetMs + this.monotonicMs)
  }

  /** IMF-fixdate for the Date header (RFC 9110 §5.6.7), made once a second. */
  httpDate(): string {
    const second = Math.floor((this.epochOffsetMs + this.monotonicMs) / 1000)
    if (second !== this.dateSecond) {
      this.dateSecond = second
      this.dateText = new Date(second * 1000).toUTCString()
    }
    return this.dateText
  }
}

// Hot lane: how much a peer may send (RFC 9113 §5.2). A window is given back as its bytes are consumed, half a window at a time. One that is used
// up within two round trips is what holds the sender back: it doubles, up to a limit. The round trip is that of SETTINGS and PING, which are
// sent anyway.

/** A window of which half lasts so long is larger than it has to be. */
const UNUSED_MS = 1000

export class ReceiveWindow {
  /** What the peer may send at once, when all is consumed; what it may still send is `available`. */
  size: number
  available: number
  /** Bytes that came and are not consumed. */
  held: number
  /** When the window was last given back. */
  private sinceMs: number

  constructor(initial: number, nowMs: number) {
    this.size = initial
    this.available = initial
    this.held = 0
    this.sinceMs = nowMs
  }

  /** Bytes came. False when they are more than was allowed. */
  take(n: number): boolean {
    this.available -= n
    this.held += n
    return this.available >= 0
  }

  /**
   * Bytes were consumed. Returns what to announce to the peer; mostly 0. `most`: what the window may grow to; `least`: what it may shrink to when it is not
   * needed. `rttMs` 0: not known.
   */
  give(n: number, least: number, most: number, nowMs: number, rttMs: number): number {
    this.held -= n
    const lastedMs = nowMs - this.sinceMs
    if (this.size > least && lastedMs > UNUSED_MS) {
      this.size = Math.max(least, Math.floor(this.size / 2))
      this.sinceMs = nowMs
    }
    let due = this.size - this.available - this.held
    // What is held by a consumer that does not take it cannot be given back: half of the rest is enough.
    if (due <= 0 || due * 2 < this.size - this.held) return 0
    if (this.size < most && rttMs > 0 && lastedMs < 2 * rttMs) {
      const larger = Math.min(most, this.size * 2)
      due += larger - this.size
      this.size = larger
    }
    this.sinceMs = nowMs
    this.available += due
    return due
  }

  /**
   * Of a connection, when a stream keeps what came: it must not be missing for the other streams. While most of the window is held, the window grows, up to
   * `most`. Returns what to announce.
   */
  relieve(most: number): number {
    if (this.held * 2 < this.size || this.size >= most) return 0
    const larger = Math.min(most, this.size * 2)
    const due = larger - this.available - this.held
    this.size = larger
    this.available += due
    return due
  }

  /** Makes the window at least so large from the next time on that it is given back. */
  raise(size: number): void {
    if (size > this.size) this.size = size
  }
}

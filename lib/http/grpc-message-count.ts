// Hot lane: how many messages of gRPC a body has: each has five bytes in front, the last four of which say how long it is (gRPC over HTTP/2, Length-Prefixed-Message).

const PREFIX = 5

/** Both directions of one call. */
export class GrpcMessageCounts {
  readonly requests: GrpcMessageCount
  readonly responses: GrpcMessageCount

  constructor() {
    this.requests = new GrpcMessageCount()
    this.responses = new GrpcMessageCount()
  }

  get request(): number {
    return this.requests.count
  }

  get response(): number {
    return this.responses.count
  }
}

export class GrpcMessageCount {
  /** Messages whose prefix has come whole (Envoy). */
  count: number
  /** Bytes of a prefix that have come. */
  private prefix: number
  private length: number
  /** Bytes of a message that are still to come. */
  private left: number

  constructor() {
    this.count = 0
    this.prefix = 0
    this.length = 0
    this.left = 0
  }

  take(bytes: Uint8Array, start: number, end: number): void {
    let at = start
    while (at < end) {
      if (this.left > 0) {
        const passed = Math.min(this.left, end - at)
        this.left -= passed
        at += passed
        continue
      }
      const byte = bytes[at++] as number
      if (this.prefix > 0) this.length = this.length * 256 + byte
      if (++this.prefix < PREFIX) continue
      this.count++
      this.left = this.length
      this.prefix = 0
      this.length = 0
    }
  }
}

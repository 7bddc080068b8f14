// Hot lane: the request body as far as it has come, for an upstream that is not there yet and for attempts that may follow.

export class ReplayBody {
  readonly chunks: Buffer[]
  bytes: number
  /** Trailer lines; empty for none. */
  trailers: string

  constructor() {
    this.chunks = []
    this.bytes = 0
    this.trailers = ''
  }

  /** Copies a view. */
  append(bytes: Buffer, start: number, end: number): void {
    this.bytes += end - start
    this.chunks.push(Buffer.from(bytes.subarray(start, end)))
  }

  clear(): void {
    this.chunks.length = 0
    this.bytes = 0
  }
}

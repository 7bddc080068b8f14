// Hot lane: whose turn it is to send. Streams that have something queued and a window for it stand in line; each sends one frame and goes to
// the end. Priorities that a peer signals are not looked at (RFC 9113 §5.3.2).
import type { FrameWriter } from './frame-writer.ts'
import type { Http2Stream } from './stream.ts'

export class SendSchedule {
  /** What the peer lets us send on the whole connection. */
  window: number
  private readonly writer: FrameWriter
  private head: Http2Stream | null
  private tail: Http2Stream | null
  private running: boolean

  constructor(writer: FrameWriter, window: number) {
    this.window = window
    this.writer = writer
    this.head = null
    this.tail = null
    this.running = false
  }

  /** Nobody waits, and what is written now leaves: a stream may send without standing in line. */
  get free(): boolean {
    return this.head === null && this.window > 0 && this.writer.flowing
  }

  add(stream: Http2Stream): void {
    if (stream.scheduled) return
    stream.scheduled = true
    stream.nextScheduled = null
    if (this.tail === null) this.head = stream
    else this.tail.nextScheduled = stream
    this.tail = stream
  }

  /** Sends as much as windows and the peer's reading allow. */
  run(): void {
    if (this.running) return
    this.running = true
    while (this.head !== null && this.window > 0 && this.writer.flowing) {
      const stream: Http2Stream = this.head
      this.head = stream.nextScheduled
      if (this.head === null) this.tail = null
      stream.scheduled = false
      stream.nextScheduled = null
      stream.sendQueued()
    }
    this.running = false
  }
}

// Hot lane: a CONNECT that waits for its answer.
import { CANCEL } from '../http/h2/error-codes.ts'
import type { Http2Stream } from '../http/h2/stream.ts'
import type { StreamEvents } from '../http/h2/stream-events.ts'
import { NOBODY } from '../http/h2/stream-events.ts'
import type { PendingTunnel } from './tunnel-client.ts'

export class TunnelOpening implements StreamEvents {
  private readonly pending: PendingTunnel
  private readonly opened: (stream: Http2Stream) => void

  constructor(pending: PendingTunnel, opened: (stream: Http2Stream) => void) {
    this.pending = pending
    this.opened = opened
  }

  onInformational(): void {}

  onResponse(): void {
    const { pending } = this
    const { stream } = pending
    if (stream === null) return
    // From here on it is its owner's.
    pending.stream = null
    if (stream.status >= 200 && stream.status < 300) {
      this.opened(stream)
      return
    }
    const { status } = stream
    stream.events = NOBODY
    stream.reset(CANCEL)
    pending.owner.onTunnelFailed(status, `the other end answers ${status} to CONNECT ${pending.request.authority}`)
  }

  /** Before an answer there is no body. */
  onBody(): void {}

  onEnd(): void {}

  onReset(code: number): void {
    if (this.pending.cancelled) return
    this.pending.owner.onTunnelFailed(0, `the tunnel was reset before it was open (HTTP/2 error ${code})`)
  }

  onWritable(): void {}
}

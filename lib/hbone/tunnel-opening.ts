// Hot lane: a CONNECT that waits for its answer.
import { CANCEL } from '../http/h2/error-codes.ts'
import type { Http2Stream } from '../http/h2/stream.ts'
import type { StreamEvents } from '../http/h2/stream-events.ts'
import { NOBODY } from '../http/h2/stream-events.ts'
import type { PendingTunnel, TunnelClient } from './tunnel-client.ts'

export class TunnelOpening implements StreamEvents {
  private readonly pending: PendingTunnel
  private readonly client: Pick<TunnelClient, 'again'>
  private readonly opened: (stream: Http2Stream) => void

  constructor(pending: PendingTunnel, client: Pick<TunnelClient, 'again'>, opened: (stream: Http2Stream) => void) {
    this.pending = pending
    this.client = client
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
    // A reset would count against us as one of those who open streams to reset them.
    if (stream.hasBody) stream.reset(CANCEL)
    else stream.sendEnd('')
    pending.owner.onTunnelFailed('status', status, `the other end answers ${status} to CONNECT ${pending.request.authority}`)
  }

  /** Before an answer there is no body. */
  onBody(): void {}

  onEnd(): void {}

  onReset(code: number): void {
    const { pending } = this
    if (pending.cancelled) return
    const text = `the tunnel was reset before it was open (HTTP/2 error ${code})`
    if (pending.stream?.unprocessed === true) this.client.again(pending, text)
    else pending.owner.onTunnelFailed('http2', 0, text)
  }

  onWritable(): void {}
}

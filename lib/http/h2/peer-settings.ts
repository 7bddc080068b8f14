// Hot lane: what the peer has said in its SETTINGS (RFC 9113 §6.5.2, RFC 8441 §3).
import * as E from './error-codes.ts'
import * as F from './frame-types.ts'

export class PeerSettings {
  headerTableSize: number
  maxConcurrentStreams: number
  initialWindow: number
  maxFrameSize: number
  maxHeaderListSize: number
  connectProtocol: boolean
  private readonly fromServer: boolean

  constructor(fromServer: boolean) {
    this.headerTableSize = 4096
    // Until its SETTINGS are here, a peer is not asked for more than what RFC 9113 §6.5.2 recommends as a minimum.
    this.maxConcurrentStreams = 100
    this.initialWindow = F.DEFAULT_WINDOW
    this.maxFrameSize = F.MIN_MAX_FRAME
    this.maxHeaderListSize = 0xffffffff
    this.connectProtocol = false
    this.fromServer = fromServer
  }

  /** Takes the payload of a SETTINGS frame, `b[start, end)`, a multiple of six. Returns an error code; NO_ERROR when all is well. */
  apply(b: Buffer, start: number, end: number): number {
    for (let at = start; at < end; at += 6) {
      const id = ((b[at] as number) << 8) | (b[at + 1] as number)
      const value =
        (b[at + 2] as number) * 0x1000000 + (((b[at + 3] as number) << 16) | ((b[at + 4] as number) << 8) | (b[at + 5] as number))
      switch (id) {
        case F.SETTINGS_HEADER_TABLE_SIZE:
          this.headerTableSize = value
          break
        case F.SETTINGS_ENABLE_PUSH:
          // A server must not offer what only it could use.
          if (value > 1 || (this.fromServer && value !== 0)) return E.PROTOCOL_ERROR
          break
        case F.SETTINGS_MAX_CONCURRENT_STREAMS:
          this.maxConcurrentStreams = value
          break
        case F.SETTINGS_INITIAL_WINDOW_SIZE:
          if (value > F.MAX_WINDOW) return E.FLOW_CONTROL_ERROR
          this.initialWindow = value
          break
        case F.SETTINGS_MAX_FRAME_SIZE:
          if (value < F.MIN_MAX_FRAME || value > F.MAX_MAX_FRAME) return E.PROTOCOL_ERROR
          this.maxFrameSize = value
          break
        case F.SETTINGS_MAX_HEADER_LIST_SIZE:
          this.maxHeaderListSize = value
          break
        case F.SETTINGS_ENABLE_CONNECT_PROTOCOL:
          if (value > 1 || (this.connectProtocol && value === 0)) return E.PROTOCOL_ERROR
          this.connectProtocol = value === 1
          break
      }
    }
    return E.NO_ERROR
  }
}

/** The payload that a value of HTTP2-Settings stands for (RFC 7540 §3.2.1), or null when it is none that a client may send. */
export function upgradeSettings(value: string): Buffer | null {
  if (!/^[\w-]*$/.test(value)) return null
  const payload = Buffer.from(value, 'base64url')
  if (payload.length % 6 !== 0) return null
  return new PeerSettings(false).apply(payload, 0, payload.length) === E.NO_ERROR ? payload : null
}

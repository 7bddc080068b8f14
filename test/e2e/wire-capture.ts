// What goes over a cable, as tcpdump saw it: bytes of each direction of each TCP connection, and whether they are TLS.
import { spawnSync } from 'node:child_process'
import { eventually } from '../support/eventually.ts'
import type { Namespace, Running } from '../support/netns.ts'

/** Why nothing can be captured here; empty when it can. */
export function canCapture(): string {
  const found = spawnSync('tcpdump', ['--version'], { stdio: 'ignore' })
  return found.error === undefined ? '' : 'tcpdump is not installed'
}

/** One direction of one connection. */
export interface Stream {
  /** `ip:port` */
  readonly from: string
  readonly to: string
  readonly bytes: Buffer
}

const GLOBAL_HEADER = 24
const PACKET_HEADER = 16
const ETHERNET = 14
const TCP = 6

export class WireCapture {
  private readonly child: Running
  private readonly chunks: Buffer[]
  /** Read of so many chunks. */
  private read: { readonly chunks: number; readonly streams: readonly Stream[] }

  private constructor(child: Running) {
    this.child = child
    this.chunks = []
    this.read = { chunks: 0, streams: [] }
    child.stdout.on('data', (d: Buffer) => this.chunks.push(d))
  }

  /** Resolves when it captures. It ends with the namespace. */
  static async start(at: Namespace, device: string): Promise<WireCapture> {
    const child = at.spawn('tcpdump', ['-i', device, '-U', '--immediate-mode', '-s', '0', '-w', '-', 'tcp'])
    const capture = new WireCapture(child)
    let said = ''
    child.stderr.on('data', (d) => {
      said += String(d)
    })
    await eventually(`tcpdump to listen: ${said}`, () => said.includes('listening on'))
    return capture
  }

  /** All that was captured, frames and all. */
  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }

  /** Of connections whose one end has this port. */
  streams(port: number): Stream[] {
    const { length } = this.chunks
    if (this.read.chunks !== length) this.read = { chunks: length, streams: streamsOf(this.bytes) }
    return this.read.streams.filter((s) => s.from.endsWith(`]:${port}`) || s.to.endsWith(`]:${port}`))
  }

  /** Bytes of these. */
  size(port: number): number {
    return this.streams(port).reduce((sum, s) => sum + s.bytes.length, 0)
  }

  end(): void {
    this.child.kill('SIGTERM')
  }
}

interface Direction {
  readonly from: string
  readonly to: string
  /** Sequence number of the byte that comes next. */
  next: number
  readonly parts: Buffer[]
}

function streamsOf(file: Buffer): Stream[] {
  const directions = new Map<string, Direction>()
  for (let at = GLOBAL_HEADER; at + PACKET_HEADER <= file.length; ) {
    const length = file.readUInt32LE(at + 8)
    const frame = file.subarray(at + PACKET_HEADER, at + PACKET_HEADER + length)
    at += PACKET_HEADER + length
    if (frame.length === length) addFrame(directions, frame)
  }
  return [...directions.values()].map(({ from, to, parts }) => ({ from, to, bytes: Buffer.concat(parts) }))
}

function addFrame(directions: Map<string, Direction>, frame: Buffer): void {
  const packet = frame.subarray(ETHERNET)
  const v4 = (packet[0] as number) >> 4 === 4
  const header = v4 ? ((packet[0] as number) & 15) * 4 : 40
  if (packet[v4 ? 9 : 6] !== TCP) return
  // What is shorter than a frame may be is padded.
  const end = v4 ? packet.readUInt16BE(2) : 40 + packet.readUInt16BE(4)
  const [source, destination] = v4
    ? [packet.subarray(12, 16), packet.subarray(16, 20)]
    : [packet.subarray(8, 24), packet.subarray(24, 40)]
  const segment = packet.subarray(header, end)
  const from = `[${source.toString('hex')}]:${segment.readUInt16BE(0)}`
  const to = `[${destination.toString('hex')}]:${segment.readUInt16BE(2)}`
  const sequence = segment.readUInt32BE(4)
  const isSyn = ((segment[13] as number) & 2) !== 0
  const payload = segment.subarray(((segment[12] as number) >> 4) * 4)
  const key = `${from} ${to}`
  let direction = directions.get(key)
  if (direction === undefined || isSyn) {
    direction = { from, to, next: isSyn ? (sequence + 1) >>> 0 : sequence, parts: direction?.parts ?? [] }
    directions.set(key, direction)
  }
  // Sent again: what is known of it is left out.
  const known = (direction.next - sequence) | 0
  if (payload.length === 0 || known < 0 || known >= payload.length) return
  direction.parts.push(payload.subarray(known))
  direction.next = (sequence + payload.length) >>> 0
}

/** Bytes that are records of TLS from the first on (RFC 8446 §5.1). Empty: they are; else what is there instead. */
export function whatIsNotTls(bytes: Buffer): string {
  let at = 0
  while (at + 5 <= bytes.length) {
    const type = bytes[at] as number
    const length = bytes.readUInt16BE(at + 3)
    if (type < 20 || type > 23 || bytes[at + 1] !== 3 || length > 16_640)
      return `at ${at}: ${JSON.stringify(bytes.subarray(at, at + 40).toString('latin1'))}`
    at += 5 + length
  }
  return ''
}

// What tests of the HTTP/2 codec need: a socket whose kernel the test is, frames as bytes and bytes as frames, written anew here, and owners that write
// down what they are told.
import type net from 'node:net'
import { Http2ClientConnection } from '../../../../lib/http/h2/client-connection.ts'
import type { Http2Connection } from '../../../../lib/http/h2/http2-connection.ts'
import { HTTP2_DEFAULTS, type Http2Options } from '../../../../lib/http/h2/options.ts'
import { Http2ServerConnection, type Http2ServerEvents } from '../../../../lib/http/h2/server-connection.ts'
import type { Http2Stream } from '../../../../lib/http/h2/stream.ts'
import type { StreamEvents } from '../../../../lib/http/h2/stream-events.ts'
import { HeaderMap } from '../../../../lib/http/header-map.ts'
import type { Connection } from '../../../../lib/transport/connection.ts'
import { Io } from '../../../../lib/transport/io.ts'
import { SocketConnection } from '../../../../lib/transport/socket-connection.ts'
import { INTERNALS } from '../../../../lib/transport/stream-internals.ts'
import { type Frame, frame, frames, PREFACE, settings, told } from '../../../support/http2-frames.ts'
import { fieldsOf } from '../kit.ts'

export {
  block,
  END,
  type Frame,
  frame,
  frames,
  GET,
  get,
  integer,
  POST,
  PREFACE,
  post,
  settings,
  TYPES,
  type TypeName,
  text,
  told,
  u32,
  WHOLE,
} from '../../../support/http2-frames.ts'

interface WriteRequest {
  oncomplete?: (status: number) => void
}

/** The kernel's side of a connection. */
export class Wire {
  readonly io: Io
  readonly connection: Connection
  /** Exceptions at a boundary; a test that expects none looks at it. */
  readonly faults: unknown[]
  /** The kernel takes nothing more: writes stay. */
  full: boolean
  ended: boolean
  destroyed: boolean
  private written: Buffer[]
  private staying: WriteRequest[]

  /** `io`: one for many wires, where there are thousands; its faults are then its owner's to look at. */
  constructor(io: Io | null = null) {
    this.faults = []
    this.io = io ?? new Io((error) => this.faults.push(error))
    this.full = false
    this.ended = false
    this.destroyed = false
    this.written = []
    this.staying = []
    const wire = this
    const handle = {
      reading: false,
      readStart: () => 0,
      readStop: () => 0,
      useUserBuffer: () => {},
      writeBuffer(req: WriteRequest, view: Uint8Array): number {
        wire.written.push(Buffer.from(view))
        if (INTERNALS !== null) INTERNALS.state[INTERNALS.lastWriteWasAsync] = wire.full ? 1 : 0
        if (wire.full) wire.staying.push(req)
        return 0
      },
    }
    const socket = {
      _handle: handle,
      remoteAddress: '127.0.0.1',
      remotePort: 1,
      localAddress: '127.0.0.1',
      localPort: 2,
      writableLength: 0,
      on: () => socket,
      resume: () => socket,
      pause: () => socket,
      end: () => {
        wire.ended = true
      },
      destroy: () => {
        wire.destroyed = true
      },
    }
    this.connection = new SocketConnection(this.io, socket as unknown as net.Socket, {
      onData() {},
      onEnd() {},
      onWritable() {},
      onClose() {},
    })
  }

  /** Bytes come, in these pieces; each is one event. What the codec looks at is overwritten afterwards. */
  receive(owner: { onData(bytes: Buffer, length: number): void }, ...pieces: readonly Buffer[]): void {
    for (const piece of pieces) {
      this.io.run('data', () => {
        piece.copy(this.io.readBuffer)
        owner.onData(this.io.readBuffer, piece.length)
      })
      this.io.readBuffer.fill(0xee, 0, piece.length)
    }
  }

  /** All bytes since the last call. */
  take(): Buffer {
    const out = Buffer.concat(this.written)
    this.written = []
    return out
  }

  /** The kernel has taken what stayed. */
  drain(): void {
    this.full = false
    const staying = this.staying
    this.staying = []
    for (const req of staying) req.oncomplete?.(0)
  }
}

/** Writes down the events of a stream. */
export class Recorder implements StreamEvents {
  readonly stream: () => Http2Stream
  readonly log: string[]
  private readonly name: string

  constructor(log: string[], name: string, stream: () => Http2Stream) {
    this.log = log
    this.name = name
    this.stream = stream
  }

  private say(what: string): void {
    this.log.push(`${this.name} ${what}`)
  }

  onInformational(status: number, headers: HeaderMap): void {
    this.say(`interim ${status} [${fieldsOf(headers).join('; ')}]`)
  }

  onResponse(): void {
    const { status, headers, hasBody, bodyLength } = this.stream()
    this.say(`response ${status} [${fieldsOf(headers).join('; ')}] ${hasBody ? bodyLength : 'no body'}`)
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    const piece = bytes.toString('latin1', start, end)
    const last = this.log.length - 1
    if (this.log[last]?.startsWith(`${this.name} body `) === true) this.log[last] += piece
    else this.say(`body ${piece}`)
  }

  onEnd(trailers: HeaderMap | null): void {
    this.say(trailers === null ? 'end' : `end [${fieldsOf(trailers).join('; ')}]`)
  }

  onReset(code: number): void {
    this.say(`reset ${code}`)
  }

  onWritable(): void {
    this.say('writable')
  }
}

const connectionEvents = (log: string[]) => ({
  onSettings() {},
  onStreamClosed() {},
  onGoaway: (code: number, debug: string) => void log.push(`goaway ${code}${debug === '' ? '' : ` ${debug}`}`),
  onConnectionError: (code: number) => void log.push(`error ${code}`),
  onClose: (reason: string) => void log.push(`closed ${reason}`),
})

/** One side of a connection under test, and everything around it. */
export class Side<C extends Http2Connection> {
  readonly wire: Wire
  readonly log: string[]
  readonly streams: Http2Stream[]
  readonly h2: C

  constructor(wire: Wire, log: string[], streams: Http2Stream[], h2: C) {
    this.wire = wire
    this.log = log
    this.streams = streams
    this.h2 = h2
    wire.connection.owner = h2
  }

  /** Feeds frames in one read, and returns what was said in return. */
  feed(...pieces: readonly Buffer[]): string[] {
    this.wire.receive(this.h2, Buffer.concat(pieces))
    return this.said()
  }

  /** What has been written since the last look. */
  said(): string[] {
    return this.frames().map(told)
  }

  frames(): Frame[] {
    return frames(this.wire.take())
  }

  /** Runs as one event. */
  run(body: () => void): string[] {
    this.wire.io.run('test', body)
    return this.said()
  }

  stream(id: number): Http2Stream {
    const found = this.streams.find((s) => s.id === id)
    if (found === undefined) throw new Error(`no stream ${id}: ${this.log.join(' | ')}`)
    return found
  }
}

/** A server; `greeted`: preface and SETTINGS have been exchanged. Streams record their events under their ids. */
export function server(
  options: Partial<Http2Options> = {},
  greeted = true,
  answers: (stream: Http2Stream) => void = () => {},
  io: Io | null = null,
) {
  const wire = new Wire(io)
  const log: string[] = []
  const streams: Http2Stream[] = []
  const events: Http2ServerEvents = {
    ...connectionEvents(log),
    onRequest(stream) {
      streams.push(stream)
      log.push(
        `${stream.id} ${stream.method} ${stream.path} [${fieldsOf(stream.headers).join('; ')}] ${stream.hasBody ? stream.bodyLength : 'no body'}`,
      )
      stream.events = new Recorder(log, String(stream.id), () => stream)
      answers(stream)
    },
    onRefusedRequest(stream) {
      log.push(`${stream.id} refused ${stream.fault}`)
    },
  }
  const h2 = new Http2ServerConnection(wire.connection, events, { ...HTTP2_DEFAULTS, ...options })
  const side = new Side(wire, log, streams, h2)
  if (greeted) side.feed(PREFACE, settings(), frame('SETTINGS', 1, 0))
  return side
}

export function client(options: Partial<Http2Options> = {}, greeted = true, io: Io | null = null) {
  const wire = new Wire(io)
  const log: string[] = []
  const streams: Http2Stream[] = []
  const h2 = new Http2ClientConnection(wire.connection, connectionEvents(log), { ...HTTP2_DEFAULTS, ...options })
  const side = new Side(wire, log, streams, h2)
  if (greeted) side.feed(settings(), frame('SETTINGS', 1, 0))
  return side
}

/** Opens a GET, or a request of another method, on a client. */
export function ask(side: Side<Http2ClientConnection>, method = 'GET', path = '/', fields = '', end = true): Http2Stream {
  let stream: Http2Stream | null = null
  const recorder = new Recorder(side.log, String(side.streams.length * 2 + 1), () => stream as Http2Stream)
  side.wire.io.run('test', () => {
    stream = side.h2.request(recorder, method, 'http', 'a.example', path, '', new HeaderMap(), fields, '', end)
  })
  if (stream === null) throw new Error('no room')
  side.streams.push(stream)
  return stream
}

// Frames to events and answers to frames, on a socket that takes everything: what is left is the codec's own work.
import type net from 'node:net'
import { HpackEncoder } from '../../../../lib/http/h2/hpack/encoder.ts'
import { HTTP2_DEFAULTS } from '../../../../lib/http/h2/options.ts'
import { Http2ServerConnection, type Http2ServerEvents } from '../../../../lib/http/h2/server-connection.ts'
import type { Http2Stream } from '../../../../lib/http/h2/stream.ts'
import { NOBODY } from '../../../../lib/http/h2/stream-events.ts'
import { Io } from '../../../../lib/transport/io.ts'
import { SocketConnection } from '../../../../lib/transport/socket-connection.ts'
import { type Bench, keep } from '../../contract.ts'

const io = new Io((error) => {
  throw error
})

function endlessSocket(): net.Socket {
  const handle = { reading: false, readStart: () => 0, readStop: () => 0, useUserBuffer: () => {}, writeBuffer: () => 0 }
  const nothing = () => socket
  const socket = {
    _handle: handle,
    writableLength: 0,
    on: nothing,
    destroy: nothing,
    end: nothing,
    resume: nothing,
    pause: nothing,
    write: () => true,
  }
  return socket as unknown as net.Socket
}

function frame(type: number, flags: number, id: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(id, 5)
  return Buffer.concat([head, payload])
}

const TEXT = Buffer.alloc(1024, 'a')

class Answering implements Http2ServerEvents {
  onRequest(stream: Http2Stream): void {
    stream.events = NOBODY
    if (stream.hasBody) return
    stream.sendHeaders(200, 'server: x\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n', false)
    stream.sendBody(TEXT, 0, 1024)
    stream.sendEnd('')
  }

  onStreamClosed(stream: Http2Stream): void {
    stream.connection.recycle(stream)
  }

  onRefusedRequest(): void {}
  onSettings(): void {}
  onGoaway(): void {}
  onConnectionError(code: number, why: string): void {
    throw new Error(`${code} ${why}`)
  }

  onClose(): void {}
}

function connection(): Http2ServerConnection {
  const transport = new SocketConnection(io, endlessSocket(), { onData() {}, onEnd() {}, onWritable() {}, onClose() {} })
  const h2 = new Http2ServerConnection(transport, new Answering(), HTTP2_DEFAULTS)
  const hello = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(4, 0, 0, Buffer.alloc(0)),
    frame(4, 1, 0, Buffer.alloc(0)),
  ])
  io.run('hello', () => h2.onData(hello, hello.length))
  return h2
}

function block(encoder: HpackEncoder): Buffer {
  const out = Buffer.alloc(4096)
  encoder.begin(out, 0, '')
  encoder.request('GET', 'http', 'reviews:9080', '/1k', '')
  encoder.fields('user-agent: h2load\r\naccept: */*\r\nx-b3-sampled: 1\r\n', false)
  return Buffer.from(out.subarray(0, encoder.position))
}

/** Ten requests in one read, and the client's windows with them. */
function requests(): Bench['fn'] {
  let h2 = connection()
  const encoder = new HpackEncoder(false)
  const blocks = [block(encoder), block(encoder), block(encoder)]
  let next = 1
  const prime = (): void => {
    h2 = connection()
    next = 1
    for (const b of blocks.slice(0, 2)) {
      const f = frame(1, 5, next, b)
      next += 2
      io.run('data', () => h2.onData(f, f.length))
    }
  }
  prime()
  const one = frame(1, 5, 0, blocks[2] as Buffer)
  const window = frame(8, 0, 0, Buffer.from([0, 0, 40, 0]))
  const batch = Buffer.concat([...Array.from({ length: 10 }, () => one), window])
  return (iterations) => {
    for (let i = 0; i < iterations; i += 10) {
      if (next > 0x7fff0000) prime()
      for (let k = 0; k < 10; k++) {
        batch.writeUInt32BE(next, k * one.length + 5)
        next += 2
      }
      io.enter()
      h2.onData(batch, batch.length)
      io.leave()
    }
    keep(h2.streams.size)
  }
}

/** A stream that receives for ever, `size` bytes a frame. */
function data(size: number): Bench['fn'] {
  const h2 = connection()
  const post = Buffer.from(block(new HpackEncoder(false)))
  post[0] = 0x83
  const head = frame(1, 4, 1, post)
  io.run('data', () => h2.onData(head, head.length))
  const one = frame(0, 0, 1, Buffer.alloc(size, 'x'))
  const per = Math.max(1, Math.floor(65536 / one.length))
  const read = Buffer.concat(Array.from({ length: per }, () => one))
  return (iterations) => {
    for (let i = 0; i < iterations; i += per) {
      io.enter()
      h2.onData(read, read.length)
      io.leave()
    }
    keep(h2.streams.size)
  }
}

export const benches: readonly Bench[] = [
  { name: 'http/h2/connection: a request and its answer of 1 KB, ten in a read', fn: requests() },
  { name: 'http/h2/connection: a DATA frame of 100 bytes received', fn: data(100) },
  { name: 'http/h2/connection: a DATA frame of 16 KB received', fn: data(16384) },
]

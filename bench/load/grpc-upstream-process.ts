// The upstream of gRPC, and of HTTP/2 on machines without nghttpd: answers from ready-made buffers, on our own codec, which costs an eighth of
// node:http2. Run as `node grpc-upstream-process.js PORT`.
import net from 'node:net'
import { HTTP2_DEFAULTS } from '../../lib/http/h2/options.ts'
import { Http2ServerConnection, type Http2ServerEvents } from '../../lib/http/h2/server-connection.ts'
import type { Http2Stream } from '../../lib/http/h2/stream.ts'
import type { StreamEvents } from '../../lib/http/h2/stream-events.ts'
import type { HeaderMap } from '../../lib/http/header-map.ts'
import { NOBODY } from '../../lib/transport/connection.ts'
import { Io } from '../../lib/transport/io.ts'
import { SocketConnection } from '../../lib/transport/socket-connection.ts'
import { FILE_BYTES, GRPC_ANSWERS, grpcMessage } from './scenario.ts'

interface Answer {
  readonly fields: string
  readonly messages: readonly Buffer[]
  readonly trailers: string
}

const answers = new Map<string, Answer>()
for (const [path, [count, bytes]] of Object.entries(GRPC_ANSWERS)) {
  const messages = Array.from({ length: count }, () => Buffer.from(grpcMessage(bytes)))
  answers.set(path, { fields: 'content-type: application/grpc\r\n', messages, trailers: 'grpc-status: 0\r\n' })
}
for (const [path, bytes] of Object.entries(FILE_BYTES)) {
  const fields = `server: bench\r\ncontent-type: text/plain\r\ncontent-length: ${bytes}\r\n`
  answers.set(path, { fields, messages: [Buffer.alloc(bytes, 'x')], trailers: '' })
}

/** One request: answered when it has come whole, as fast as the peer takes it. */
class Call implements StreamEvents {
  private readonly stream: Http2Stream
  private readonly answer: Answer | undefined
  private sent: number

  constructor(stream: Http2Stream) {
    this.stream = stream
    this.answer = answers.get(stream.path)
    this.sent = 0
  }

  onInformational(): void {}

  onResponse(): void {}

  onBody(): void {}

  onEnd(_trailers: HeaderMap | null): void {
    const { stream, answer } = this
    if (answer === undefined) stream.sendHeaders(404, '', true)
    else {
      stream.sendHeaders(200, answer.fields, false)
      this.onWritable()
    }
  }

  onReset(): void {}

  onWritable(): void {
    const { stream, answer } = this
    if (answer === undefined) return
    const { messages, trailers } = answer
    while (this.sent < messages.length) {
      const message = messages[this.sent++] as Buffer
      if (!stream.sendBody(message, 0, message.length) && this.sent < messages.length) return
    }
    stream.sendEnd(trailers)
  }
}

const EVENTS: Http2ServerEvents = {
  onRequest: (stream) => {
    stream.events = new Call(stream)
  },
  onRefusedRequest: () => {},
  onSettings: () => {},
  onStreamClosed: (stream) => stream.connection.recycle(stream),
  onGoaway: () => {},
  onConnectionError: () => {},
  onClose: () => {},
}

const io = new Io((error) => {
  throw error
})
const OPTIONS = { ...HTTP2_DEFAULTS, maxConcurrentStreams: 1000 }

function serve(socket: net.Socket): void {
  io.run('accept', () => {
    const connection = new SocketConnection(io, socket, NOBODY)
    connection.owner = new Http2ServerConnection(connection, EVENTS, OPTIONS)
  })
}

net.createServer({ noDelay: true }, serve).listen(Number(process.argv[2]), '127.0.0.1')

// A server by Node that answers HTTP/1.1 and, to whoever begins so, HTTP/2.
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { fedDuplex, isHttp2 } from './fed-duplex.ts'
import { resetNow } from './http2-client.ts'

/** Requests and responses are those of node:http, or of the part of node:http2 that looks like it. */
export function eitherServer(
  serve: (req: IncomingMessage, res: ServerResponse) => void,
  options: http.ServerOptions = {},
): net.Server {
  const one = http.createServer(options, serve)
  const two = http2.createServer((req, res) => serve(req as unknown as IncomingMessage, res as unknown as ServerResponse))
  two.on('session', (session) => session.on('error', () => {}))
  return net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => {})
    socket.once('data', (first: Buffer) => {
      if (isHttp2(first)) {
        const duplex = fedDuplex(socket)
        two.emit('connection', duplex)
        duplex.push(first)
        socket.on('data', (d: Buffer) => duplex.push(d))
        socket.on('end', () => duplex.push(null))
      } else {
        socket.pause()
        socket.unshift(first)
        one.emit('connection', socket)
        socket.resume()
      }
    })
  })
}

/** No answer: the connection is reset or, over HTTP/2, the stream. */
export function resetRequest(req: IncomingMessage): void {
  const { stream } = req as { stream?: http2.ServerHttp2Stream }
  if (stream === undefined) req.socket.resetAndDestroy()
  else resetNow(stream, 'internal error')
}

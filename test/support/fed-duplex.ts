import type net from 'node:net'
import { Duplex } from 'node:stream'

/**
 * A socket whose bytes somebody else reads first and then gives to `push`: for Node's HTTP/2 on a connection that begins as any other. What is written goes
 * to the socket, and both end with it.
 */
export function fedDuplex(socket: net.Socket): Duplex {
  const duplex = new Duplex({
    read() {},
    // What belongs together leaves in one write, so that bytes of a test's own come between two frames, and not into one.
    writev(chunks, done) {
      if (socket.destroyed || socket.writableEnded) done()
      else socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), () => done())
    },
    final(done) {
      socket.end()
      done()
    },
  })
  duplex.on('error', () => {})
  duplex.on('close', () => socket.end())
  socket.on('close', () => duplex.destroy())
  return duplex
}

/** How a connection of HTTP/2 begins (RFC 9113 §3.4). */
export function isHttp2(firstBytes: Buffer): boolean {
  return firstBytes.indexOf('PRI * HTTP/2.0\r\n') === 0
}

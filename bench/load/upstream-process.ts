// The upstream for machines without nginx: answers GETs without a body, pipelined or not, from ready-made buffers.
// Run as `node upstream-process.js PORT`.
import { createServer, type Socket } from 'node:net'
import { FILE_BYTES } from './scenario.ts'

const answers = new Map<string, Buffer>()
for (const [path, bytes] of Object.entries(FILE_BYTES)) {
  const head = `HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: text/plain\r\ncontent-length: ${bytes}\r\n\r\n`
  answers.set(path, Buffer.from(head + 'x'.repeat(bytes), 'latin1'))
}
const missing = Buffer.from('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n', 'latin1')

function serve(socket: Socket): void {
  let rest = ''
  socket.on('data', (chunk) => {
    rest += chunk.toString('latin1')
    for (let end = rest.indexOf('\r\n\r\n'); end >= 0; end = rest.indexOf('\r\n\r\n')) {
      const path = rest.slice(rest.indexOf(' ') + 1, rest.indexOf(' HTTP/'))
      socket.write(answers.get(path) ?? missing)
      rest = rest.slice(end + 4)
    }
  })
  socket.on('error', () => socket.destroy())
}

for (const address of ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'])
  createServer({ noDelay: true }, serve).listen(Number(process.argv[2]), address)

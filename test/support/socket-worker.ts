// A worker that listens and connects in another network namespace, while the thread that made it stays at home.
import net from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { listen, PLAIN_LISTEN } from '../../lib/listener/bind.ts'
import { openNetns } from '../../lib/sys/netns.ts'
import { connectFrom } from '../../lib/sys/outbound-socket.ts'

/** `path` of the namespace; what it listens on, and whom it asks. */
export interface SocketWorkerData {
  readonly path: string
  readonly listens: { readonly address: string; readonly port: number }
  readonly asks: { readonly address: string; readonly port: number }
}

const { path, listens, asks } = workerData as SocketWorkerData
const netns = openNetns(path)
const server = net.createServer((socket) => {
  socket.on('error', () => {}).end(`worker saw ${socket.remoteAddress}`)
})
await listen(server, listens.address, listens.port, { ...PLAIN_LISTEN, netns })
const socket = connectFrom({ source: null, foreignSource: false, mark: 0, netns }, asks.address, asks.port)
let text = ''
socket.setEncoding('utf8').on('data', (d: string) => {
  text += d
})
socket.on('error', (error) => parentPort?.postMessage({ text: error.message }))
socket.on('end', () => {
  socket.end()
  parentPort?.postMessage({ text, home: openNetns('/proc/thread-self/ns/net').identity })
})
parentPort?.on('message', () => {
  server.close()
  netns.close()
  parentPort?.close()
})

// What an intercepting listener pays for each connection, beside accepting it: Node's own getsockname, and getsockopt through koffi.
import { once } from 'node:events'
import net from 'node:net'
import { originalDestination } from '../../../lib/sys/original-destination.ts'
import { type Bench, keep } from '../contract.ts'

const server = net.createServer({ pauseOnConnect: true })
server.unref().listen(0, '127.0.0.1')
await once(server, 'listening')
const accepted = once(server, 'connection') as Promise<[net.Socket]>
const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
const [socket] = await accepted
client.unref()
socket.unref()

/** What Node keeps of `localAddress`, so that each round asks as for a new connection. */
const remembered = socket as unknown as { _sockname: object | undefined }

export const benches: readonly Bench[] = [
  {
    name: 'sys/original-destination: of a new connection',
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) {
        remembered._sockname = undefined
        keep(originalDestination(socket))
      }
    },
  },
  {
    name: 'sys/original-destination: the socket’s own address alone',
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) {
        remembered._sockname = undefined
        keep(socket.localAddress)
      }
    },
  },
]

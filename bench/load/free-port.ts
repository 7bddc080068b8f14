// Loopback ports that nobody uses.

import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/** `count` different ports. All are held open until the last is known, so that none is given twice. */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = []
  const ports: number[] = []
  for (let i = 0; i < count; i++) {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address !== null && typeof address === 'object') ports.push(address.port)
    servers.push(server)
  }
  for (const server of servers) {
    server.close()
    await once(server, 'close')
  }
  return ports
}

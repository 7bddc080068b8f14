import net from 'node:net'

/**
 * A port that nobody listens on, for the rare program that cannot say which port the system chose. It lies below the range
 * from which Linux takes ephemeral ports, so that no other test's port 0 takes it in between.
 */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = 20000 + Math.floor(Math.random() * 12000)
    if (await isFree(host, port)) return port
  }
}

/** A port of the loopback that refuses connections. */
export function refusingPort(): Promise<number> {
  return freePort()
}

export function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', () => resolve(false))
    server.listen(port, host, () => server.close(() => resolve(true)))
  })
}

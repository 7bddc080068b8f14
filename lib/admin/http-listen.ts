// What both admin and health listener need of node:http: strict limits, one answer function, a clear word about a taken port.
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { SocketAddress } from '../state/bootstrap-config.ts'

export const TEXT = 'text/plain; charset=utf-8'
export const JSON_TYPE = 'application/json'

export function createLocalServer(onRequest: RequestListener): Server {
  return createServer(
    {
      maxHeaderSize: 16 * 1024,
      requestTimeout: 10_000,
      headersTimeout: 5_000,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 5_000,
    },
    onRequest,
  )
}

/**
 * Resolves with the port that was bound. Rejects with an Error that says which setting to change.
 * @param setting `admin` or `health`, the section of heddle.yaml
 * @param portField its field for the port
 */
export function listenOn(server: Server, config: SocketAddress, setting: string, portField = 'port'): Promise<{ port: number }> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void =>
      reject(new Error(listenErrorText(config, setting, `${setting}.${portField}`, error), { cause: error }))
    server.once('error', onError)
    server.listen(config.port, config.address, () => {
      server.removeListener('error', onError)
      server.on('error', () => {}) // accept failures; nothing that this server does may end the process
      resolve({ port: (server.address() as AddressInfo).port })
    })
  })
}

/** Open connections are ended too: a scraper's keep-alive must not keep the process. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

export function answer(res: ServerResponse, status: number, type: string, body: string): void {
  res.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-cache, max-age=0',
    'x-content-type-options': 'nosniff',
  })
  res.end(body)
}

function listenErrorText(config: SocketAddress, setting: string, port: string, error: NodeJS.ErrnoException): string {
  const where = `${setting} ${config.address}:${config.port}`
  switch (error.code) {
    case 'EADDRINUSE':
      return `${where}: the port is taken by another process; set ${port} to a free port, or to 0 for any`
    case 'EACCES':
      return `${where}: this user may not bind the port; set ${port} to one above 1023`
    case 'EADDRNOTAVAIL':
      return `${where}: this machine has no such address; set ${setting}.address to one that it has, such as 127.0.0.1`
    default:
      return `${where}: cannot listen: ${error.message}; see ${setting}.address and ${port}`
  }
}

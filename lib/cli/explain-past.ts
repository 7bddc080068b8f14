// Asks a running proxy what it did.
import { get } from 'node:http'
import type { ExplainedConnection, Explanation } from '../decide/explanation.ts'
import type { SocketAddress } from '../state/bootstrap-config.ts'

export type PastAnswer =
  | { readonly kind: 'explained'; readonly explanation: Explanation | ExplainedConnection }
  | { readonly kind: 'unknown'; readonly message: string }
  | { readonly kind: 'unreachable'; readonly message: string }

const TIMEOUT_MS = 5000

/** Never rejects. */
export function askProxy(admin: SocketAddress, id: string): Promise<PastAnswer> {
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[admin.address] ?? admin.address
  const where = `${host.includes(':') ? `[${host}]` : host}:${admin.port}`
  return new Promise((resolve) => {
    const unreachable = (reason: string) =>
      resolve({
        kind: 'unreachable',
        message: `no proxy answered on ${where}, the admin address of the configuration (${reason}); is it running? --config and --admin-port choose another`,
      })
    const request = get(
      { host, port: admin.port, path: `/explain?id=${encodeURIComponent(id)}`, agent: false, timeout: TIMEOUT_MS },
      (response) => {
        let body = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          body += chunk
        })
        response.on('error', (error) => unreachable(error.message))
        response.on('end', () => {
          if (response.statusCode === 404) resolve({ kind: 'unknown', message: unknownText(id) })
          else if (response.statusCode !== 200) unreachable(`it answered ${response.statusCode}: ${body.trim().slice(0, 200)}`)
          else {
            const explanation = parsed(body)
            if (explanation === null) unreachable('it answered with something that is not an explanation')
            else resolve({ kind: 'explained', explanation })
          }
        })
      },
    )
    request.on('timeout', () => request.destroy(new Error('no answer within 5 s')))
    request.on('error', (error: NodeJS.ErrnoException) => unreachable(error.code ?? error.message))
  })
}

function unknownText(id: string): string {
  return `the proxy remembers no request with x-request-id ${id}: it never came by, newer ones have taken its place, or it was one of more than are kept of a moment`
}

function parsed(body: string): Explanation | ExplainedConnection | null {
  try {
    const value = JSON.parse(body) as unknown
    return typeof value === 'object' && value !== null && 'verdict' in value ? (value as Explanation) : null
  } catch {
    return null
  }
}

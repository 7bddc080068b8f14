// Asks the admin page of a running proxy.
import { get } from 'node:http'
import type { SocketAddress } from '../state/bootstrap-config.ts'
import { type Arguments, type CommandIo, type FlagSpec, UsageError } from './command.ts'
import { configFile, loadOrReport } from './load-config.ts'

export type AdminAnswer =
  | { readonly kind: 'answered'; readonly status: number; readonly body: string }
  | { readonly kind: 'unreachable'; readonly message: string }

const TIMEOUT_MS = 5000

export const ADMIN_FLAG: FlagSpec = {
  type: 'string',
  value: 'HOST:PORT',
  help: 'admin page of the proxy that is asked; default: the one of heddle.yaml',
}

/** `--admin`, else what heddle.yaml says; null: it cannot be read, and that was said. */
export async function adminAddress(args: Arguments, io: CommandIo): Promise<SocketAddress | null> {
  const given = args.text('admin')
  if (given === null) return (await loadOrReport(configFile(args, io), {}, io))?.admin ?? null
  const parts = /^(?:http:\/\/)?(\[[0-9a-fA-F:]+\]|[^/:[\]]+):(\d{1,5})\/?$/.exec(given)
  if (parts === null) throw new UsageError('--admin: expected HOST:PORT, such as 127.0.0.1:15000')
  return { address: parts[1]!.replace(/^\[|\]$/g, ''), port: Number(parts[2]) }
}

/** Never rejects. */
export function askAdmin(admin: SocketAddress, path: string): Promise<AdminAnswer> {
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[admin.address] ?? admin.address
  return new Promise((resolve) => {
    const unreachable = (reason: string) => resolve({ kind: 'unreachable', message: unreachableText(host, admin.port, reason) })
    const request = get({ host, port: admin.port, path, agent: false, timeout: TIMEOUT_MS }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        body += chunk
      })
      response.on('error', (error) => unreachable(error.message))
      response.on('end', () => resolve({ kind: 'answered', status: response.statusCode ?? 0, body }))
    })
    request.on('timeout', () => request.destroy(new Error('no answer within 5 s')))
    request.on('error', (error: NodeJS.ErrnoException) => unreachable(error.code ?? error.message))
  })
}

export function unreachableText(host: string, port: number, reason: string): string {
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`
  return `no proxy answered on ${where}, the admin address of the configuration (${reason}); is it running? --config and --admin-port choose another`
}

import type { Listener } from '../state/listener.ts'

/** Why the proxy did not start. `config`: heddle.yaml or a resource; `bind`: a port or a worker. */
export class StartError extends Error {
  readonly kind: 'config' | 'bind'

  constructor(kind: 'config' | 'bind', message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StartError'
    this.kind = kind
  }
}

/** A port that cannot be had, with the place that asked for it. */
export function bindErrorText(listener: Listener, error: NodeJS.ErrnoException): string {
  const { file, line } = listener.origin
  const where = line === 0 ? file : `${file}:${line}`
  const reason = { EADDRINUSE: 'the port is taken', EACCES: 'not permitted; ports below 1024 need a privilege' }[error.code ?? '']
  const places = [listener.address, ...listener.otherAddresses].map(
    (address) => `${address.includes(':') ? `[${address}]` : address}:${listener.port}`,
  )
  return `cannot listen on ${places.join(' and ')} for listener \`${listener.name}\` (${where}): ${reason ?? error.message}`
}

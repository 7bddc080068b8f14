/** Why the proxy did not start. `config`: heddle.yaml or a resource; `bind`: a port or a worker. */
export class StartError extends Error {
  readonly kind: 'config' | 'bind'

  constructor(kind: 'config' | 'bind', message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StartError'
    this.kind = kind
  }
}

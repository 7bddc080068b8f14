// Asks an endpoint how it is. The clients are loaded with the first check that needs them.
import { addressText, isSocketPath } from '../../base/socket-path.ts'
import type { Endpoint } from '../../state/cluster.ts'
import type { HealthCheck, HealthProbe } from '../../state/health-check.ts'
import { Attempt } from './attempt.ts'

export const USER_AGENT = 'heddle/health-check'

/** Asks once. `attempt.result` says what came. */
export function startCheck(check: HealthCheck, endpoint: Endpoint): Attempt {
  const attempt = new Attempt(check.timeoutMs)
  // A check that cannot even be asked is a bug of ours; the loop goes on.
  ask(attempt, check.probe, endpoint).catch((error: Error) => attempt.fail(`could not be asked: ${error.message}`))
  return attempt
}

async function ask(attempt: Attempt, probe: HealthProbe, endpoint: Endpoint): Promise<void> {
  const { address } = endpoint
  const port = probe.port === 0 ? endpoint.port : probe.port
  switch (probe.kind) {
    case 'tcp':
      attempt.open(address, port, () => attempt.pass('connected'))
      return
    case 'http': {
      const { askHttp } = await import('./http-probe.ts')
      return askHttp(attempt, probe, address, port)
    }
    case 'grpc': {
      const { askGrpc } = await import('./grpc-probe.ts')
      return askGrpc(attempt, probe.service, address, port)
    }
    default:
      return probe satisfies never
  }
}

/** What is asked, as the beginning of a sentence: `GET http://10.0.0.1:8080/healthz`. */
export function askedText({ probe }: HealthCheck, endpoint: Endpoint): string {
  const where = addressText(endpoint.address, probe.port === 0 ? endpoint.port : probe.port)
  switch (probe.kind) {
    case 'tcp':
      return `TCP check of ${where}`
    case 'http':
      return `GET ${probe.tls ? 'https' : 'http'}://${where}${probe.path}`
    case 'grpc':
      return `gRPC health check of ${probe.service === '' ? where : `${probe.service} at ${where}`}`
    default:
      return probe satisfies never
  }
}

/** Of a request. A socket of the file system has none of its own. */
export function authorityOf(address: string, port: number): string {
  return isSocketPath(address) ? 'localhost' : addressText(address, port)
}

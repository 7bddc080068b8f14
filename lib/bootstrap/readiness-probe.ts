// agent.readinessProbe: a probe as Istio's ProxyConfig has it, in whole seconds (istio.networking.v1alpha3.ReadinessProbe).
import type { ReadinessProbe } from '../state/bootstrap-config.ts'
import { grpcOf, httpOf, tcpOf } from './agent.ts'
import { isMapping } from './check.ts'
import { leaf } from './leaf.ts'

type Raw = Readonly<Record<string, unknown>>
type Ask = ReadinessProbe['ask']

/** Where nothing is said, or 0 (istio-agent fillInDefaults, which has one failure where the API's documentation has three). */
const DEFAULTS = { initialDelaySeconds: 0, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 1 }
const METHODS = ['httpGet', 'tcpSocket', 'exec', 'grpc'] as const
const KNOWN: readonly string[] = [...Object.keys(DEFAULTS), ...METHODS]

export const readinessProbe = (example: string) =>
  leaf(
    'yaml',
    "a readinessProbe of Istio's ProxyConfig: one of httpGet, tcpSocket, exec and grpc, and numbers of seconds",
    example,
    (x) => (x === null ? null : isMapping(x) ? (probeOf(x) ?? undefined) : undefined),
  )

function probeOf(x: Raw): ReadinessProbe | null {
  if (Object.keys(x).some((name) => !KNOWN.includes(name))) return null
  const numbers = Object.entries(DEFAULTS).map(([name, otherwise]) => numberOf(x[name], otherwise))
  const [delay = -1, timeout = -1, period = -1, successes = -1, failures = -1] = numbers
  const asks = [httpOf(x['httpGet']), tcpOf(x['tcpSocket']), execOf(x['exec']), grpcOf(x['grpc'])].filter((a) => a !== undefined)
  const [ask] = asks
  const host = hostOf(x['httpGet']) ?? hostOf(x['tcpSocket']) ?? ''
  if (numbers.includes(-1) || asks.length !== 1 || ask === undefined || ask === null) return null
  return {
    initialDelayMs: delay * 1000,
    timeoutMs: timeout * 1000,
    periodMs: period * 1000,
    successThreshold: successes,
    failureThreshold: failures,
    host,
    ask,
  }
}

/** -1: it is no such number. */
function numberOf(x: unknown, otherwise: number): number {
  if (x === undefined || x === null || x === 0) return otherwise
  return typeof x === 'number' && Number.isInteger(x) && x > 0 && x <= 86_400 ? x : -1
}

function hostOf(x: unknown): string | null {
  const host = isMapping(x) ? x['host'] : undefined
  return typeof host === 'string' && host !== '' ? host : null
}

function execOf(x: unknown): Ask | null | undefined {
  if (x === undefined || x === null) return undefined
  const command = isMapping(x) ? x['command'] : null
  if (!Array.isArray(command) || command.length === 0 || !command.every((c) => typeof c === 'string' && !c.includes('\0')))
    return null
  return { kind: 'exec', command }
}

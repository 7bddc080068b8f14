// Values of the section `agent`.
import { parseDuration } from '../base/duration.ts'
import type { AppProbe } from '../state/bootstrap-config.ts'
import { isMapping } from './check.ts'
import { leaf } from './leaf.ts'

/** A kubelet's default, and the longest that is waited for. */
const DEFAULT_TIMEOUT_S = 1
const MAX_TIMEOUT_S = 3600

/** `8080/metrics`: port and path. */
export const scrapeTargets = (example: string) =>
  leaf('list', 'a list of `port/path`', example, (x) => {
    const read = Array.isArray(x) ? x.map((e) => (typeof e === 'string' ? scrapeTarget(e) : null)) : [null]
    const good = read.flatMap((target) => (target === null ? [] : [target]))
    return good.length === read.length ? good : undefined
  })

function scrapeTarget(text: string): { port: number; path: string } | null {
  const parts = /^(\d{1,5})(\/[!-~]*)?$/.exec(text)
  const port = Number(parts?.[1] ?? 0)
  return port < 1 || port > 65_535 ? null : { port, path: parts?.[2] ?? '/metrics' }
}

/** Path to probe, a probe as Kubernetes has it: what Istio's injector writes into ISTIO_KUBE_APP_PROBERS. Ports are numbers. */
export const appProbes = (example: string) =>
  leaf(
    'yaml',
    'a mapping of paths such as /app-health/web/livez to probes of Kubernetes with ports that are numbers',
    example,
    (x) => {
      if (!isMapping(x)) return undefined
      const read = Object.entries(x).map(([path, probe]) => (isMapping(probe) ? appProbe(path, probe) : null))
      const good = read.flatMap((probe) => (probe === null ? [] : [probe]))
      return good.length === read.length ? good : undefined
    },
  )

type Raw = Readonly<Record<string, unknown>>

function appProbe(path: string, probe: Raw): AppProbe | null {
  if (!/^\/app-(?:health|lifecycle)\/[^/]+\/[a-z]+$/.test(path)) return null
  const seconds = probe['timeoutSeconds'] ?? DEFAULT_TIMEOUT_S
  const timeoutMs = typeof seconds === 'string' ? parseDuration(seconds) : typeof seconds === 'number' ? seconds * 1000 : null
  if (timeoutMs === null || timeoutMs < 0 || timeoutMs > MAX_TIMEOUT_S * 1000) return null
  const kinds = [httpOf(probe['httpGet']), tcpOf(probe['tcpSocket']), grpcOf(probe['grpc'])].filter((ask) => ask !== undefined)
  const [ask] = kinds
  if (kinds.length !== 1 || ask === undefined || ask === null) return null
  return { path, timeoutMs: timeoutMs === 0 ? DEFAULT_TIMEOUT_S * 1000 : timeoutMs, ask }
}

/** undefined: there is none; null: it cannot be read. So of the others. */
export function httpOf(x: unknown): AppProbe['ask'] | null | undefined {
  if (x === undefined || x === null) return undefined
  const port = isMapping(x) ? portOf(x['port']) : 0
  if (!isMapping(x) || port === 0) return null
  const { path = '', scheme = 'HTTP', httpHeaders = [] } = x
  const headers = Array.isArray(httpHeaders) ? httpHeaders.map(headerOf) : [null]
  const good = headers.flatMap((header) => (header === null ? [] : [header]))
  const tls = typeof scheme === 'string' && /^https$/i.test(scheme)
  if (good.length !== headers.length || typeof path !== 'string' || /[^!-~]/.test(path)) return null
  return { kind: 'http', port, path: path.startsWith('/') ? path : `/${path}`, tls, headers: good }
}

function headerOf(x: unknown): readonly [string, string] | null {
  if (!isMapping(x)) return null
  const { name, value = '' } = x
  if (typeof name !== 'string' || typeof value !== 'string') return null
  return /^:?[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value) ? [name, value] : null
}

export function tcpOf(x: unknown): AppProbe['ask'] | null | undefined {
  if (x === undefined || x === null) return undefined
  const port = isMapping(x) ? portOf(x['port']) : 0
  return port === 0 ? null : { kind: 'tcp', port }
}

export function grpcOf(x: unknown): AppProbe['ask'] | null | undefined {
  if (x === undefined || x === null) return undefined
  const port = isMapping(x) ? portOf(x['port']) : 0
  if (!isMapping(x) || port === 0) return null
  const service = x['service'] ?? ''
  return typeof service === 'string' ? { kind: 'grpc', port, service } : null
}

/** 0: it is none. */
function portOf(x: unknown): number {
  const port = typeof x === 'number' ? x : typeof x === 'string' && /^\d{1,5}$/.test(x) ? Number(x) : 0
  return Number.isInteger(port) && port >= 1 && port <= 65_535 ? port : 0
}

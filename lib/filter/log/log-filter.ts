// Which requests and connections a log is about (envoy.config.accesslog.v3.AccessLogFilter). Compiled when configuration changes; what comes of it runs at the
// end of each.
import { CompiledHeader, CompiledString } from '../../route/conditions.ts'
import { grpcStatusOf } from '../../route/grpc-status-names.ts'
import type { AccessLogFilter, Comparison } from '../../state/access-log.ts'
import { FLAG_NAMES } from '../../telemetry/response-flags.ts'
import type { LogContext } from './log-context.ts'

export type LogFilter = (c: LogContext) => boolean

/** UNKNOWN. */
const NO_STATUS = 2

/** `draw`: 32 bits of chance. */
export function compileLogFilter(filter: AccessLogFilter, draw: () => number): LogFilter {
  switch (filter.kind) {
    case 'all':
      return () => true
    case 'and': {
      const all = filter.filters.map((f) => compileLogFilter(f, draw))
      return (c) => all.every((f) => f(c))
    }
    case 'or': {
      const some = filter.filters.map((f) => compileLogFilter(f, draw))
      return (c) => some.some((f) => f(c))
    }
    case 'not': {
      const of = compileLogFilter(filter.filter, draw)
      return (c) => !of(c)
    }
    case 'status': {
      const holds = comparison(filter.op, filter.value)
      return (c) => holds(c.responseCode)
    }
    case 'duration': {
      const holds = comparison(filter.op, filter.valueMs)
      return (c) => holds(c.durationMs)
    }
    case 'header': {
      const header = new CompiledHeader(filter.match)
      return (c) => header.holds(c.request)
    }
    case 'path': {
      const match = new CompiledString(filter.match)
      return (c) => match.holds(c.request.path)
    }
    case 'mtls':
      return (c) => c.downstreamTls !== null && c.downstreamTls.peerCertificate !== null
    case 'flags': {
      const bits = flagBits(filter.flags)
      return (c) => (c.responseFlags & bits) !== 0
    }
    case 'grpc': {
      const statuses = new Set(filter.statuses)
      return (c) => {
        // Also of what is no gRPC.
        const status = c.grpcStatus >= 0 ? c.grpcStatus : c.responseCode === 0 ? NO_STATUS : grpcStatusOf(c.responseCode)
        return statuses.has(status) !== filter.exclude
      }
    }
    case 'sample':
      return sample(filter, draw)
    case 'type': {
      const types = new Set(filter.types)
      return (c) => types.has(c.logType) !== filter.exclude
    }
  }
}

function comparison(op: Comparison, value: number): (n: number) => boolean {
  switch (op) {
    case 'EQ':
      return (n) => n === value
    case 'NE':
      return (n) => n !== value
    case 'GE':
      return (n) => n >= value
    case 'LE':
      return (n) => n <= value
    case 'GT':
      return (n) => n > value
    case 'LT':
      return (n) => n < value
  }
}

function flagBits(flags: readonly string[]): number {
  let bits = 0
  for (const [bit, [short]] of FLAG_NAMES.entries()) if (flags.length === 0 || flags.includes(short)) bits |= 1 << bit
  return bits
}

/** By the first eight digits of x-request-id, so that all proxies that a request comes by choose the same ones (Envoy's UUID request ids). */
function sample(
  { numerator, denominator, independent }: AccessLogFilter & { readonly kind: 'sample' },
  draw: () => number,
): LogFilter {
  return (c) => {
    const id = independent ? null : c.request.headers.get('x-request-id')
    const digits = id === null ? null : /^[0-9a-f]{8}/i.exec(id)
    return (digits === null ? draw() : Number.parseInt(digits[0], 16)) % denominator < numerator
  }
}

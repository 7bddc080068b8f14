// An element of `healthChecks` as the rule that the compiler works with.
import type { HealthCheckRule } from '../state/bootstrap-config.ts'
import type { HealthProbe } from '../state/health-check.ts'
import type { Origin } from '../state/origin.ts'
import { isMapping } from './check.ts'
import type { HealthCheckDocument } from './schema.ts'

/** `tcp:` with nothing behind it is a probe of which everything is left to its default. */
export function fillEmptyProbes(root: Record<string, unknown>): void {
  const list = root['healthChecks']
  if (!Array.isArray(list)) return
  root['healthChecks'] = list.map((check: unknown) => {
    if (!isMapping(check)) return check
    return Object.fromEntries(
      Object.entries(check).map(([k, v]) => [k, v === null && ['http', 'tcp', 'grpc'].includes(k) ? {} : v]),
    )
  })
}

/** `d` has passed the schema and `checkHealthChecks`. */
export function healthCheckRule(d: HealthCheckDocument, origin: Origin): HealthCheckRule {
  const { hosts, ports, listeners, interval, timeout, unhealthyThreshold, healthyThreshold, initialDelay } = d
  return {
    hosts,
    ports,
    listeners,
    check: {
      probe: probeOf(d),
      intervalMs: interval,
      timeoutMs: timeout,
      unhealthyThreshold,
      healthyThreshold,
      initialDelayMs: initialDelay,
      origin,
    },
  }
}

function probeOf({ http, tcp, grpc }: HealthCheckDocument): HealthProbe {
  if (http !== undefined) {
    const { scheme, port, path, host, headers, expectedStatuses } = http
    return { kind: 'http', tls: scheme === 'https', port, path, host: host ?? '', headers, statuses: expectedStatuses }
  }
  if (grpc !== undefined) return { kind: 'grpc', ...grpc }
  return { kind: 'tcp', port: tcp?.port ?? 0 }
}

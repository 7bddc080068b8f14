// envoy.config.core.v3.HealthCheck: how endpoints are asked whether they are well. istiod sends none.
import type { HealthCheck, HealthProbe } from '../../state/health-check.ts'
import type { Origin } from '../../state/origin.ts'
import type { HealthCheck as Message } from '../proto/health-check.ts'
import type { Findings } from './findings.ts'

/** The one check of a cluster; null: none. `secure`: its endpoints are spoken to with TLS. */
export function translateHealthChecks(
  checks: readonly Message[],
  secure: boolean,
  origin: Origin,
  findings: Findings,
): HealthCheck | null {
  const [first] = checks
  if (first === undefined) return null
  if (checks.length > 1) findings.at('health_checks', 1).fault('one check for each cluster is carried out, not several')
  const at = findings.at('health_checks', 0)
  if (secure) at.fault('checks of endpoints that are spoken to with TLS are not carried out')
  const { unhealthy_threshold: unhealthy, healthy_threshold: healthy, timeout, interval } = first
  for (const [field, value] of Object.entries({ unhealthy_threshold: unhealthy, healthy_threshold: healthy, timeout, interval }))
    if (value === null || value <= 0) at.at(field).fault(`${field} is missing, or not above 0`)
  const probe = probeOf(first, at)
  if (probe === null) return null
  return {
    probe,
    intervalMs: interval ?? 0,
    timeoutMs: timeout ?? 0,
    unhealthyThreshold: unhealthy ?? 0,
    healthyThreshold: healthy ?? 0,
    initialDelayMs: 0,
    origin,
  }
}

function probeOf(check: Message, at: Findings): HealthProbe | null {
  const port = check.alt_port ?? 0
  const { http_health_check: http, tcp_health_check: tcp, grpc_health_check: grpc } = check
  if (grpc !== null) return { kind: 'grpc', port, service: grpc.service_name }
  if (tcp !== null) {
    if (tcp.send !== null || tcp.receive.length > 0)
      at.at('tcp_health_check').fault('bytes to send and receive are not carried out')
    return { kind: 'tcp', port }
  }
  if (http === null) {
    at.fault(
      check.custom_health_check === null
        ? 'its kind is not understood; http_health_check, tcp_health_check and grpc_health_check are'
        : `the checker ${check.custom_health_check.name} is not understood`,
    )
    return null
  }
  const within = at.at('http_health_check')
  if (http.codec_client_type !== 'HTTP1')
    within.at('codec_client_type').fault(`${http.codec_client_type} is not carried out; HTTP1 is`)
  if (http.method !== 'METHOD_UNSPECIFIED' && http.method !== 'GET')
    within.at('method').fault(`${http.method} is not carried out; GET is`)
  if (http.send !== null || http.receive.length > 0) within.fault('bodies to send and receive are not carried out')
  if (http.service_name_matcher !== null) within.at('service_name_matcher').fault('it is not carried out')
  return {
    kind: 'http',
    tls: false,
    port,
    path: http.path,
    host: http.host,
    headers: http.request_headers_to_add.flatMap(({ header }) => (header === null ? [] : [[header.key, header.value] as const])),
    // Half-open there, inclusive here.
    statuses:
      http.expected_statuses.length === 0
        ? [{ from: 200, to: 200 }]
        : http.expected_statuses.map(({ start, end }) => ({ from: start, to: end - 1 })),
  }
}

/** For an endpoint with settings of its own. */
export function healthCheckOf(
  check: HealthCheck | null,
  own: { readonly port: number; readonly host: string; readonly off: boolean } | null,
): HealthCheck | null {
  if (check === null || own === null) return check
  if (own.off) return null
  const { probe } = check
  const port = probe.port === 0 ? own.port : probe.port
  return { ...check, probe: probe.kind === 'http' ? { ...probe, port, host: probe.host || own.host } : { ...probe, port } }
}

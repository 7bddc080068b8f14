// WorkloadGroup. Istio WorkloadGroup and ReadinessProbe.
import type { Report } from '../finding.ts'
import type { ReadinessProbeSpec, WorkloadGroupSpec } from '../schema/workload-group.ts'
import { checkPort } from './names.ts'
import { checkNotNegative, checkRange, headerNameProblem } from './values.ts'

const SECONDS = ['initialDelaySeconds', 'timeoutSeconds', 'periodSeconds'] as const
const THRESHOLDS = ['successThreshold', 'failureThreshold'] as const
const METHODS = ['httpGet', 'tcpSocket', 'exec', 'grpc'] as const
/** Longer ones overflow the timers of the system; Kubernetes has no limit of its own. */
const DAY_SECONDS = 86_400
/** What a path may consist of (RFC 9112 §3.2.1); everything else would be a second line of the request. */
const PATH = /^[!-~]*$/
/** RFC 9110 §5.5. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

export function validateWorkloadGroup(spec: WorkloadGroupSpec, report: Report): void {
  if (spec.template === undefined) report([], 'the `template` is required and missing')
  else {
    const { address, ports, weight } = spec.template
    if ((address ?? '') !== '')
      report(['template', 'address'], 'the template has no address: each WorkloadEntry has its own', true)
    for (const [name, port] of Object.entries(ports ?? {})) checkPort(port, ['template', 'ports', name], report)
    checkNotNegative(weight, ['template', 'weight'], report)
  }
  if (spec.probe !== undefined) validateProbe(spec.probe, report)
}

function validateProbe(probe: ReadinessProbeSpec, report: Report): void {
  for (const field of SECONDS) checkRange(probe[field], 0, DAY_SECONDS, ['probe', field], report)
  for (const field of THRESHOLDS) checkNotNegative(probe[field], ['probe', field], report)
  const methods = METHODS.filter((m) => probe[m] !== undefined)
  if (methods.length === 0) report(['probe'], `a probe needs one of ${METHODS.join(', ')}`)
  if (methods.length > 1)
    report(['probe', methods[1]!], `only one of ${METHODS.join(', ')} can be set, found ${methods.join(' and ')}`, true)
  if (probe.httpGet !== undefined) validateHttpGet(probe.httpGet, report)
  if (probe.tcpSocket !== undefined) checkPort(probe.tcpSocket.port, ['probe', 'tcpSocket', 'port'], report)
  if (probe.grpc !== undefined) checkPort(probe.grpc.port, ['probe', 'grpc', 'port'], report)
  if (probe.exec !== undefined && (probe.exec.command ?? []).length === 0)
    report(['probe', 'exec'], 'the `command` is required and missing')
}

function validateHttpGet(get: NonNullable<ReadinessProbeSpec['httpGet']>, report: Report): void {
  const at = ['probe', 'httpGet']
  checkPort(get.port, [...at, 'port'], report)
  const scheme = get.scheme ?? ''
  if (!['', 'HTTP', 'HTTPS'].includes(scheme)) report([...at, 'scheme'], `expected HTTP or HTTPS, found "${scheme}"`)
  if (!PATH.test(get.path ?? '')) report([...at, 'path'], 'a path cannot hold spaces and control characters; write them as %20')
  for (const [i, { name, value }] of (get.httpHeaders ?? []).entries()) {
    const problem = headerNameProblem(name ?? '')
    if (problem !== null) report([...at, 'httpHeaders', i], problem)
    if (!HEADER_VALUE.test(value ?? '')) report([...at, 'httpHeaders', i], 'a header value cannot hold control characters')
  }
}

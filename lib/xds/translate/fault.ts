// HTTPFault on a route to Fault.
import type { Fault } from '../../state/route.ts'
import type { HTTPFault } from '../proto/fault.ts'
import type { Findings } from './findings.ts'
import { percentOf } from './fraction.ts'

/** null: none is injected. */
export function faultOf(fault: HTTPFault, findings: Findings): Fault | null {
  for (const field of ['headers', 'downstream_nodes', 'upstream_cluster'] as const)
    if (fault[field].length > 0) findings.at(field).fault('a fault for some requests of a route only is not understood')
  if (fault.response_rate_limit !== null) findings.at('response_rate_limit').fault('it is not understood')
  if (fault.max_active_faults !== null) findings.at('max_active_faults').note('it has no effect')
  const delay = delayOf(fault, findings)
  const abort = abortOf(fault, findings)
  return delay === null && abort === null ? null : { delay, abort }
}

function delayOf({ delay }: HTTPFault, findings: Findings): Fault['delay'] {
  if (delay === null) return null
  if (delay.header_delay !== null) findings.at('delay').note('whether requests may ask for faults is said in heddle.yaml')
  return delay.fixed_delay === null ? null : { percent: percentOf(delay.percentage), fixedMs: delay.fixed_delay }
}

function abortOf({ abort }: HTTPFault, findings: Findings): Fault['abort'] {
  if (abort === null) return null
  if (abort.header_abort !== null) findings.at('abort').note('whether requests may ask for faults is said in heddle.yaml')
  const percent = percentOf(abort.percentage)
  if (abort.grpc_status !== null) return { percent, httpStatus: 0, grpcStatus: abort.grpc_status }
  return abort.http_status === null ? null : { percent, httpStatus: abort.http_status, grpcStatus: -1 }
}

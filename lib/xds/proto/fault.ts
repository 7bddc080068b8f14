// envoy.extensions.filters.http.fault.v3: faults that a route injects.
import { FractionalPercent } from './core.ts'
import { HeaderMatcher } from './route.ts'
import { type Decoded, duration, list, message, one, oneof, text, uint32, uint32Value } from './schema.ts'

const HeaderDelay = message('envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay', {})
export const FaultDelay = message('envoy.extensions.filters.common.fault.v3.FaultDelay', {
  ...oneof('fault_delay_secifier', { fixed_delay: duration(3), header_delay: one(5, HeaderDelay) }),
  percentage: one(4, FractionalPercent),
})
const FixedLimit = message('envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit', {})
const FaultRateLimit = message('envoy.extensions.filters.common.fault.v3.FaultRateLimit', {
  ...oneof('limit_type', { fixed_limit: one(1, FixedLimit) }),
  percentage: one(2, FractionalPercent),
})
const HeaderAbort = message('envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort', {})
export const FaultAbort = message('envoy.extensions.filters.http.fault.v3.FaultAbort', {
  ...oneof('error_type', { http_status: uint32(2), grpc_status: uint32(5), header_abort: one(4, HeaderAbort) }),
  percentage: one(3, FractionalPercent),
})
/** As a filter it does nothing; routes have the same message with what they inject. */
export const HTTPFault = message('envoy.extensions.filters.http.fault.v3.HTTPFault', {
  delay: one(1, FaultDelay),
  abort: one(2, FaultAbort),
  upstream_cluster: text(3),
  headers: list(one(4, HeaderMatcher)),
  downstream_nodes: list(text(5)),
  max_active_faults: uint32Value(6),
  response_rate_limit: one(7, FaultRateLimit),
})
export type HTTPFault = Decoded<typeof HTTPFault>

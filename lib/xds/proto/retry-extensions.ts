// envoy.extensions.retry: what chooses the endpoint of another attempt.
import { int32, message } from './schema.ts'

export const PreviousHostsPredicate = message('envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate', {})
export const PreviousPrioritiesConfig = message(
  'envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig',
  {
    update_frequency: int32(1),
  },
)

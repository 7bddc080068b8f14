// What heddle.yaml says of routes that come from a control plane.
import type { RetryPolicy } from '../../state/route.ts'

export interface RouteTerms {
  /** `held-back` unless `retries: exact`. */
  readonly unsafeRetries: RetryPolicy['unsafe']
}

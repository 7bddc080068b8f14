// The words of retryOn (Istio HTTPRetry). Their order is the number by which steps and bit sets name them.

/** A 32-bit set has room for all. New ones go to the end. */
export const RETRY_KEYWORDS: readonly string[] = [
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'http3-post-connect-failure',
  'envoy-ratelimited',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'retriable-headers',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]

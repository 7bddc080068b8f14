// Checks and endpoints for tests.
import type { Endpoint } from '../../../../lib/state/cluster.ts'
import type { HealthCheck, HealthProbe } from '../../../../lib/state/health-check.ts'
import { BUILT_IN } from '../../../../lib/state/origin.ts'
import { anEndpoint } from '../../../support/nouns.ts'

export function checkOf(probe: HealthProbe, more: Partial<HealthCheck> = {}): HealthCheck {
  return {
    probe,
    intervalMs: 1000,
    timeoutMs: 1000,
    unhealthyThreshold: 2,
    healthyThreshold: 2,
    initialDelayMs: 0,
    origin: BUILT_IN,
    ...more,
  }
}

export function endpointAt(port: number, healthCheck: HealthCheck | null = null): Endpoint {
  return anEndpoint({ port, healthCheck })
}

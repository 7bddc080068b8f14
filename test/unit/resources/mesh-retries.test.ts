// The retry policy of routes without `retries` is the mesh's (Istio defaultHttpRetryPolicy).
import t from 'tap'
import { defaultRetries } from '../../../lib/resources/compile/retry-policy.ts'

const mesh = (defaultRetryAttempts: number, defaultRetryOn: string) => ({
  rootNamespace: 'istio-system',
  domain: 'cluster.local',
  outboundTrafficPolicy: 'ALLOW_ANY' as const,
  pathNormalization: 'BASE' as const,
  defaultRetryAttempts,
  defaultRetryOn,
  localityFailover: 'on' as const,
  autoMtls: 'on' as const,
  minTlsVersion: 'TLSv1.3' as const,
  dnsRefreshMs: 60_000,
  dnsServers: [],
})

t.test("without anything it is Istio's own", async (t) => {
  t.match(defaultRetries(mesh(2, ''))('held-back'), {
    attempts: 2,
    on: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled', 'retriable-status-codes'],
    statusCodes: [],
    unsafe: 'held-back',
    avoidPreviousHosts: true,
  })
})

t.test('its own words replace the list', async (t) => {
  const policy = defaultRetries(mesh(1, '503,reset'))
  t.match(policy('allowed'), { attempts: 1, on: ['reset', 'retriable-status-codes'], statusCodes: [503], unsafe: 'allowed' })
  t.match(policy('held-back', true), { attempts: 1, statusCodes: [503], unsafe: 'held-back', avoidPreviousHosts: false })
  t.equal(policy('allowed'), policy('allowed'), 'one object for all routes')
})

t.test('0 switches it off', async (t) => {
  t.equal(defaultRetries(mesh(0, ''))('allowed'), null)
})

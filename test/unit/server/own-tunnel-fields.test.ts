// What CONNECTs of a proxy that is fed say of it.
import t from 'tap'
import { ownTunnelFields } from '../../../lib/server/own-tunnel-fields.ts'
import type { BootstrapConfig } from '../../../lib/state/bootstrap-config.ts'

const bootstrap = (role: string, metadata: object, workload: object = {}): BootstrapConfig =>
  ({
    role,
    workload: { namespace: 'shop', name: 'web-1', labels: {}, locality: '', ...workload },
    identity: { istioCa: { clusterId: 'Kubernetes' } },
    xds: { metadata, clusterId: 'Kubernetes' },
  }) as unknown as BootstrapConfig

t.test('to other networks: what we are, and where it began', async (t) => {
  const fields = (role: string, metadata: object, env: object = {}) =>
    ownTunnelFields(bootstrap(role, metadata), env as Record<string, string>).gateway
  t.same(fields('waypoint', { NETWORK: 'east' }), {
    outer: 'x-istio-source: waypoint\r\n',
    inner: 'x-forwarded-network: east\r\n',
  })
  t.same(fields('gateway', {}), { outer: 'x-istio-source: gateway\r\n', inner: '' }, 'no network has a name')
  t.match(fields('sidecar', {}, { ISTIO_META_NETWORK: 'west' }), { inner: 'x-forwarded-network: west\r\n' })
  t.match(fields('sidecar', { NETWORK: 'east' }, { ISTIO_META_NETWORK: 'west' }), { inner: 'x-forwarded-network: east\r\n' })
  t.match(fields('sidecar', { NETWORK: 'a\r\nx-evil: 1' }), { inner: '' }, 'what is no value is not sent')
})

t.test('baggage: of the workload, its labels also of the environment', async (t) => {
  const { tunnelFields } = ownTunnelFields(bootstrap('sidecar', {}), {
    ISTIO_METAJSON_LABELS: '{"service.istio.io/canonical-name":"web"}',
    CLUSTER_ID: 'c1',
  })
  t.match(tunnelFields, /^baggage: /)
  for (const part of ['k8s.cluster.name=c1', 'k8s.namespace.name=shop', 'service.name=web']) t.match(tunnelFields, part)
})

// What a tunnel says of itself in its CONNECT.
import t from 'tap'
import { baggageOf, forwardedHost, forwardedOf } from '../../../../lib/decide/tunnel/tunnel-headers.ts'
import { service, workload } from '../../../support/mesh-nouns.ts'

t.test('baggage', async (t) => {
  const full = workload('web-1', {
    namespace: 'prod',
    clusterId: 'cluster1',
    workloadName: 'web',
    workloadType: 'deployment',
    canonicalName: 'web',
    canonicalRevision: 'v1',
    locality: { region: 'r', zone: 'z', subzone: 's' },
  })
  t.equal(
    baggageOf(full),
    'k8s.cluster.name=cluster1,k8s.namespace.name=prod,k8s.deployment.name=web,service.name=web,service.version=v1,cloud.region=r,cloud.availability_zone=z',
  )
  t.equal(baggageOf(workload('a', { clusterId: '', namespace: 'ns' })), 'k8s.namespace.name=ns', 'what is empty is left out')
  t.equal(baggageOf(workload('a', { clusterId: '', workloadName: 'a' })), 'k8s.namespace.name=ns,k8s.pod.name=a')
  const odd = workload('a', { clusterId: 'a,b=c', workloadName: 'x\r\ny: z', workloadType: 'p\n', canonicalName: 'ü' })
  t.equal(baggageOf(odd), 'k8s.namespace.name=ns', 'nothing that could stand for something else')
})

t.test('forwarded', async (t) => {
  t.equal(forwardedOf({ ip: '10.0.0.1', port: 40_000 }, null), 'for="10.0.0.1:40000"')
  t.equal(forwardedOf({ ip: 'fd00::1', port: 1 }, service('a.mesh')), 'for="[fd00::1]:1";host=a.mesh')
  const rows: [header: string, host: string][] = [
    ['for="10.0.0.1:40000";host=a.mesh', 'a.mesh'],
    ['for="10.0.0.1:40000"', ''],
    ['host="A.mesh";by=b', 'a.mesh'],
    ['Host=a.mesh', 'a.mesh'],
    ['for=x, host=b.mesh', 'b.mesh'],
    ['xhost=a', ''],
    ['', ''],
  ]
  for (const [header, host] of rows) t.equal(forwardedHost(header), host, header)
})
